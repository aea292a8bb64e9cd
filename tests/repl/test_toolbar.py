"""The toolbar: numbers that are true, or none; a context only while it is known to be there."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.daemon import until
from support.scripted_server import ScriptedServer, refusing

from infd_client import Client, ConnectionLost, InfContextHalted
from infd_repl import conversation
from infd_repl.conversation import Conversation
from infd_repl.repl import News, Repl
from infd_repl.view import View


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def repl(
    server: ScriptedServer, tmp_path: object, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Repl]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    fills(server, 1)
    news = News(View())
    with Client("127.0.0.1", server.port, reconnect=0, on_change=news) as client:
        client.login("ada", "ada's token")
        talk = Conversation(client, "ada", "ada's token", system=None, size=99, sampling={})
        talk.begin()
        yield Repl(talk, View(), news)


def fills(server: ScriptedServer, used: int) -> None:
    server.handlers["inf_get_context_status"] = refusing(
        2010, MODEL="scripted", CTXSIZE=99, TOKENS_USED=used
    )


def interrupted() -> None:
    raise KeyboardInterrupt


def test_what_ctrl_c_cut_short_is_in_the_numbers(server: ScriptedServer, repl: Repl) -> None:
    assert "1/99 tokens" in repl._prompt._toolbar()
    fills(server, 42)
    repl._guarded(interrupted)
    assert "42/99 tokens" in repl._prompt._toolbar()


def test_a_daemon_that_says_nothing_leaves_no_numbers_and_holds_nobody_up(
    server: ScriptedServer, repl: Repl, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "SOON", 0.01)
    server.handlers["inf_get_context_status"] = server.hold
    repl._guarded(interrupted)
    assert "tokens" not in repl._prompt._toolbar()
    assert "scripted · context 1" in repl._prompt._toolbar()


def halted() -> None:
    raise InfContextHalted("The model was unloaded.")


@pytest.mark.parametrize("code", [2002, 2005])
def test_a_context_that_has_ended_in_the_middle_of_a_reply(
    server: ScriptedServer, repl: Repl, code: int
) -> None:
    server.handlers["inf_get_context_status"] = refusing(code, DETAIL="It is gone.")
    repl._guarded(halted)
    assert "no context" in repl._prompt._toolbar()


def test_a_context_that_is_found_to_be_gone(server: ScriptedServer, repl: Repl) -> None:
    gone = refusing(2005, DETAIL="There is no context 1.")
    server.handlers.update(inf_get_context_status=gone, exec_get_messages=gone)
    repl._guarded(lambda: repl._handle("/messages"))
    assert "no context" in repl._prompt._toolbar()
    del server.handlers["exec_get_messages"]
    fills(server, 5)
    repl._guarded(lambda: repl._handle("/clear"))
    assert "scripted · context 1 · 5/99 tokens" in repl._prompt._toolbar()


def reaches(client: Client) -> bool:
    """Whether a call is answered: one that is made while the connection is given up fails."""
    try:
        client.inf_get_users()
    except ConnectionLost:
        return False
    return True


def test_while_the_daemon_is_away_and_after(server: ScriptedServer, repl: Repl) -> None:
    server.peers[0].cut()
    until(lambda: repl._news.away)
    assert f"ada@127.0.0.1:{server.port} · not connected" == repl._prompt._toolbar()
    server.handlers["inf_get_users"] = refusing(2000, USERNAME=[])
    until(lambda: reaches(repl.talk.client))
    until(lambda: not repl._news.away)
    assert f"scripted · ada@127.0.0.1:{server.port}" == repl._prompt._toolbar()
    repl.talk.refresh()
    assert "scripted · context 1 · 1/99 tokens" in repl._prompt._toolbar()
