"""The REPL while its daemon is away, and after. What the toolbar shows then: test_toolbar."""

from __future__ import annotations

from support.restart import restart
from support.scripted_server import Cut
from support.terminal import said, scripted

WILL_BE_STOPPED = "will be stopped as soon as the daemon can be reached again."


def test_a_daemon_that_is_killed_and_started_again(endless_repl):
    daemon, terminal = endless_repl
    daemon.kill()
    terminal.expect("connection was lost; reconnecting")
    restart(daemon)
    terminal.expect("Connected again.")
    terminal.say("Hello!")
    assert "logged in again" in said(terminal.expect("your message is sent again"))
    terminal.child.expect(r"\S{40}")
    terminal.child.send("\x03")
    assert WILL_BE_STOPPED not in said(terminal.expect("Stopped."))
    terminal.ready()
    terminal.leave()


def test_ctrl_c_while_the_daemon_is_away_in_the_middle_of_a_reply(tmp_path):
    def vanish(peer, request):
        peer.server.stop_listening()
        peer.answer(request, data="Half a reply", OFFSET=0, last=False)
        raise Cut

    with scripted(tmp_path, handlers={"exec_next": vanish}) as (server, terminal):
        terminal.say("hi")
        terminal.expect("reconnecting")
        terminal.child.send("\x03")
        assert "The reply " in terminal.expect(WILL_BE_STOPPED.split()[-1])
        assert "Ctrl-C once more not to wait" in said(terminal.expect("the reply goes on there"))
        terminal.child.send("\x03")
        terminal.expect("Interrupted.")
        terminal.ready()
        assert "exec_stop" not in server.operations()
