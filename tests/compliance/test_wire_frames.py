"""Frames, seqs, limits and order, against the real daemon."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support import daemon as daemons
from support.daemon import Daemon
from support.raw_client import RawClient, Wire

from infd_protocol import codec, frames

VECTORS = json.loads(
    (Path(__file__).parents[2] / "protocol" / "vectors.json").read_text(encoding="utf-8")
)


@pytest.fixture
def wire(shared_daemon: Daemon) -> Iterator[Wire]:
    with Wire(shared_daemon) as wire:
        yield wire


@pytest.fixture
def stok(client: RawClient) -> str:
    assert client.stok
    return client.stok


def hello(wire: Wire, seq: int = 77) -> None:
    """The connection is well."""
    wire.request(seq, "inf_hello")
    answer = wire.read()
    assert answer is not None
    assert answer[:2] == (seq, 2000)


@pytest.mark.parametrize(
    "vector",
    [v for v in VECTORS["refused"] if not v.get("in_flight")],
    ids=lambda vector: vector["name"],
)
def test_what_the_vectors_say_is_refused_is(wire: Wire, stok: str, vector: dict[str, Any]) -> None:
    if vector.get("authenticated"):
        wire.request(1, "inf_get_context_ids", {"STOK": stok})
        assert wire.read()
    wire.send(bytes.fromhex(vector["hex"]))
    answer = wire.read()
    assert answer is not None
    expected = vector["answer"]
    assert answer[:2] == (expected["seq"], expected["code"])
    if expected["closes"]:
        assert wire.read() is None
    else:
        hello(wire)


@pytest.mark.parametrize("vector", VECTORS["requests"], ids=lambda vector: vector["name"])
def test_what_the_vectors_say_is_a_request_is(wire: Wire, vector: dict[str, Any]) -> None:
    """Byte by byte. The session is none of this daemon's, so 2002 is how far most get."""
    for byte in bytes.fromhex(vector["hex"]):
        wire.send(bytes([byte]))
    answer = wire.read()
    assert answer is not None
    assert answer[0] == vector["value"][0]
    assert answer[1] in (2000, 2002, 2008)


def test_answers_before_a_refusal_are_sent(wire: Wire) -> None:
    for seq in (1, 2, 3):
        wire.request(seq, "inf_hello")
    wire.send(frames.frame(b"\xc1"))
    wire.request(4, "inf_hello")
    answers = [wire.read() for _ in range(5)]
    assert [answer and answer[:2] for answer in answers] == [
        (1, 2000), (2, 2000), (3, 2000), (0, 1021), None,
    ]  # fmt: skip


def test_a_frame_cut_short_is_waited_for(shared_daemon: Daemon) -> None:
    with daemons.run(demo=False, config={"frame_seconds": 0.05}) as daemon, Wire(daemon) as wire:
        hello(wire)
        wire.send(b"\x00\x00\x00\x10half of it")
        answer = wire.read()
        assert answer is not None
        assert answer[:2] == (0, 1007)
        assert wire.read() is None


def test_a_session_may_send_long_frames_at_once(wire: Wire, stok: str) -> None:
    """Both in one write: the first names the session, the second is long."""
    text = "x" * 100_000
    first = frames.frame(codec.encode([1, "inf_get_context_ids", {"STOK": stok}, None]))
    keys = {"STOK": stok, "CTXID": 1, "ROLE": "user"}
    wire.send(first + frames.frame(codec.encode([2, "exec_set_input", keys, text])))
    answers = [wire.read(), wire.read()]
    assert [answer and answer[:2] for answer in answers] == [(1, 2000), (2, 2005)]


def test_without_a_session_a_long_frame_closes(wire: Wire) -> None:
    keys = {"STOK": "not a session"}
    wire.request(1, "inf_get_context_ids", keys)
    answer = wire.read()
    assert answer is not None
    assert answer[1] == 2002
    wire.request(2, "exec_set_input", keys, "x" * 70_000)
    answer = wire.read()
    assert answer is not None
    assert answer[:2] == (0, 1016)


def test_a_frame_over_the_limit_is_read_past() -> None:
    with (
        daemons.run(config={"max_frame": 65536}) as daemon,
        RawClient(daemon).login("admin", daemon.admin) as client,
        Wire(daemon) as wire,
    ):
        assert client.ok("inf_hello").keys["MAX_FRAME"] == 65536
        wire.request(1, "inf_get_context_ids", {"STOK": client.stok})
        assert wire.read()
        for size in (70_000, 200_000):
            wire.request(9, "exec_set_input", {"STOK": client.stok}, "x" * size)
            answer = wire.read()
            assert answer is not None
            assert answer[:2] == (9, 1016)
        hello(wire)
        wire.send(struct.pack(">I", 4 * 65536))
        answer = wire.read()
        assert answer is not None
        assert answer[:2] == (0, 1016)
        assert wire.read() is None


def test_a_seq_in_flight_is_refused_and_what_it_stands_for_goes_on(
    wire: Wire, client: RawClient
) -> None:
    ctxid = client.context("endless", 30_000)
    client.execute(ctxid, client.say(ctxid, "word " * 2000), MAX_TOKENS=4)
    keys = {"STOK": client.stok, "CTXID": ctxid, "STREAM": 1, "OFFSET": 0}
    wire.request(5, "exec_next", keys)
    wire.request(5, "inf_hello")
    codes = []
    while not codes or codes[-1] is not True:
        answer = wire.read()
        assert answer is not None
        assert answer[0] == 5
        codes.append(answer[1])
        if answer[2].get("IS_SPECIAL"):
            codes.append(True)
    assert codes.count(1021) == 1
    assert set(codes) == {1021, 3000, True}
    hello(wire, 5)


def test_more_than_1024_in_flight_are_1022(client: RawClient, shared_daemon: Daemon) -> None:
    ctxid = client.context("endless", 30_000)
    client.execute(ctxid, client.say(ctxid, "word " * 9000), MAX_TOKENS=1)
    with Wire(shared_daemon) as wire:
        keys = {"STOK": client.stok, "CTXID": ctxid}
        for seq in range(1, 1101):
            wire.request(seq, "exec_next", keys)
        refused = set()
        while len(refused) < 76:
            answer = wire.read()
            assert answer is not None
            if answer[1] == 1022:
                assert answer[2]["RETRY_AFTER"] >= 1
                refused.add(answer[0])
        assert refused == set(range(1025, 1101))
    client.ok("inf_clear_context_history", CTXID=ctxid)


def test_responses_come_as_they_are_ready(client: RawClient) -> None:
    """A slow request holds none of the later ones back, and all are answered once."""
    ctxid = client.context("endless", 30_000)
    msgid = client.say(ctxid, "word " * 3000)
    client.execute(ctxid, msgid, MAX_TOKENS=1)
    slow = client.send("exec_next", CTXID=ctxid)
    quick = [client.send("inf_get_context_status", CTXID=ctxid) for _ in range(300)]
    codes = {client.read(seq).code for seq in quick}
    assert codes <= {2009, 2010}
    assert client.read(slow).code == 3000
    assert [seq for seq in client.order if seq in quick] == quick


def test_effects_stand_in_the_order_sent(client: RawClient) -> None:
    """Thirty messages, then their listing, without waiting for anything."""
    made = client.send("inf_create_context", MODEL="demo", CTXSIZE=512)
    assert client.read(made).keys["CTXID"] == 1
    stored = [client.send("exec_set_input", f"m{n}", CTXID=1, ROLE="user") for n in range(30)]
    listed = client.send("exec_get_messages", CTXID=1)
    cleared = client.send("inf_clear_context_history", CTXID=1)
    after = client.send("exec_get_messages", CTXID=1)
    assert client.read(listed).keys["TEXT"] == [f"m{n}" for n in range(30)]
    assert [client.read(seq).keys["MSGID"] for seq in stored] == list(range(1, 31))
    assert client.read(cleared).code == 2000
    assert client.read(after).keys["TEXT"] == []


def test_one_connection_too_many_is_told_so() -> None:
    with daemons.run(demo=False, config={"max_connections": 3}) as daemon:
        held = [Wire(daemon) for _ in range(3)]
        for wire in held:
            hello(wire)
        with Wire(daemon) as late:
            answer = late.read()
            assert answer is not None
            assert answer[:2] == (0, 2001)
            assert late.read() is None
        for wire in held:
            hello(wire)
            wire.socket.close()
