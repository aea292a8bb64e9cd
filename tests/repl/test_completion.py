"""Completion: commands, keys from the table, models, contexts; and no slow call behind it."""

from __future__ import annotations

import pytest
from prompt_toolkit.completion import CompleteEvent
from prompt_toolkit.document import Document

from infd_protocol.operations import OPERATIONS
from infd_repl.commands import COMMANDS
from infd_repl.completion import CommandCompleter


def completed(line):
    completer = CommandCompleter(lambda: ["demo", "large"], lambda: [1, 12])
    found = completer.get_completions(Document(line), CompleteEvent())
    return [line[: len(line) + each.start_position] + each.text for each in found]


def test_every_command_and_every_operation():
    assert completed("/") == [f"/{name}" for name in (*COMMANDS, *OPERATIONS)]


@pytest.mark.parametrize("row", OPERATIONS.values(), ids=lambda row: row.name)
def test_keys_of_every_operation(row):
    expected = [f"/{row.name} {key.name}=" for key in row.takes if key.name != "STOK"]
    if row.data_in:
        expected.append(f"/{row.name} DATA=")
    assert completed(f"/{row.name} ") == expected


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("/reg", ["/regenerate"]),
        ("/model l", ["/model large"]),
        ("/context 1", ["/context 1", "/context 12"]),
        ("/context n", ["/context new"]),
        ("/help exec_st", ["/help exec_stop"]),
        ("/set te", ["/set temp="]),
        ("/inf_load_model ctx", ["/inf_load_model CTXSIZE="]),
        ("/inf_load_model CTXSIZE=5 ", ["/inf_load_model CTXSIZE=5 MODEL="]),
        ("/inf_load_model MODEL=d", ["/inf_load_model MODEL=demo"]),
        ("/inf_modify_user_accept_models MODEL=demo,l",
         ["/inf_modify_user_accept_models MODEL=demo,large"]),
        ("/exec_set_input ROLE=a", ["/exec_set_input ROLE=assistant"]),
        ("hello /mod", []),
        ("//mod", []),
        ("two\n/mod", []),
    ],
)  # fmt: skip
def test_examples(line, expected):
    assert completed(line) == expected
