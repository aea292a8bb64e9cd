"""The asyncio client against a scripted peer: pipelining, cancellation everywhere, streams."""

from __future__ import annotations

import asyncio
import functools
import itertools
import types

import pytest
from support.scripted_server import STOK, Cut, ScriptedServer, cutting

from infd_client import (
    AsyncClient,
    CallTimeout,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    InfAuthorizationFailed,
    InfMaximumClients,
    codes,
)

TEXT = "Grüße, 世界! And more to read. 🙂"


def client_of(server, **options):
    return AsyncClient("127.0.0.1", server.port, username="ada", token="ada's token", **options)


@pytest.fixture(autouse=True)
async def quiet_loop():
    """An exception that nobody handled fails the test."""
    problems = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: problems.append(context))
    yield
    assert problems == []


async def arrival(server):
    """Wait until a held request has reached the scripted server."""
    await asyncio.to_thread(server.arrived.acquire)


async def test_calls_are_pipelined_and_each_gets_its_own_answer():
    def echo(peer, request):
        peer.answer(request, TOKENS=[len(request.data)])

    with ScriptedServer(handlers={"inf_tokenize": echo}) as server:
        async with client_of(server, stok=STOK) as client:
            sizes = range(1, 3000)
            results = await asyncio.gather(
                *(client.inf_tokenize(model="m", data="x" * size) for size in sizes)
            )
        assert [result.tokens for result in results] == [[size] for size in sizes]
        assert len(server.peers) == 1


async def test_refusals_are_raised():
    def refuse(peer, request):
        peer.answer(request, codes.INF_AUTHORIZATION_FAILED, DETAIL="Wrong token.")

    with ScriptedServer(handlers={"inf_access_request": refuse}) as server:
        async with client_of(server) as client:
            with pytest.raises(InfAuthorizationFailed, match="Wrong token"):
                await client.login()
            assert (await client.connect()) is client
            assert (await client.call("inf_hello")).code == 2000


async def test_nobody_listens():
    with ScriptedServer() as server:
        pass
    async with client_of(server) as client:
        with pytest.raises(ConnectFailed, match="Is infd running"):
            await client.connect()


async def test_a_full_daemon_says_so_at_once():
    def full(peer, request):
        peer.send(peer.connection.refuse(0, codes.INF_MAXIMUM_CLIENTS, "100 are open."))
        raise Cut

    with ScriptedServer(handlers={"inf_hello": full}) as server:
        async with client_of(server) as client:
            with pytest.raises(InfMaximumClients, match="100 are open"):
                await client.connect()


async def test_a_late_answer_is_dropped():
    server = ScriptedServer()
    server.handlers["inf_get_users"] = server.hold
    with server:
        async with client_of(server, stok=STOK) as client:
            with pytest.raises(CallTimeout, match="inf_get_users"):
                await client.inf_get_users(timeout=0.01)
            await arrival(server)
            server.release(USERNAME=["late"])
            assert (await client.inf_get_accessible_models()).model == ["scripted"]
        assert len(server.peers) == 1


async def test_closing_ends_calls_under_way_and_later_ones():
    server = ScriptedServer()
    server.handlers["inf_get_users"] = server.hold
    with server:
        client = client_of(server, stok=STOK)
        waiting = asyncio.create_task(client.inf_get_users())
        await arrival(server)
        await client.close()
        with pytest.raises(ClientClosed):
            await waiting
        with pytest.raises(ClientClosed):
            await client.inf_hello()
        await client.close()


def test_a_client_belongs_to_one_loop():
    with ScriptedServer() as server:
        client = client_of(server)

        async def use():
            await client.connect()

        async def use_and_close():
            await client.connect()
            await client.close()

        asyncio.run(use_and_close())
        with pytest.raises(RuntimeError, match="event loop"):
            asyncio.run(use())


# --- lost connections ----------------------------------------------------------------------


async def test_what_reads_is_repeated_and_what_changes_is_not():
    handlers = {"inf_get_users": cutting(), "exec_set_input": cutting()}
    with ScriptedServer(handlers=handlers) as server:
        async with client_of(server) as client:
            await client.login()
            assert (await client.inf_get_users()).username == ["again"]
            with pytest.raises(ConnectionLost, match="unknown"):
                await client.exec_set_input(ctxid=1, role="user", data="hi")
            assert (await client.exec_set_input(ctxid=1, role="user", data="hi")).msgid == 1


async def test_a_daemon_that_stays_away_is_given_up():
    with ScriptedServer(handlers={"inf_get_users": cutting()}) as server:
        async with client_of(server, reconnect=0) as client:
            await client.login()
            with pytest.raises(ConnectionLost, match="lost"):
                await client.inf_get_users()
            assert (await client.inf_get_users()).username == ["again"]


async def test_a_call_made_while_there_is_no_connection_waits_for_one():
    server = ScriptedServer()
    with server:
        async with client_of(server) as client:
            await client.login()
            lost = asyncio.get_running_loop().create_future()
            wire = client._wire
            usual = wire.connection_lost

            def connection_lost(error):
                usual(error)
                lost.set_result(None)

            wire.connection_lost = connection_lost
            server.peers[0].cut()
            await lost
            wire.connection_lost = usual
            assert (await client.exec_set_input(ctxid=1, role="user", data="hi")).msgid == 1


# --- cancellation --------------------------------------------------------------------------


@types.coroutine
def cancelled_at(work, at, late):
    """Run the coroutine `work`, cancelling its task at suspension number `at`.

    At once, or `late`: when what it waits for has come and it has not yet gone on.
    """
    task = asyncio.current_task()
    step = functools.partial(work.send, None)
    for count in itertools.count(1):
        try:
            waits_for = step()
        except StopIteration as end:
            return end.value
        if count == at and late and waits_for is not None:
            waits_for.add_done_callback(lambda _: task.cancel())
        elif count == at:
            task.cancel()
        try:
            step = functools.partial(work.send, (yield waits_for))
        except BaseException as error:
            step = functools.partial(work.throw, error)


async def cancel_at_every_await(work, late):
    """Run `work()` again and again, cancelling it at its first, second, … suspension."""

    async def run(at):
        return await cancelled_at(work(), at, late)

    for at in itertools.count(1):
        task = asyncio.create_task(run(at))
        try:
            return await task
        except asyncio.CancelledError:
            assert task.cancelled()
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("late", [False, True])
async def test_cancelling_any_await_leaves_the_connection_usable(late):
    with ScriptedServer(replies={1: TEXT}) as server:
        async with client_of(server) as client:

            async def work():
                await client.login()
                await client.exec_execute_input(ctxid=1, msgid=[1])
                return await client.stream(1).read()

            assert await cancel_at_every_await(work, late) == TEXT
            assert await work() == TEXT
            # Every forgotten call was answered and dropped: nothing is left behind.
            await client.connect()
            assert client._calls._sent == {}


@pytest.mark.parametrize("late", [False, True])
async def test_cancelled_exec_next_loses_nothing(late):
    with ScriptedServer(replies={1: TEXT}) as server:
        async with client_of(server) as client:
            await client.login()
            await client.exec_execute_input(ctxid=1, msgid=[1])
            text = []

            async def one():
                # No await after it: what it returns has reached the caller.
                result = await client.exec_next(ctxid=1)
                text.append(result.text)
                return result

            while not (await cancel_at_every_await(one, late)).is_special:
                pass
            assert "".join(text) == TEXT


async def test_exec_next_in_one_context_is_served_in_order():
    with ScriptedServer(replies={1: TEXT}, pieces=4) as server:
        async with client_of(server) as client:
            await client.login()
            await client.exec_execute_input(ctxid=1, msgid=[1])
            results = await asyncio.gather(*(client.exec_next(ctxid=1) for _ in range(5)))
            assert "".join(result.text for result in results) == TEXT[:20]


async def test_exec_next_times_out_while_it_waits_for_its_turn():
    server = ScriptedServer(replies={1: TEXT})
    server.handlers["exec_next"] = server.hold
    with server:
        async with client_of(server, stok=STOK) as client:
            first = asyncio.create_task(client.exec_next(ctxid=1))
            await arrival(server)
            with pytest.raises(CallTimeout, match="turn"):
                await client.exec_next(ctxid=1, timeout=0.01)
            server.release(data="text", OFFSET=0)
            assert (await first).text == "text"


# --- streams -------------------------------------------------------------------------------


async def test_leaving_a_stream_leaves_the_connection_usable():
    with ScriptedServer(replies={1: TEXT}) as server:
        async with client_of(server) as client:
            await client.login()
            async for piece in client.stream(1):
                assert TEXT.startswith(piece)
                break
            async with client.stream(1, stop=True) as stream:
                first = await anext(stream)
            (stop,) = [request for request in server.asked if request.op == "exec_stop"]
            assert stop.keys["OFFSET"] == len(first.encode())
            again = client.stream(1)
            assert await again.read() == TEXT
            assert again.result.msgid == 99


@pytest.mark.parametrize("leave", ["stop", "aclose"])
async def test_leaving_a_stream_ends_the_wait_of_another_task(leave):
    with ScriptedServer() as server:
        server.handlers["exec_next"] = server.hold
        async with client_of(server, stok=STOK) as client:
            stream = client.stream(1)
            reading = asyncio.ensure_future(stream.read())
            await arrival(server)
            await getattr(stream, leave)()
            assert await asyncio.wait_for(reading, 30) == ""


async def test_a_piece_that_does_not_come_in_time_may_come_later():
    server = ScriptedServer()
    server.handlers["exec_next"] = server.hold
    with server:
        async with client_of(server, stok=STOK) as client:
            stream = client.stream(1, timeout=0.01)
            await arrival(server)
            with pytest.raises(CallTimeout, match="piece"):
                await anext(stream)
            server.release(data="late", OFFSET=0, IS_SPECIAL=True)
            await client.connect()
            assert await stream.read() == "late"


async def test_a_stream_cut_at_every_byte_is_whole_and_never_doubled():
    at = 0
    while True:
        at += 3
        with ScriptedServer(replies={1: TEXT}, cuts=[None, at, at + 50]) as server:
            async with client_of(server) as client:
                await client.login()
                server.peers[0].left = at
                assert await client.stream(1).read() == TEXT
            if len(server.peers) == 1:
                return
