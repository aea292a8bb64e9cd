"""A chat that does not know whether its message was executed asks the daemon, and goes on."""

from __future__ import annotations

import pytest
from support.scripted_server import Cut, ScriptedServer, refusing

from infd_client import AsyncClient, Client, ConnectionLost

TEXT = "A reply."
LISTED = {"MSGID": [1, 2], "ROLE": ["user", "assistant"], "IN_HISTORY": [True, True],
          "TEXT": ["hi", ""]}  # fmt: skip


def executed_and_cut(server):
    """The daemon carries it out, and the connection is lost before it can say so."""

    def handle(peer, request):
        del server.handlers["exec_execute_input"]
        server.read[1] = 0
        raise Cut

    server.handlers["exec_execute_input"] = handle
    server.handlers["exec_get_messages"] = refusing(3000, **LISTED)


def client_of(server, kind):
    return kind("127.0.0.1", server.port, username="ada", token="ada's token")


def test_blocking_chat_learns_what_happened():
    with ScriptedServer(replies={1: TEXT}) as server, client_of(server, Client) as client:
        client.login()
        with client.chat(model="scripted", ctxsize=99) as chat:
            executed_and_cut(server)
            with pytest.raises(ConnectionLost, match="unknown"):
                chat.send("hi")
            assert chat.regenerate().read() == TEXT
            chat.stop()
            assert chat.history == (1, 99)
    ops = server.operations()
    assert ops.index("exec_stop") < ops.index("exec_get_messages")
    (repeated,) = [r for r in server.asked if r.op == "exec_execute_input"][1:]
    assert repeated.keys["MSGID"] == [1]


async def test_asyncio_chat_learns_what_happened():
    with ScriptedServer(replies={1: TEXT}) as server:
        async with client_of(server, AsyncClient) as client:
            await client.login()
            async with client.chat(model="scripted", ctxsize=99) as chat:
                executed_and_cut(server)
                with pytest.raises(ConnectionLost, match="unknown"):
                    await chat.send("hi")
                assert await (await chat.regenerate()).read() == TEXT
                await chat.stop()
                assert chat.history == (1, 99)
