"""Whatever bytes come, from a stranger or in a session: an answer or the end, and nobody else
notices."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.daemon import Daemon
from support.raw_client import RawClient, Wire

from infd_protocol import codec, frames
from infd_protocol.operations import OPERATIONS


@pytest.fixture(scope="module")
def bystander(shared_daemon: Daemon) -> Iterator[RawClient]:
    """Somebody else, who must not notice."""
    with RawClient(shared_daemon) as client:
        yield client.login("admin", shared_daemon.admin)
        client.ok("inf_destroy_session")


def survives(daemon: Daemon, data: bytes, bystander: RawClient, stok: str | None = None) -> None:
    """Send it, hang up our half, read to the end: only well-formed refusals or answers come."""
    with Wire(daemon) as wire:
        if stok is not None:
            wire.request(4_000_000_000, "inf_get_context_ids", {"STOK": stok})
        try:
            wire.send(data)
            wire.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return
        while (answer := wire.read()) is not None:
            assert answer[1] >= 1000
    bystander.ok("inf_get_context_ids")


@settings(max_examples=150)
@given(data=st.binary(max_size=600))
def test_random_bytes(shared_daemon: Daemon, bystander: RawClient, data: bytes) -> None:
    survives(shared_daemon, data, bystander)


@settings(max_examples=150)
@given(body=st.binary(max_size=300), inside=st.booleans())
def test_random_frames(
    shared_daemon: Daemon, bystander: RawClient, body: bytes, inside: bool
) -> None:
    survives(shared_daemon, frames.frame(body), bystander, bystander.stok if inside else None)


ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(max_size=8)
    | st.binary(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner,
                                                                max_size=3),
    max_leaves=8,
)  # fmt: skip
NAMES = sorted({key.name for row in OPERATIONS.values() for key in row.takes} - {"STOK"})
CAREFUL = {"inf_access_request", "inf_destroy_session", "inf_end_sessions", "inf_unload_model"}
"""Not with a session that others use, nor with what slows the logins of other tests down."""


@settings(max_examples=300)
@given(
    op=st.sampled_from(sorted(set(OPERATIONS) - CAREFUL)) | st.text(max_size=9),
    keys=st.dictionaries(st.sampled_from(NAMES) | st.text(max_size=4), ANY, max_size=5),
    data=ANY,
)
def test_requests_of_any_content(
    shared_daemon: Daemon, bystander: RawClient, op: str, keys: dict[str, object], data: object
) -> None:
    keys = {"STOK": bystander.stok, **keys}
    wire = frames.frame(codec.encode([1, op, keys, data]))
    survives(shared_daemon, wire, bystander)


def test_a_good_frame_cut_anywhere(shared_daemon: Daemon, bystander: RawClient) -> None:
    body = codec.encode([1, "inf_get_context_ids", {"STOK": bystander.stok}, None])
    whole = frames.frame(body)
    for cut in range(len(whole)):
        survives(shared_daemon, whole[:cut], bystander)


def test_a_good_frame_with_any_byte_changed(shared_daemon: Daemon, bystander: RawClient) -> None:
    chance = random.Random(4633)
    body = codec.encode([1, "inf_get_context_status", {"STOK": bystander.stok, "CTXID": 1}, None])
    for at in range(len(body)):
        changed = bytearray(body)
        changed[at] ^= chance.randrange(1, 256)
        survives(shared_daemon, frames.frame(bytes(changed)), bystander)


@pytest.mark.parametrize("claimed", [2**16 + 1, 2**24 + 1, 2**31, 2**32 - 1])
@pytest.mark.parametrize("inside", [False, True])
def test_huge_claimed_lengths(
    shared_daemon: Daemon, bystander: RawClient, claimed: int, inside: bool
) -> None:
    data = struct.pack(">I", claimed) + b"\x94" * 1000
    survives(shared_daemon, data, bystander, bystander.stok if inside else None)


@pytest.mark.parametrize("head", ["dd", "df", "db", "c6"])
def test_huge_claimed_containers(shared_daemon: Daemon, bystander: RawClient, head: str) -> None:
    body = bytes.fromhex(f"94{head}ffffffff") + b"\0" * 1000
    survives(shared_daemon, frames.frame(body), bystander, bystander.stok)


def test_deep_nesting(shared_daemon: Daemon, bystander: RawClient) -> None:
    for deep in (9, 500, 5000, 60_000):
        survives(shared_daemon, frames.frame(b"\x91" * deep + b"\xc0"), bystander)
