"""The REPL whose session has ended: it opens another one, with another token if it must."""

from __future__ import annotations

import pytest
from support.raw_client import RawClient
from support.scripted_server import STOK, refusing
from support.terminal import said, scripted


def test_a_session_that_is_gone_is_opened_anew(tmp_path):
    with scripted(tmp_path, replies={1: "Hello."}) as (server, terminal):

        def gone(peer, request):
            del server.handlers["exec_set_input"]
            peer.answer(request, 2002, DETAIL="The session ended.")

        server.handlers["exec_set_input"] = gone
        printed = terminal.answer("hi")
        assert "INF_SESSION_TOKEN_MISMATCH" not in printed
        assert "logged in again" in printed
        assert "your message is sent again" in " ".join(printed.split())
        assert "Hello." in printed
        terminal.leave()


def test_a_command_too_opens_a_session_anew(tmp_path):
    with scripted(tmp_path) as (server, terminal):
        idle = server.handlers["inf_get_context_status"]

        def gone(peer, request):
            server.handlers["inf_get_context_status"] = idle
            peer.answer(request, 2002, DETAIL="The session ended.")

        server.handlers["inf_get_context_status"] = gone
        printed = terminal.answer("/status")
        assert "INF_SESSION_TOKEN_MISMATCH" not in printed
        assert "begins anew." in " ".join(printed.split())
        assert "idle" in printed
        # A session that the person named is the person's own affair.
        server.handlers["inf_get_users"] = refusing(2002, DETAIL="No such session.")
        printed = terminal.answer("/inf_get_users STOK=another")
        assert "No such session." in printed
        assert "anew" not in printed
        terminal.leave()


@pytest.mark.parametrize("command", [False, True])
def test_who_cannot_log_in_again_is_asked_for_the_token(tmp_path, command):
    with scripted(tmp_path, replies={1: "Hello."}) as (server, terminal):
        op = "inf_get_context_status" if command else "exec_set_input"
        before = server.handlers.get(op)

        def log_in(peer, request):
            if request.keys["ACCTOK"] != "the new one":
                peer.answer(request, 2008, DETAIL="USERNAME or ACCTOK is wrong.")
                return
            server.handlers.update({op: before} if before else {})
            if before is None:
                del server.handlers[op]
            peer.answer(request, STOK=STOK)

        server.handlers[op] = refusing(2002, DETAIL="The session ended.")
        server.handlers["inf_access_request"] = log_in
        terminal.child.send("/status\r" if command else "hi\r")
        printed = said(terminal.expect("Access token of ada: "))
        assert "ada can no longer log in with the same access token: was it changed" in printed
        assert "restarted" not in printed
        terminal.child.send("a wrong one\r")
        terminal.expect("The name or the access token is wrong.")
        terminal.expect("Access token of ada: ")
        terminal.child.send("the new one\r")
        printed = said(terminal.ready())
        assert "Your session was over, so you are logged in again" in printed
        assert ("idle" if command else "Hello.") in printed
        assert "the new one" not in printed
        terminal.leave()


def test_who_changes_the_token_is_not_asked_for_it(tmp_path):
    with scripted(tmp_path, replies={1: "Hello."}) as (server, terminal):
        changed = refusing(2000, ACCTOK="the new one")
        server.handlers["inf_modify_user_access_token"] = changed
        terminal.answer("/inf_modify_user_access_token USERNAME=ada ACCTOK='the old one'")

        def gone(peer, request):
            del server.handlers["exec_set_input"]
            peer.answer(request, 2002, DETAIL="The session ended.")

        server.handlers["exec_set_input"] = gone
        assert "Hello." in terminal.answer("hi")
        used = [r.keys["ACCTOK"] for r in server.asked if r.op == "inf_access_request"]
        assert used == ["ada's token", "the new one"]
        terminal.leave()


def test_who_has_no_other_token_is_told_why_it_was_tried_and_keeps_the_prompt(tmp_path):
    with scripted(tmp_path) as (server, terminal):
        server.handlers["exec_set_input"] = refusing(2002, DETAIL="The session ended.")
        server.handlers["inf_access_request"] = refusing(2008, DETAIL="The token is wrong.")
        for key in ("\x04", "\x03"):
            terminal.child.send("hi\r")
            assert "Your session is over" in said(terminal.expect("Access token of ada: "))
            terminal.child.send(key)
            printed = terminal.ready()
            assert ("(2008): The token is wrong." in printed) == (key == "\x04")
            assert "logged in again" not in printed
        terminal.leave()


def test_a_session_that_ends_in_the_middle_of_a_reply(endless_repl):
    daemon, terminal = endless_repl
    terminal.say("Hello!")
    terminal.child.expect(r"\S{40}")
    with RawClient(daemon).login("admin", daemon.admin) as other:
        other.ok("inf_end_sessions", USERNAME="admin")
    rest = " ".join(terminal.ready().split())
    assert "The reply ends here. All sessions of the user were ended by admin." in rest
    assert "Your session is over: your next message begins a new conversation." in rest
    assert "/regenerate" not in rest
    terminal.say("/status")
    assert "logged in again" in terminal.ready()
    terminal.leave()
