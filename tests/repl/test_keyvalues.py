"""KEY=VALUE words as the keys of requests, for every operation and every kind."""

from __future__ import annotations

import json
import re

import pytest
from support.samples import SAMPLES

from infd_protocol.operations import OPERATIONS
from infd_repl.keyvalues import parse_words

CREATE = OPERATIONS["inf_create_new_user"]
EXECUTE = OPERATIONS["exec_execute_input"]


def spelled(value):
    if isinstance(value, list):
        return ",".join(map(spelled, value))
    return str(value)


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=lambda row: row.name)
def test_every_operation_can_be_spelled(row):
    values = {key.name: key.choices[0] if key.choices else SAMPLES[key.kind] for key in row.takes}
    keys, data = parse_words(row, [f"{name}={spelled(value)}" for name, value in values.items()])
    assert data is None
    assert row.parse(keys) == row.parse(values)
    keys, _ = parse_words(
        row,
        [
            f"{name.lower()}={json.dumps(value) if isinstance(value, list) else spelled(value)}"
            for name, value in values.items()
        ],
    )
    assert row.parse(keys) == row.parse(values)


@pytest.mark.parametrize(
    ("word", "name", "value"),
    [
        ("ISSUPER=true", "ISSUPER", 1),
        ("ISSUPER=0", "ISSUPER", 0),
        ("REPEAT_LF=no", "REPEAT_LF", False),
        ("TEMP=0.5", "TEMP", 0.5),
        ("AUTHFLAGS=", "AUTHFLAGS", []),
        ('AUTHFLAGS=["a,b"]', "AUTHFLAGS", ["a,b"]),
        ("USERNAME=a=b", "USERNAME", "a=b"),
    ],
)
def test_values(word, name, value):
    keys, _ = parse_words(CREATE, [word])
    assert keys == {name: value}
    assert type(keys[name]) is type(value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("a,b", ["a", "b"]),
        (r"\n", ["\n"]),
        (r"END,\n\n,\t", ["END", "\n\n", "\t"]),
        (r"\\n,\d", [r"\n", r"\d"]),
        (r'["a, b", "\n"]', ["a, b", "\n"]),
        ("", []),
    ],
)
def test_several_texts_that_end_a_reply(text, value):
    assert parse_words(EXECUTE, [f"STOP={text}"]) == ({"STOP": value}, None)


@pytest.mark.parametrize(
    ("word", "says"),
    [
        ("TEMP", "KEY=VALUE"),
        ("TEMP=warm", "TEMP must be a number, not 'warm'"),
        ("TOP_K=1.5", "TOP_K must be an integer"),
        ("REPEAT_LF=maybe", "true or false"),
        ("MSGID=1,x", "MSGID must be an integer"),
        ("MSGID=[1", "JSON list"),
        (r'STOP=["a\n"', r"""STOP must be a JSON list, such as ["a", "b"], not '["a\n"'."""),
        ("MSGID=" + "[" * 99_999, "JSON list"),
        ("TEMPERATURE=1", "takes no key TEMPERATURE; it takes STOK, CTXID"),
    ],
)
def test_what_cannot_be_read_is_named(word, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        parse_words(EXECUTE, [word])


def test_a_key_given_twice():
    with pytest.raises(ValueError, match="TEMP is given twice"):
        parse_words(EXECUTE, ["TEMP=1", "temp=2"])


def test_data_and_secrets_from_files(tmp_path):
    secret = tmp_path / "token"
    secret.write_text("from the file\n")
    keys, data = parse_words(CREATE, [f"ACCTOK=@{secret}", "DATA=You are kind.", "USERNAME=@x"])
    assert keys == {"ACCTOK": "from the file", "USERNAME": "@x"}
    assert data == "You are kind."
    with pytest.raises(ValueError, match="ACCTOK cannot be read"):
        parse_words(CREATE, [f"ACCTOK=@{tmp_path / 'missing'}"])
