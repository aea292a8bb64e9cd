"""The REPL's keys and words at a real pseudo-terminal: what is typed is taken as it was typed."""

from __future__ import annotations

import pexpect
import pytest
from support.scripted_server import refusing
from support.terminal import at_terminal, said, scripted


def test_texts_that_end_a_reply(repl):
    assert 'stop=["a", "b c"]' in repl.answer('/set stop=["a","b c"]')
    assert 'stop=["3", "4"], max_tokens=20' in repl.answer("/set stop=3,4 max_tokens=20")
    assert "1, 2," in repl.answer("Count from 1 to 12.")
    assert r'stop=["\n", "END"]' in repl.answer(r"/set stop=\n,END")
    printed = said(repl.answer('/set stop=["a","b"'))
    assert """STOP must be a JSON list, such as ["a", "b"], not '["a","b"'.""" in printed
    assert "Nothing is set" not in repl.answer("/set stop=")
    assert r"In both \n is a newline" in said(repl.answer("/help set"))
    printed = repl.answer('/exec_set_input ROLE=user DATA=["as typed"]')
    assert "MSGID" in printed
    assert '["as typed"]' in repl.answer("/messages")
    repl.leave()


def test_what_is_missing_is_looked_for_where_one_is(repl):
    printed = said(repl.answer("/help nothing"))
    assert "There is no operation nothing. /help lists them." in printed
    printed = said(repl.answer("/model nix"))
    assert "There is no model 'nix'; /models lists what there is." in printed
    assert printed.count("/models") == 1
    repl.leave()


@pytest.mark.parametrize("line", ["as it is", ""])
def test_ctrl_c_leaves_the_message_that_is_changed_as_it_was(repl, line):
    repl.answer("My name is Ada.")
    repl.say("/edit")
    begun = said(repl.expect("edit> "))
    assert "Enter sends it, Ctrl-C leaves it as it was." in begun
    repl.expect("My name is Ada.")
    repl.child.send("\x15" + line + "\x03")
    assert "The message stays as it was." in repl.ready()
    assert "Ada" in repl.answer("What is my name?")
    assert "Ctrl-C leaves it" in said(repl.answer("/help edit"))
    repl.leave()


def test_a_message_is_changed(repl):
    repl.answer("My name is Ada.")
    repl.say("/edit")
    repl.expect("My name is Ada.")
    repl.child.send("\x15My name is Bob.\r")
    repl.ready()
    assert "Bob" in repl.answer("What is my name?")
    repl.leave()


def sent(server):
    return [request.data for request in server.asked if request.op == "exec_set_input"]


def test_what_is_pasted_during_a_reply_is_one_text_at_the_next_prompt(tmp_path):
    with scripted(tmp_path) as (server, terminal):
        server.handlers["exec_next"] = server.hold
        terminal.say("hi")
        server.arrived.acquire()
        terminal.expect("\x1b[?2004h")
        terminal.child.send("\x1b[200~one\rtwo\rthree\x1b[201~")
        server.release(data="A reply.", IS_SPECIAL=True, FINISH_REASON="stop", MSGID=2)
        assert "A reply." in terminal.ready()
        terminal.say("")
        server.arrived.acquire()
        server.release(data="Another.", IS_SPECIAL=True, FINISH_REASON="stop", MSGID=4)
        terminal.ready()
        assert sent(server) == ["hi", "one\ntwo\nthree"]
        terminal.leave()


def test_ctrl_c_drops_what_was_typed_during_the_reply(tmp_path):
    with scripted(tmp_path, replies={1: "A reply."}) as (server, terminal):
        server.handlers["exec_next"] = server.hold
        # Two lines at once, as a terminal without bracketed paste gives them.
        terminal.child.send("hi\rthis is read with it\r")
        server.arrived.acquire()
        terminal.expect("\x1b[?2004h")  # the reply is read
        del server.handlers["exec_next"]
        terminal.child.send("nobody wants\rany of this\r\x03")
        terminal.expect("Stopped.")
        terminal.ready()
        assert "A reply." in terminal.answer("last")
        assert sent(server) == ["hi", "last"]
        terminal.leave()


def test_the_history_is_searched(tmp_path):
    with scripted(tmp_path, replies={1: "A reply."}) as (server, terminal):
        terminal.answer("My name is Ada.")
        terminal.answer("Hello!")
        terminal.child.send("\x12Ada")
        terminal.expect("I-search backward")
        terminal.child.send("\r")  # takes what was found, and a second one sends it
        assert "A reply." in terminal.answer("")
        terminal.child.send("\x12Hel")
        terminal.expect("I-search backward")
        terminal.child.send("\x03")  # leaves the search; the line is as empty as it was
        assert "A reply." in terminal.answer("Bye.")
        assert sent(server) == ["My name is Ada.", "Hello!", "My name is Ada.", "Bye."]
        terminal.leave()


def test_a_context_that_is_full_tells_both_ways_out(repl):
    assert "64 tokens" in repl.answer("/context new 64")
    ways = "/clear begins anew; /context new SIZE, or infc --context SIZE, in a larger context"
    printed = said(repl.answer("Count from 1 to 30."))
    assert f"was cut: the context of 64 tokens is full. {ways}." in printed
    printed = said(repl.answer("Count from 1 to 30."))
    assert f"(3005): The prompt has 81 tokens; the context's size is 64. ({ways})" in printed
    assert "Context 3 on demo" in repl.answer("/context new 256")
    repl.answer("/set max_tokens=5")
    printed = said(repl.answer("Count from 1 to 30."))
    assert "was cut at 5 tokens, which is max_tokens. /set max_tokens=N allows more." in printed
    repl.leave()


def test_ctrl_z_suspends_and_the_shell_brings_the_line_back(daemon, tmp_path):
    url = f"infd://admin@{daemon.host}:{daemon.port}"
    with at_terminal(url, daemon.admin, tmp_path, "--temp", "0", shell=True) as terminal:
        terminal.expect("model demo")
        terminal.ready()
        terminal.child.send("My name\x1a")
        terminal.expect(terminal.PROMPT)
        terminal.child.send("fg\r")
        terminal.expect("My name")
        assert "\x1a" not in terminal.answer(" is Ada.")
        terminal.say("/edit")
        terminal.expect("edit> ")
        terminal.child.send("\x1a")
        terminal.expect(terminal.PROMPT)
        terminal.child.send("fg\r")
        terminal.expect("edit> ")
        terminal.child.send("\x03")
        terminal.expect("The message stays as it was.")
        terminal.ready()
        assert "Ada" in terminal.answer("What is my name?")
        terminal.child.send("\x04")
        terminal.expect(terminal.PROMPT)
        terminal.child.send("stty -a; exit\r")
        terminal.child.expect(pexpect.EOF)
        assert " icanon" in terminal.child.before
        assert " echo " in terminal.child.before


def test_ctrl_z_during_a_reply_and_back(tmp_path):
    with scripted(tmp_path, shell=True) as (server, terminal):
        server.handlers["exec_next"] = server.hold
        terminal.say("hi")
        server.arrived.acquire()
        terminal.expect("\x1b[?2004h")  # the reply is read
        terminal.child.send("\x1a")
        terminal.expect(terminal.PROMPT)
        # The shell has the terminal as it was; whatever it does to it, `fg` undoes.
        terminal.child.send("stty -a; stty echo; fg\r")
        assert " echo " in terminal.expect("infd_repl")
        terminal.expect("\x1b[?2004h")
        server.handlers["exec_next"] = refusing(3000, IS_SPECIAL=True, OFFSET=0, MSGID=2)
        terminal.child.send("unseen\x03")
        stopped = terminal.ready()
        assert "Stopped." in stopped
        assert "^C" not in stopped
        assert "unseen" not in stopped
        terminal.child.send("\x04")
        terminal.expect(terminal.PROMPT)
