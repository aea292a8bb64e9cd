"""What listens is no daemon, or says nothing; and a busy daemon is not taken for either."""

from __future__ import annotations

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.foreign import Foreigner
from support.scripted_server import STOK, Cut, ScriptedServer

from infd_client import AsyncClient, CallTimeout, Client, ClientClosed, ConnectFailed

SSH = b"SSH-2.0-OpenSSH_9.2\r\n"


def client_of(server):
    return Client("127.0.0.1", server.port, username="ada", token="ada's token", stok=STOK)


def test_what_speaks_otherwise_is_told_at_once():
    with Foreigner(SSH) as server, client_of(server) as client:
        for call in (client.connect, client.inf_get_users, client.login):
            with pytest.raises(ConnectFailed, match=r"no infd daemon: the server sent a frame"):
                call()
        assert server.taken == 3


async def test_what_speaks_otherwise_is_told_at_once_to_tasks_too():
    with Foreigner(SSH) as server:
        async with AsyncClient("127.0.0.1", server.port, stok=STOK) as client:
            with pytest.raises(ConnectFailed, match=r"no infd daemon: the server sent a frame"):
                await client.connect()
            with pytest.raises(ConnectFailed, match=r"no infd daemon"):
                await client.login("ada", "ada's token")
        assert server.taken == 2


def nonsense_once(server):
    """A handler: no protocol at first, then an answer."""

    def handle(peer, request):
        if server.operations().count(request.op) == 1:
            peer.send(SSH)
            raise Cut
        peer.answer(request, USERNAME=["well"])

    return handle


def test_where_a_daemon_was_it_is_tried_again():
    with ScriptedServer() as server, Client("127.0.0.1", server.port, stok=STOK) as client:
        server.handlers["inf_get_users"] = nonsense_once(server)
        client.connect()
        assert client.inf_get_users().username == ["well"]


async def test_where_a_daemon_was_it_is_tried_again_by_tasks_too():
    with ScriptedServer() as server:
        server.handlers["inf_get_users"] = nonsense_once(server)
        async with AsyncClient("127.0.0.1", server.port, stok=STOK) as client:
            await client.connect()
            assert (await client.inf_get_users()).username == ["well"]


def test_what_takes_the_connection_and_is_silent():
    server = ScriptedServer()
    server.handlers["inf_get_users"] = server.handlers["inf_hello"] = server.hold
    with server, ThreadPoolExecutor(1) as pool:
        client = Client("127.0.0.1", server.port, stok=STOK)
        waiting = pool.submit(client.inf_get_users)
        server.arrived.acquire()  # so there is a connection
        with pytest.raises(CallTimeout, match=r":[0-9]+ took the connection and says nothing"):
            client.connect(timeout=0.01)
        client.close()
        with pytest.raises(ClientClosed):
            waiting.result()


async def test_what_is_silent_to_tasks():
    with Foreigner() as server:
        async with AsyncClient("127.0.0.1", server.port) as client:
            with pytest.raises(CallTimeout, match="says nothing: is that an infd daemon"):
                await client.connect(timeout=0.5)


def test_what_does_not_even_take_the_connection():
    # A full queue: Linux lets one more in than it was told, and drops the next.
    with (
        socket.create_server(("127.0.0.1", 0), backlog=0) as full,
        socket.create_connection(full.getsockname()),
        Client(*full.getsockname(), connect_timeout=0.2) as client,
        pytest.raises(ConnectFailed, match=r"Cannot connect .* Is infd running there"),
    ):
        client.connect(timeout=0.01)


def test_a_daemon_that_is_busy_is_one_and_what_only_reads_takes_no_effect():
    with ScriptedServer() as server, Client("127.0.0.1", server.port, stok=STOK) as client:
        client.connect()
        for op in ("inf_hello", "inf_create_context", "exec_next"):
            server.handlers[op] = server.hold
        with pytest.raises(CallTimeout) as caught:
            client.connect(timeout=0.01)
        assert str(caught.value) == "inf_hello was not answered within 0.01 s."
        with pytest.raises(CallTimeout, match=r"within 0\.01 s; it may still take effect\."):
            client.inf_create_context(model="m", ctxsize=99, timeout=0.01)
        with pytest.raises(CallTimeout, match=r"within [0-9.e-]+ s\."):
            client.exec_next(ctxid=1, offset=0, timeout=0.01)
        assert client.inf_get_accessible_models().model == ["scripted"]


async def test_what_only_reads_takes_no_effect_for_tasks_either():
    with ScriptedServer() as server:
        async with AsyncClient("127.0.0.1", server.port, stok=STOK) as client:
            await client.connect()
            for op in ("inf_hello", "inf_create_context"):
                server.handlers[op] = server.hold
            with pytest.raises(CallTimeout) as caught:
                await client.connect(timeout=0.01)
            assert str(caught.value) == "inf_hello was not answered within 0.01 s."
            with pytest.raises(CallTimeout, match="may still take effect"):
                await client.inf_create_context(model="m", ctxsize=99, timeout=0.01)
