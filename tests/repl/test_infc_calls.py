"""`infc call` and `infc help` for who begins: what a session is for, what a code means."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from support.infc import answered, refused, runner
from support.people import People
from support.scripted_server import ScriptedServer, refusing

from infd_protocol import codes
from infd_repl.cli import main

HINT = "infc: standard input is not read: --data - takes the text from it\n"


def told(*arguments, capsys):
    with pytest.raises(SystemExit):
        main([*arguments, "--help"])
    return " ".join(capsys.readouterr().out.split())


def test_the_help_says_that_the_session_ends_with_the_command(capsys):
    said = told("call", capsys=capsys)
    assert "in a session of its own that ends with the command" in said
    assert "INFD_STOK" in said


def test_a_session_goes_on_from_call_to_call_as_the_help_says(infc):
    alone = infc("call", "inf_create_context", "MODEL=demo", "CTXSIZE=64")
    assert json.loads(answered(alone))["keys"]["CTXID"] == 1
    assert json.loads(answered(infc("call", "inf_get_context_ids")))["keys"]["CTXID"] == []
    opened = json.loads(answered(infc("call", "inf_access_request")))

    def call(*words):
        return answered(infc("call", *words, INFD_STOK=opened["keys"]["STOK"]))

    call("inf_create_context", "MODEL=demo", "CTXSIZE=64")
    assert json.loads(call("inf_get_context_ids"))["keys"]["CTXID"] == [1]
    call("inf_destroy_session")


def test_where_ones_own_contexts_are_in_the_way_no_command_is_named_that_cannot_help(
    daemon, tmp_path
):
    """Those are of other sessions, which no command reaches."""
    with People(daemon) as people:
        ada = people.user(CTXLENGTH=16384, models=("demo",))
        infc = runner(f"infd://{ada.username}@{daemon.host}:{daemon.port}", ada.token, tmp_path)
        with ada.enter() as other:
            free = people.root.ok("inf_get_model_info", MODEL="demo").keys["BUDGET_FREE"]
            other.ok("inf_create_context", MODEL="demo", CTXSIZE=free - 100)
            full = infc("ask", "hi", "--model", "demo")
            refused(full, "(2019)", "`infc call inf_end_sessions` with USERNAME=")
            refused(full, "frees their contexts. (--context N fits with N from 32 to 100)\n")
            assert "inf_destroy_context" not in full.stderr
            other.ok("inf_create_context", MODEL="demo", CTXSIZE=100)
            full = infc(stdin="hi\n")
            refused(full, "(or wait until another program of yours has ended)\n")
            other.ok("inf_destroy_session")
        people.root.ok("inf_delete_user", USERNAME=ada.username, ACCTOK=ada.token)


def test_a_context_that_is_smaller_than_by_default_is_told_of(tmp_path):
    left = [refusing(2019, DETAIL="There is less.", LIMIT=700), refusing(2000, CTXID=1)]
    info = refusing(2000, TRAINING_CONTEXT=2048)
    user = refusing(2000, CTXLENGTH=9999)

    def create(peer, request):
        left.pop(0)(peer, request)

    with ScriptedServer(replies={1: "Hello."}) as server:
        server.handlers.update(
            inf_get_model_info=info, inf_get_user=user, inf_create_context=create
        )
        infc = runner(f"infd://ada@127.0.0.1:{server.port}", "ada's token", tmp_path)
        for arguments, stdin in ((("ask", "hi"), ""), ((), "hi\nhi\n")):
            left[:] = [refusing(2019, DETAIL="There is less.", LIMIT=700), refusing(2000, CTXID=1)]
            done = infc("--model", "scripted", *arguments, stdin=stdin)
            assert (done.returncode, done.stdout[:7]) == (0, "Hello.\n")
            assert done.stderr == (
                "infc: The context has only 700 tokens, not 2048: you can have no more of the "
                "model's budget now.\n"
            )
    sizes = [r.keys["CTXSIZE"] for r in server.asked if r.op == "inf_create_context"]
    assert sizes == [2048, 700] * 2


def test_what_waits_on_standard_input_unread_is_told_of(infc):
    done = infc("call", "inf_tokenize", "MODEL=demo", stdin="hi")
    assert (done.returncode, done.stderr) == (0, HINT)
    assert json.loads(done.stdout)["keys"]["TOKENS"] == []
    # Where nothing is there, or it is for others, there is nothing to tell.
    answered(infc("call", "inf_tokenize", "MODEL=demo", stdin=""))
    answered(infc("call", "inf_get_users", stdin="hi"))
    answered(infc("call", "inf_tokenize", "MODEL=demo", "DATA=hi", stdin="hi"))


def tokenized(daemon, tmp_path, stdin):
    url = f"infd://admin@{daemon.host}:{daemon.port}"
    environ = {**os.environ, "INFD_URL": url, "INFD_TOKEN": daemon.admin,
               "XDG_CONFIG_HOME": str(tmp_path)}  # fmt: skip
    command = [sys.executable, "-m", "infd_repl", "call", "inf_tokenize", "MODEL=demo"]
    done = subprocess.run(
        command, stdin=stdin, capture_output=True, text=True, timeout=120, env=environ, check=False
    )
    assert done.returncode == 0
    return done.stderr


def test_a_file_on_standard_input_is_told_of_unless_it_was_read(daemon, tmp_path):
    text = tmp_path / "text"
    text.write_text("hi")
    with text.open() as file:
        assert tokenized(daemon, tmp_path, file) == HINT
        file.seek(2)
        assert tokenized(daemon, tmp_path, file) == ""


def test_an_open_pipe_that_says_nothing_is_not_waited_for(daemon, tmp_path):
    reading, writing = os.pipe()
    try:
        assert tokenized(daemon, tmp_path, reading) == ""
    finally:
        os.close(reading)
        os.close(writing)


@pytest.mark.parametrize("row", codes.ROWS, ids=lambda row: row.name)
def test_help_explains_a_code(row, capsys):
    for name in (str(row.number), row.name, row.name.lower()):
        assert main(["help", name]) == 0
        said = " ".join(capsys.readouterr().out.split())
        assert said.startswith(f"{row.name} ({row.number}): {row.sentence}")
        assert ("may succeed later" in said) == (row.refuses and row.retryable)
        assert ("Nothing was carried out" in said) == row.refuses


def test_help_on_what_is_no_code(infc):
    refused(infc("help", "2099"), "There is no code 2099;")
    refused(infc("help", "INF_NOTHING"), "There is no operation INF_NOTHING.")
    overloaded = answered(infc("help", "1022"))
    assert "every operation" in overloaded
    assert "inf_load_model" in answered(infc("help", "2026"))


def test_the_repl_explains_a_code_too(repl):
    assert "INF_CONTEXT_HALTED (2013): " in repl.answer("/help 2013")
    assert "INF_CONTEXT_HALTED (2013): " in repl.answer("/help INF_CONTEXT_HALTED")
    repl.leave()
