"""A line of the REPL as words: quotes as in a shell, JSON and backslashes as they are typed."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infd_repl.words import split


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("", []),
        ("  temp=0.5   seed=1 ", ["temp=0.5", "seed=1"]),
        ("""DATA='Say "hello".' b="c d" e=""", ["DATA=Say \"hello\".", "b=c d", "e="]),
        (r"""a\ b "say \"c\"" it\'s""", ["a b", 'say "c"', "it's"]),
        (r"stop=\n,END", [r"stop=\n,END"]),
        (r'stop="\n" a=\\', [r"stop=\n", r"a=\\"]),
        ('stop=["a","b c", "it\'s"] seed=1', ['stop=["a","b c", "it\'s"]', "seed=1"]),
        (r'stop=["a \"b\" \n"]', [r'stop=["a \"b\" \n"]']),
        ('keys={"a": [1, 2]} b', ['keys={"a": [1, 2]}', "b"]),
        ('stop=["a","b c" seed=1', ['stop=["a","b c"', "seed=1"]),
        ('stop=["a"]x', ['stop=["a"]x']),
        ('stop=["a', ['stop=["a']),
        ("stop=" + "[" * 99_999, ["stop=" + "[" * 99_999]),
    ],
)
def test_words(line, words):
    assert split(line) == words


@pytest.mark.parametrize("line", ["DATA='Say", 'DATA="Say', "stop=[ it's", '"\\"'])
def test_a_quote_that_is_not_closed_is_said(line):
    with pytest.raises(ValueError, match=r"cannot be read: a quote .* is not closed"):
        split(line)


@given(st.text())
def test_any_line_is_split_or_refused(line):
    words = []
    with suppress(ValueError):
        words = split(line)
    assert len("".join(words)) <= len(line)


@given(st.lists(st.text(), min_size=1))
def test_any_json_stays_as_it_is(texts):
    typed = "stop=" + json.dumps(texts)
    assert split(f"a {typed} b") == ["a", typed, "b"]
