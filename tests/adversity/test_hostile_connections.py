"""Connections that are many, silent, half-open, or never read."""

from __future__ import annotations

import os
import resource
import socket
import struct
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support import daemon as daemons
from support.daemon import Daemon, until
from support.endless import TABLE, endless
from support.raw_client import RawClient, Wire

from infd.contexts.reply import MOST_STREAMS


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    with daemons.run(models={"endless": endless()}, config={"models": TABLE}) as daemon:
        yield daemon


@pytest.fixture
def client(daemon: Daemon) -> Iterator[RawClient]:
    with RawClient(daemon).login("admin", daemon.admin) as client:
        yield client
        client.ok("inf_destroy_session")


def connections(client: RawClient) -> int:
    count: int = client.ok("inf_get_server_stats").keys["CONNECTIONS"]
    return count


def handles(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.pid}/fd").iterdir()))


def threads(daemon: Daemon) -> int:
    return len(list(Path(f"/proc/{daemon.pid}/task").iterdir()))


def test_a_thousand_idle_connections(daemon: Daemon, client: RawClient) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < 2000:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(2000, hard), hard))
    ctxid = client.context()
    client.ask(ctxid, "Hello!")
    before = handles(daemon)
    with ExitStack() as stack:
        for _ in range(1000):
            stack.enter_context(Wire(daemon))
        until(lambda: connections(client) == 1001)
        assert "Ada" in client.ask(ctxid, "My name is Ada.")[0]
        with Wire(daemon) as one_more:
            one_more.request(1, "inf_hello")
            assert one_more.read()
    until(lambda: connections(client) == 1)
    until(lambda: handles(daemon) <= before)


def test_who_never_reads_stops_nobody(daemon: Daemon, client: RawClient) -> None:
    """More comes for it than the kernel holds: its streams are held back in the context, and
    merge; the run ends, and others are served."""
    with RawClient(daemon, client.stok) as deaf:
        streams: list[tuple[int, int]] = []
        for _ in range(12):
            ctxid = deaf.context("endless", 4000)
            deaf.execute(ctxid, deaf.say(ctxid, "go"))
            keys = {"CTXID": ctxid, "OFFSET": 0, "STREAM": 1}
            # But for one, which is to tell what they must be given.
            streams += [(ctxid, deaf.send("exec_next", **keys)) for _ in range(MOST_STREAMS - 1)]
        own = client.context()
        assert "Ada" in client.ask(own, "My name is Ada.")[0]
        wholes = {ctxid: client.reply(ctxid, 0)[0] for ctxid in {ctxid for ctxid, _ in streams}}
        for ctxid, seq in streams:
            pieces = [deaf.read(seq)]
            while not pieces[-1].last:
                pieces.append(deaf.read(seq))
            assert "".join(piece.data or "" for piece in pieces) == wholes[ctxid]


def test_a_half_closed_connection_counts_as_lost(daemon: Daemon, client: RawClient) -> None:
    """What was answered is still sent."""
    with Wire(daemon) as wire:
        wire.request(1, "inf_hello")
        wire.request(2, "exec_next", {"STOK": client.stok, "CTXID": 1})
        wire.socket.shutdown(socket.SHUT_WR)
        answers = [wire.read(), wire.read(), wire.read()]
        assert [answer and answer[1] for answer in answers] == [2000, 2005, None]


def test_resets_at_any_moment_leave_nothing_behind(daemon: Daemon, client: RawClient) -> None:
    ctxid = client.context("endless", 30_000)
    msgid = client.say(ctxid, "word " * 500)
    client.execute(ctxid, msgid, MAX_TOKENS=1)
    client.reply(ctxid)
    before = handles(daemon), threads(daemon)
    for turn in range(60):
        with RawClient(daemon, client.stok) as lost:
            lost.send("exec_execute_input", CTXID=ctxid, MSGID=[msgid], MAX_TOKENS=20)
            for _ in range(turn % 4):
                lost.send("exec_next", CTXID=ctxid, STREAM=turn % 2)
            lost.send("inf_get_context_status", CTXID=ctxid)
            linger = struct.pack("ii", 1, 0)  # closing is a reset
            lost.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
    until(lambda: connections(client) == 1)
    until(lambda: client.ok("inf_get_context_status", CTXID=ctxid).code == 2010)
    # The loop's pool makes its threads as it needs them; a thread a context would be a hundred.
    pool = min(32, (os.cpu_count() or 1) + 4)  # concurrent.futures' own size
    until(lambda: handles(daemon) <= before[0] and threads(daemon) <= before[1] + pool)
    client.call("exec_next", CTXID=ctxid)
    assert client.ask(ctxid, "go", MAX_TOKENS=3)[1].keys["TOKENS_OUT"] == 3


def test_everything_is_given_back(daemon: Daemon, client: RawClient) -> None:
    """A hundred contexts made and destroyed: no thread, handle or budget stays."""

    def make_and_destroy() -> None:
        made = [client.context("endless", 64) for _ in range(20)]
        for seq in [client.send("inf_destroy_context", CTXID=ctxid) for ctxid in made]:
            assert client.read(seq).code == 2000

    make_and_destroy()
    before = handles(daemon), threads(daemon)
    for _ in range(5):
        make_and_destroy()
    assert client.ok("inf_get_model_info", MODEL="endless").keys["BUDGET_USED"] == 0
    # The loop's pool makes its threads as it needs them; a thread a context would be a hundred.
    pool = min(32, (os.cpu_count() or 1) + 4)  # concurrent.futures' own size
    until(lambda: handles(daemon) <= before[0] and threads(daemon) <= before[1] + pool)
