"""The golden frames of vectors.json: read whole, byte by byte, and with junk behind them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from infd_protocol import codec, codes, frames
from infd_protocol.connection import (
    Connection,
    Event,
    ProtocolError,
    Refusal,
    Request,
    Response,
    Role,
    State,
)
from infd_protocol.operations import resolve

PATH = Path(__file__).parents[2] / "protocol" / "vectors.json"
VECTORS: dict[str, list[dict[str, Any]]] = json.loads(PATH.read_text())
JUNK = {
    "nothing": b"",
    "half a length": b"\x00\x00",
    "half a frame": b"\x00\x00\x00\x09\x94",
    "no value": frames.frame(b"\xc1"),
}


def cases(kind: str) -> Any:
    return pytest.mark.parametrize(
        "vector", VECTORS[kind], ids=[vector["name"] for vector in VECTORS[kind]]
    )


def first_event(connection: Connection, pieces: list[bytes]) -> Event | None:
    """The first event, which must not come before the last piece but one is there."""
    for piece in pieces:
        connection.receive(piece)
        if (event := connection.next_event()) is not None:
            return event
    return None


def ways(wire: bytes) -> list[list[bytes]]:
    """Whole, byte by byte, and followed by each kind of junk."""
    whole = [[wire + junk] for junk in JUNK.values()]
    return [*whole, [bytes([byte]) for byte in wire], [wire[:3], wire[3:5], wire[5:]]]


@cases("requests")
def test_requests(vector: dict[str, Any]) -> None:
    wire = bytes.fromhex(vector["hex"])
    seq, op, keys, data = vector["value"]
    expected = Request(seq, op, keys, data.encode() if vector.get("data_is_bin") else data)
    for pieces in ways(wire):
        assert first_event(Connection(Role.SERVER), pieces) == expected
    if vector.get("canonical", True):
        assert frames.frame(codec.encode(vector["value"])) == wire
    row = resolve(op)
    assert row is not None
    assert set(row.parse(keys)) == {name for name, value in keys.items() if value is not None}
    assert row.parse_data(expected.data) == data


@cases("responses")
def test_responses(vector: dict[str, Any]) -> None:
    wire = bytes.fromhex(vector["hex"])
    seq, code, keys, data = vector["value"]
    for pieces in ways(wire):
        client = Connection(Role.CLIENT)
        client._seq = seq - 1 if seq else 0
        client.send_request("exec_next", {"STREAM": 1})
        event = first_event(client, pieces)
        last = code != codes.EXEC_SUCCESS or "IS_SPECIAL" in keys
        assert event == Response(seq, code, keys, data, last=last)
    assert frames.frame(codec.encode(vector["value"])) == wire
    row = codes.BY_NUMBER.get(code)
    assert ("DETAIL" in keys) == (row is None or row.refuses)


@cases("refused")
def test_refused(vector: dict[str, Any]) -> None:
    wire = bytes.fromhex(vector["hex"])
    answer = vector["answer"]
    for pieces in ways(wire):
        server = Connection(Role.SERVER)
        if vector.get("authenticated"):
            server.authenticate()
        for seq in vector.get("in_flight", []):
            server.receive(frames.frame(codec.encode([seq, "inf_hello", {}, None])))
            assert isinstance(server.next_event(), Request)
        event = first_event(server, pieces)
        assert isinstance(event, Refusal)
        assert (event.seq, event.code, event.close) == (
            answer["seq"],
            answer["code"],
            answer["closes"],
        )
        assert (server.state is State.CLOSED) == answer["closes"]


def test_junk_behind_a_frame_does_not_pass() -> None:
    """What stands behind a good frame is judged by itself."""
    good = bytes.fromhex(VECTORS["requests"][0]["hex"])
    server = Connection(Role.SERVER)
    server.receive(good + JUNK["no value"])
    assert isinstance(server.next_event(), Request)
    assert isinstance(server.next_event(), Refusal)
    client = Connection(Role.CLIENT)
    client.send_request("inf_hello", {})
    client.receive(bytes.fromhex(VECTORS["responses"][0]["hex"]) + JUNK["no value"])
    assert isinstance(client.next_event(), Response)
    with pytest.raises(ProtocolError):
        client.next_event()


def test_the_vectors_reach_every_refusal_of_the_codec() -> None:
    answers = {(v["answer"]["code"], v["answer"]["closes"]) for v in VECTORS["refused"]}
    assert answers == {(1021, True), (1021, False), (1016, True)}
    names = [v["name"] for kind in ("requests", "responses", "refused") for v in VECTORS[kind]]
    assert len(names) == len(set(names))
