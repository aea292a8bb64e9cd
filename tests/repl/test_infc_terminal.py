"""The REPL at a real pseudo-terminal, against a real daemon and a scripted one."""

from __future__ import annotations

import re

import pexpect
import pytest
from support.daemon import run
from support.scripted_server import Cut, ScriptedServer, refusing
from support.terminal import ESCAPES, at_terminal, scripted


def test_a_talk(repl):
    repl.answer("My name is Ada.")
    assert "Ada" in repl.answer("What is my name?")
    assert "Ada" in repl.answer("/regenerate")
    repl.answer("/clear")
    repl.answer("My name is Ada.")
    repl.answer("/edit My name is Bob.")
    assert "Bob" in repl.answer("What is my name?")
    listed = repl.answer("/messages")
    assert "My name is Bob." in listed
    assert "assistant" in listed
    assert "begins anew" in repl.answer("/clear")
    assert "My name" not in repl.answer("/messages")
    repl.leave()


def test_contexts_models_and_settings(repl):
    assert "loaded" in repl.answer("/models")
    assert "Context 2 on demo, 256 tokens" in repl.answer("/context new 256")
    assert "Context 1 on demo" in repl.answer("/context 1")
    assert "256" in repl.answer("/context")
    assert "gone" in repl.answer("/context drop 2")
    assert "no context 2" in repl.answer("/context 2")
    assert "temp=0.5" in repl.answer("/set temp=0.5 max_tokens=4")
    assert "between 0 and 1" in repl.answer("/set top_p=7")
    assert "max_tokens=4" in repl.answer("/set temp=")
    assert "was cut" in repl.answer("Count from 1 to 20.")
    assert "INF_MODEL_NAME_MISMATCH (2004)" in repl.answer("/model twin")
    assert "Be brief." in repl.answer("/system Be brief.") + repl.answer("/system")
    assert "idle" in repl.answer("/status")
    repl.answer("/stop")
    repl.leave()


def test_operations_by_name(repl):
    assert "admin" in repl.answer("/inf_get_user USERNAME=admin")
    assert "takes no key NAME" in repl.answer("/inf_get_user NAME=admin")
    assert "INF_USER_NOT_FOUND (2021)" in repl.answer("/inf_get_user USERNAME=nobody")
    assert "MSGID" in repl.answer("/exec_set_input ROLE=user DATA='Say hello.'")
    assert "EXEC_SUCCESS" in repl.answer("/exec_execute_input MSGID=1")
    assert repl.answer("/exec_next STREAM=1").strip()
    assert "no command /nonsense" in repl.answer("/nonsense")
    assert "CTXSIZE" in repl.answer("/help inf_create_context")
    assert "/regenerate" in repl.answer("/help")
    assert "cannot be read" in repl.answer("/inf_get_user USERNAME='")
    repl.leave()


def test_multi_line_input_completion_and_clearing(repl):
    repl.child.send("My name\\\r")
    repl.child.send("is Ada.")
    repl.child.send("\x1b\r")
    repl.answer("Hello!")
    assert "is Ada." in repl.answer("/messages")
    repl.child.send("this is never sent\x03")
    repl.child.send("\x1b[200~pasted one\npasted two\x1b[201~")
    repl.answer("")
    listed = repl.answer("/messages")
    assert "never sent" not in listed
    assert "pasted two" in listed
    repl.child.send("/mess\t")
    repl.expect("ages")
    assert "pasted one" in repl.answer("")
    repl.leave()


def test_history_is_private_and_keeps_no_tokens(repl, tmp_path):
    repl.answer("My name is Ada.")
    repl.answer("/inf_get_user USERNAME=admin STOK=not-for-the-disk")
    repl.leave()
    path = tmp_path / "state" / "infd" / "history"
    assert path.stat().st_mode & 0o777 == 0o600
    assert "My name is Ada." in path.read_text()
    assert "not-for-the-disk" not in path.read_text()


def test_ctrl_c_stops_the_reply_and_keeps_what_was_shown(endless_repl):
    def squeezed(text):
        return "".join(ESCAPES.sub("", text).replace("^C", "").split())

    _, terminal = endless_repl
    terminal.say("Hello!")
    terminal.child.expect(r"\S{40}")
    shown = terminal.child.before + terminal.child.after
    terminal.child.send("\x03")
    rest = terminal.ready()
    assert "Stopped." in rest
    shown = squeezed(shown + rest.partition("Stopped.")[0])
    assert squeezed(terminal.answer("/messages")).endswith(shown)
    assert "idle" in terminal.answer("/status")
    terminal.leave()


def test_the_token_is_asked_for_and_not_shown(daemon, tmp_path):
    with at_terminal(f"infd://{daemon.host}:{daemon.port}", None, tmp_path) as terminal:
        terminal.expect("User: ")
        terminal.child.send("admin\r")
        terminal.expect("Access token of admin: ")
        terminal.child.send("a wrong one\r")
        printed = terminal.expect("Access token of admin: ")
        assert "a wrong one" not in printed
        assert "The name or the access token is wrong." in printed
        terminal.child.send(daemon.admin + "\r")
        assert daemon.admin not in terminal.expect("model demo")
        terminal.ready()
        terminal.leave()


@pytest.mark.parametrize("arguments", [(), ("ask", "hi"), ("call", "inf_get_users")])
def test_ctrl_c_at_the_question_for_the_token_ends_its_line(daemon, tmp_path, arguments):
    url = f"infd://admin@{daemon.host}:{daemon.port}"
    with at_terminal(url, None, tmp_path, *arguments) as terminal:
        terminal.expect("Access token of admin: ")
        terminal.child.send("\x03")
        terminal.child.expect(pexpect.EOF)
        assert ESCAPES.sub("", terminal.child.before).replace("^C", "") == "\r\n"
        terminal.child.close()
        assert terminal.child.exitstatus == 130


def test_a_model_is_chosen_by_its_name_or_its_number(tmp_path):
    with run(demo=False) as daemon:
        url = f"infd://admin@{daemon.host}:{daemon.port}"
        for answer, model in (("2", "twin"), ("demo", "demo")):
            with at_terminal(url, daemon.admin, tmp_path) as terminal:
                terminal.expect("Models: 1 demo, 2 twin")
                terminal.expect("Which one, by name or number? ")
                terminal.child.send("3\r")
                terminal.expect("There is no model 3 for you.")
                terminal.expect("Which one, by name or number? ")
                terminal.child.send(answer + "\r")
                terminal.expect(f"Model {model} is not loaded")
                terminal.ready()
                terminal.leave()


@pytest.mark.parametrize("leaving", ["/quit\r", "\x04"])
def test_the_choice_of_a_model_can_be_left(tmp_path, leaving):
    with ScriptedServer() as server:
        listed = refusing(2000, MODEL=["one", "two"])
        info = refusing(2000, LOADED=False)
        server.handlers.update(inf_get_accessible_models=listed, inf_get_model_info=info)
        url = f"infd://ada@127.0.0.1:{server.port}"
        with at_terminal(url, "ada's token", tmp_path) as terminal:
            terminal.expect("Which one, by name or number? ")
            terminal.child.send("/help\r")
            terminal.expect("/quit or Ctrl-D leaves")
            terminal.expect("Which one, by name or number? ")
            terminal.child.send(leaving)
            terminal.child.expect(pexpect.EOF)
            assert "There is no model" not in terminal.child.before
            terminal.child.close()
            assert terminal.child.exitstatus == 0
        assert "inf_destroy_session" in server.operations()


def test_nobody_listens(tmp_path):
    with ScriptedServer() as server:
        pass
    with at_terminal(f"infd://ada@127.0.0.1:{server.port}", "ada's token", tmp_path) as terminal:
        terminal.expect("infc: Cannot connect")
        terminal.child.expect(pexpect.EOF)
        assert "Traceback" not in terminal.child.before


def test_control_characters_of_a_model_are_spelled_out(tmp_path):
    reply = "\x1b]0;owned\x07\x1b[2Jgone [bold]not markup[/bold]"
    with scripted(tmp_path, replies={1: reply}) as (_, terminal):
        terminal.say("hi")
        terminal.expect("\\x1b]0;owned\\x07\\x1b[2Jgone [bold]not markup[/bold]")
        terminal.ready()
        terminal.leave()


def test_a_lost_connection_is_one_line_and_the_reply_is_whole(tmp_path):
    text = "The reply is whole, although the connection was cut in the middle of it."
    with scripted(tmp_path, replies={1: text}) as (server, terminal):
        server.cuts = iter([])
        server.peers[0].left = 300
        printed = terminal.answer("hi")
        assert "connection was lost; reconnecting" in printed
        assert "Connected again." in printed
        kept = re.sub(r"The connection was lost.*|Connected again\.", "", printed)
        assert "".join(kept.split()) == "".join(text.split())
        terminal.leave()


def test_a_connection_lost_at_the_prompt_is_told_there_and_the_line_stays(tmp_path):
    with scripted(tmp_path, replies={1: "Hello."}) as (server, terminal):
        terminal.child.send("half a li")
        terminal.expect("half a li")
        server.peers[0].cut()
        terminal.expect("connection was lost; reconnecting")
        terminal.expect("Connected again.")
        assert "Hello." in terminal.answer("ne")
        assert "half a line" in [request.data for request in server.asked]
        terminal.leave()


def test_a_model_that_is_not_loaded_leaves_the_prompt(daemon, tmp_path):
    """Whoever may load it does so from here; the next message makes the context."""
    url = f"infd://admin@{daemon.host}:{daemon.port}"
    with at_terminal(url, daemon.admin, tmp_path, "--model", "twin", "--temp", "0") as terminal:
        assert "INF_MODEL_NAME_MISMATCH (2004)" in terminal.expect("no context yet")
        terminal.ready()
        assert "There is no context" in terminal.answer("/status")
        assert "not loaded" in terminal.answer("My name is Ada.")
        terminal.answer("/inf_load_model MODEL=twin CTXSIZE=1024")
        assert "Ada" in terminal.answer("My name is Ada.")
        assert "twin" in terminal.answer("/status")
        terminal.answer("/inf_unload_model MODEL=twin")
        terminal.leave()


def test_a_context_that_is_gone_takes_no_other_with_it(daemon, tmp_path):
    url = f"infd://admin@{daemon.host}:{daemon.port}"
    with at_terminal(url, daemon.admin, tmp_path, "--model", "demo", "--temp", "0") as terminal:
        terminal.ready()
        terminal.answer("My name is Ada.")
        terminal.answer("/inf_load_model MODEL=twin CTXSIZE=1024")
        assert "Context 2 on twin" in terminal.answer("/model twin")
        terminal.answer("/inf_unload_model MODEL=twin")
        printed = terminal.answer("Hello!")
        assert "Your context is gone" in printed
        assert "not loaded" in printed
        # It is not said to context 1 instead, which goes on where it was.
        assert "not loaded" in terminal.answer("Hello!")
        assert "no context 2 here" in terminal.answer("/context 2")
        assert "Context 1 on demo" in terminal.answer("/context 1")
        assert "Ada" in terminal.answer("What is my name?")
        terminal.answer("/inf_load_model MODEL=twin CTXSIZE=1024")
        assert "Context 3 on twin" in terminal.answer("/model twin")
        terminal.answer("/inf_unload_model MODEL=twin")
        assert "Context 3 is gone" in terminal.answer("/context 3")
        terminal.leave()


def test_ask_asks_for_the_token_at_a_terminal(daemon, tmp_path):
    url = f"infd://{daemon.host}:{daemon.port}"
    with at_terminal(url, None, tmp_path, "ask", "What is infd?") as terminal:
        terminal.expect("User: ")
        terminal.child.send("admin\r")
        terminal.expect("Access token of admin: ")
        terminal.child.send(daemon.admin + "\r")
        terminal.child.expect(pexpect.EOF)
        assert "infd" in terminal.child.before
        assert daemon.admin not in terminal.child.before


def test_a_daemon_that_is_gone_leaves_the_prompt(tmp_path):
    def vanish(peer, request):
        peer.server.stop_listening()
        raise Cut

    with scripted(tmp_path, handlers={"exec_set_input": vanish}) as (_, terminal):
        assert "unknown" in terminal.answer("hi")
        terminal.child.send("\x04")
        terminal.child.expect(pexpect.EOF)
        assert "Traceback" not in terminal.child.before
