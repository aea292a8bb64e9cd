"""The toolbar's numbers after Ctrl-C: new ones, or none; never those from before."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.scripted_server import ScriptedServer, refusing

from infd_client import Client
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
    with Client("127.0.0.1", server.port) as client:
        client.login("ada", "ada's token")
        talk = Conversation(client, "ada", "ada's token", system=None, size=99, sampling={})
        talk.begin()
        yield Repl(talk, View(), News(View()))


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
