"""The REPL where something is missing at first: an answer, a model, room for a context."""

from __future__ import annotations

from support.daemon import run
from support.scripted_server import ScriptedServer, refusing
from support.terminal import at_terminal, scripted


def said(printed):
    """What is printed, whatever the lines it is broken into."""
    return " ".join(printed.split())


def test_a_daemon_that_takes_its_time_is_said_to_be_connected_to(tmp_path):
    server = ScriptedServer()
    server.handlers["inf_hello"] = server.hold
    status = refusing(2010, MODEL="scripted", CTXSIZE=99, TOKENS_USED=1)
    server.handlers["inf_get_context_status"] = status
    with server:
        url = f"infd://ada@127.0.0.1:{server.port}"
        with at_terminal(url, "ada's token", tmp_path, "--context", "99") as terminal:
            terminal.expect(f"Connecting to 127.0.0.1:{server.port} …")
            server.release(VERSION="scripted", PROTOCOL=1, MAX_FRAME=1 << 24, OPERATIONS={})
            terminal.expect("model scripted")
            terminal.ready()
            terminal.leave()


def test_a_model_that_does_not_exist(tmp_path):
    with run() as daemon:
        url = f"infd://admin@{daemon.host}:{daemon.port}"
        with at_terminal(url, daemon.admin, tmp_path, "--model", "nix") as terminal:
            terminal.expect("no context yet")
            terminal.ready()
            printed = said(terminal.answer("/clear"))
            assert "There is no context: the last try on nix was refused." in printed
            assert "There is no model 'nix'; /models lists what there is. /model NAME" in printed
            assert printed.count("/models") == 1
            assert "a message makes one" not in printed
            assert "There is no context to drop here." in terminal.answer("/context drop")
            assert "Context 1 on demo" in terminal.answer("/model demo")
            assert "frees one of yours here: 1." in said(terminal.answer("/context drop"))
            assert "ID must be a number" in terminal.answer("/context drop it")
            assert "begins anew" in terminal.answer("/clear")
            assert "(2006)" in terminal.answer("/context new 8")  # refused, but there is one
            assert "gone" in terminal.answer("/context drop 1")
            assert "a message makes one, or /model NAME." in said(terminal.answer("/clear"))
            terminal.leave()


def test_a_budget_that_is_used_up(tmp_path):
    full = refusing(2019, DETAIL="Model scripted has 9 of its 99 tokens of context left.", LIMIT=9)
    with scripted(tmp_path, handlers={"inf_create_context": full}) as (server, terminal):
        printed = said(terminal.answer("hi"))
        assert "9 of its 99" in printed
        assert "(/context lists yours here, /context drop ID frees one)" in printed
        free = "a user may hold 80 tokens of its context budget, and ada holds 8 in all."
        server.handlers["inf_create_context"] = refusing(2019, DETAIL=free, LIMIT=72)
        printed = said(terminal.answer("hi"))
        assert "/context new SIZE fits with SIZE from 32 to 72)" in printed
        del server.handlers["inf_create_context"]
        assert "Context 1 on scripted" in terminal.answer("/context new 9")
        terminal.leave()


def test_a_context_that_is_smaller_than_by_default_is_told_of(tmp_path):
    refused = refusing(2019, DETAIL="There is less.", LIMIT=700)

    def create(peer, request):
        (made if request.keys["CTXSIZE"] <= 700 else refused)(peer, request)

    made = refusing(2000, CTXID=1)
    with ScriptedServer() as server:
        server.handlers.update(
            inf_create_context=create,
            inf_get_model_info=refusing(2000, TRAINING_CONTEXT=2048),
            inf_get_user=refusing(2000, CTXLENGTH=9999),
            inf_get_context_status=refusing(
                2010, MODEL="scripted", CTXSIZE=700, TOKENS_USED=1
            ),
        )
        url = f"infd://ada@127.0.0.1:{server.port}"
        with at_terminal(url, "ada's token", tmp_path) as terminal:
            why = "The context has only 700 tokens, not 2048: you can have no more of the model's"
            assert why in said(terminal.ready())
            assert why in said(terminal.answer("/context new"))
            assert why not in said(terminal.answer("/context new 99"))
            terminal.leave()
