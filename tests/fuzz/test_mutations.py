"""Golden frames mutated tens of thousands of times: both ends take them or refuse them, always in
the ways that the protocol knows, and however the bytes are cut.

`python tests/fuzz/test_mutations.py SECONDS [SEED]` goes on for longer.
"""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

import pytest

from infd_protocol import codec, codes, frames
from infd_protocol.connection import Connection, Event, ProtocolError, Refusal, Request, Role
from infd_protocol.errors import InfInvalidParams
from infd_protocol.operations import OPERATIONS, resolve

VECTORS = json.loads(
    (Path(__file__).parents[2] / "protocol" / "vectors.json").read_text(encoding="utf-8")
)
REQUESTS = [bytes.fromhex(v["hex"]) for v in VECTORS["requests"] + VECTORS["refused"]]
RESPONSES = [bytes.fromhex(v["hex"]) for v in VECTORS["responses"]]
INTERESTING = bytes([0, 1, 0x7F, 0x80, 0x8F, 0x90, 0x94, 0xA0, 0xBF, *range(0xC0, 0xE0), 0xFF])


def mutated(seeds: list[bytes], chance: random.Random) -> bytes:
    """One to four frames, some bytes of them changed, inserted, dropped, repeated."""
    data = bytearray(b"".join(chance.choices(seeds, k=chance.randint(1, 4))))
    for _ in range(chance.choice((0, 1, 1, 2, 5, 20))):
        at = chance.randrange(len(data)) if data else 0
        way = chance.randrange(5)
        if way == 0 and data:
            data[at] = chance.choice(INTERESTING)
        elif way == 1 and data:
            data[at] ^= 1 << chance.randrange(8)
        elif way == 2:
            data.insert(at, chance.randrange(256))
        elif way == 3:
            del data[at : at + chance.randint(1, 8)]
        else:
            data[at:at] = data[at : at + chance.randint(1, 40)]
    if chance.random() < 0.5 and len(data) > 4:
        # With the length put right, the body is what is read.
        data[:4] = frames.PREFIX.pack(len(data) - 4)
    return bytes(data)


def served(data: bytes, cuts: list[int]) -> list[Event]:
    """What a server makes of the bytes; requests are checked as dispatch does."""
    server = Connection(Role.SERVER, max_frame=4096, max_in_flight=3)
    found: list[Event] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        server.receive(data[start:end])
        while (event := server.next_event()) is not None:
            found.append(event)
            if isinstance(event, Refusal):
                codec.decode_response(event.wire[frames.PREFIX_BYTES :])
                continue
            assert isinstance(event, Request)
            row = resolve(event.op)
            if row is OPERATIONS["inf_access_request"]:
                server.authenticate()
            if row is not None:
                try:
                    row.parse(event.keys)
                    row.parse_data(event.data)
                except InfInvalidParams as error:
                    codec.encode([event.seq, error.code, {"DETAIL": error.detail, **error.keys}])
            if event.seq % 2:
                server.send_response(event.seq, codes.INF_SUCCESS, {})
    assert server.in_flight <= 3
    return found


def read_by_a_client(data: bytes) -> None:
    client = Connection(Role.CLIENT, max_frame=4096)
    for _ in range(9):
        client.send_request("exec_next", {"STREAM": 1})
    client.receive(data)
    try:
        while client.next_event() is not None:
            pass
    except ProtocolError:
        assert client.next_event() is None


def try_one(chance: random.Random) -> None:
    data = mutated(REQUESTS, chance)
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randint(1, 6)))
    assert served(data, cuts) == served(data, [])
    read_by_a_client(mutated(RESPONSES, chance))


@pytest.mark.parametrize("seed", range(8))
def test_mutated_frames(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(1500):
        try_one(chance)


if __name__ == "__main__":
    end = time.monotonic() + float(sys.argv[1])
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else random.randrange(2**32)
    print(f"seed {seed}")
    going = random.Random(seed)
    while time.monotonic() < end:
        try_one(going)
