"""The codec: what goes in comes out, and whatever is out of bounds is refused."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infd_protocol import codec
from infd_protocol.codec import Malformed, Misshapen

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | TEXT
    | st.binary(max_size=20)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(TEXT | st.integers(0, 9), inner, max_size=4)
    ),
    max_leaves=12,
)


def depth(value: Any) -> int:
    if isinstance(value, dict):
        return 1 + max(map(depth, value.values()), default=0)
    if isinstance(value, list):
        return 1 + max(map(depth, value), default=0)
    return 0


@given(VALUES)
def test_round_trip_within_the_depth(value: Any) -> None:
    packed = codec.encode(value)
    if depth(value) > codec.MAX_DEPTH:
        with pytest.raises(Malformed, match="8 deep"):
            codec.decode(packed)
    else:
        assert codec.decode(packed) == value


@given(VALUES, st.binary(min_size=1, max_size=8))
def test_nothing_may_follow_the_value(value: Any, junk: bytes) -> None:
    with pytest.raises(Malformed):
        codec.decode(codec.encode(value) + junk)


@given(VALUES, st.data())
def test_a_value_cut_short_is_malformed(value: Any, data: st.DataObject) -> None:
    packed = codec.encode(value)
    cut = data.draw(st.integers(0, len(packed) - 1))
    with pytest.raises(Malformed):
        codec.decode(packed[:cut])


@given(st.binary(max_size=200))
def test_any_bytes_decode_or_are_refused(body: bytes) -> None:
    """Nothing but the two exceptions, from any of the three ways in."""
    for read in (codec.decode, codec.decode_request, codec.decode_response):
        try:
            read(body)
        except (Malformed, Misshapen):
            continue


@pytest.mark.parametrize("open_one", [b"\x91", b"\x81\xa1k"], ids=["lists", "maps"])
def test_depth_is_bounded_at_eight(open_one: bytes) -> None:
    assert depth(codec.decode(open_one * 8 + b"\xc0")) == 8
    for deeper in (9, 511, 1024, 1025, 100_000):
        with pytest.raises(Malformed):
            codec.decode(open_one * deeper + b"\xc0")


def test_depth_counts_the_request_and_its_keys() -> None:
    def request(levels: int) -> bytes:
        value: Any = 1
        for _ in range(levels):
            value = [value]
        return codec.encode([1, "op", {"K": value}, None])

    codec.decode_request(request(6))
    with pytest.raises(Malformed):
        codec.decode_request(request(7))


def map_of(entries: int) -> bytes:
    body = b"".join(msgpack.packb(number) + b"\xc0" for number in range(entries))
    return b"\xde" + entries.to_bytes(2, "big") + body


def test_a_map_has_256_entries_at_most() -> None:
    assert len(codec.decode(map_of(256))) == 256
    for body in (map_of(257), b"\x91" + map_of(257)):
        with pytest.raises(Malformed, match="256 entries"):
            codec.decode(body)


def test_an_array_may_be_long() -> None:
    assert codec.decode(codec.encode(list(range(100_000)))) == list(range(100_000))


@pytest.mark.parametrize("one", [b"\x90", b"\x80"], ids=["arrays", "maps"])
def test_a_value_holds_so_many_containers(one: bytes) -> None:
    def nested(count: int) -> bytes:
        return b"\xdd" + (count - 1).to_bytes(4, "big") + one * (count - 1)

    assert len(codec.decode(nested(codec.MAX_CONTAINERS))) == codec.MAX_CONTAINERS - 1
    for count in (codec.MAX_CONTAINERS + 1, 4 * codec.MAX_CONTAINERS):
        with pytest.raises(Malformed, match="65536"):
            codec.decode(nested(count))


@pytest.mark.parametrize("length", [1, 63, 64, 65, 1000])
@pytest.mark.parametrize("inside", ["d6ff00000000", "91" * 8 + "c0"], ids=["timestamp", "deep"])
def test_long_arrays_are_looked_through(length: int, inside: str) -> None:
    head = b"\xdc" + length.to_bytes(2, "big")
    for at in {0, length // 2, length - 1}:
        body = head + b"\xc0" * at + bytes.fromhex(inside) + b"\xc0" * (length - at - 1)
        with pytest.raises(Malformed):
            codec.decode(body)
    assert codec.decode(head + b"\xc0" * length) == [None] * length


@pytest.mark.parametrize(
    "ext",
    [
        pytest.param("d40100", id="fixext1"),
        pytest.param("c70005", id="ext8-empty"),
        pytest.param("d6ff00000000", id="timestamp32"),
        pytest.param("d7ff0000000000000000", id="timestamp64"),
        pytest.param("c70cff" + "00" * 12, id="timestamp96"),
        pytest.param("d7ffffffffffffffffff", id="timestamp-out-of-range"),
    ],
)
def test_ext_types_are_refused_wherever_they_stand(ext: str) -> None:
    body = bytes.fromhex(ext)
    for place in (
        body,
        b"\x91" + body,
        b"\x81\xa1k" + body,
        b"\x81" + body + b"\xc0",
        b"\x91\x81" + body + b"\xc0",
        b"\x94\x01\xa1o\x81\xa1k" + body + b"\xc0",
        b"\x94\x01\xa1o\x80" + body,
    ):
        with pytest.raises(Malformed):
            codec.decode(place)


@pytest.mark.parametrize(
    "body",
    ["a1ff", "a2c328", "a3eda080", "a4f8888080", "d901c3", "91a1ff", "81a1ffc0"],
)
def test_invalid_utf8_is_refused(body: str) -> None:
    with pytest.raises(Malformed, match="UTF-8"):
        codec.decode(bytes.fromhex(body))


@pytest.mark.parametrize("body", ["8190c0", "8180c0", "81930102c001", "c1", ""])
def test_unhashable_keys_and_reserved_bytes_are_refused(body: str) -> None:
    with pytest.raises(Malformed):
        codec.decode(bytes.fromhex(body))


@pytest.mark.parametrize("head", ["dd", "df", "db", "c6", "c9"])
@pytest.mark.parametrize("claimed", ["ffffffff", "7fffffff", "00ffffff"])
def test_a_huge_claimed_length_allocates_nothing(head: str, claimed: str) -> None:
    """An allocation of what is claimed here would end the process."""
    for tail in (b"", b"\x00" * 64):
        with pytest.raises(Malformed):
            codec.decode(bytes.fromhex(head + claimed) + tail)


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**64, -(2**63) - 1, "\ud800"])
def test_what_cannot_be_encoded_leaves_the_codec_usable(value: Any) -> None:
    with pytest.raises((TypeError, ValueError, OverflowError)):
        codec.encode([1, "x", {"K": value}])
    assert codec.encode([1]) == b"\x91\x01"


@given(
    st.integers(1, 2**32 - 1),
    TEXT,
    st.dictionaries(TEXT, LEAVES, max_size=5),
    st.none() | TEXT | st.binary(max_size=20),
)
def test_requests_come_through(seq: int, op: str, keys: dict[str, Any], data: Any) -> None:
    assert codec.decode_request(codec.encode([seq, op, keys, data])) == (seq, op, keys, data)


@pytest.mark.parametrize(
    ("value", "seq"),
    [
        (None, 0),
        ({"seq": 1}, 0),
        ([], 0),
        ([7], 7),
        ([7, "op", {}], 7),
        ([7, "op", {}, None, None], 7),
        ([7, 1, {}, None], 7),
        ([7, None, {}, None], 7),
        ([7, b"op", {}, None], 7),
        ([7, "op", [], None], 7),
        ([7, "op", None, None], 7),
        ([7, "op", {1: 2}, None], 7),
        ([7, "op", {b"K": 2}, None], 7),
        ([7, "op", {}, 5], 7),
        ([7, "op", {}, []], 7),
        ([2**32 - 1, "op"], 2**32 - 1),
        ([0, "op", {}, None], 0),
        ([-1, "op", {}, None], 0),
        ([2**32, "op", {}, None], 0),
        ([True, "op", {}, None], 0),
        ([1.0, "op", {}, None], 0),
        (["1", "op", {}, None], 0),
    ],
)
def test_another_shape_than_a_request_keeps_its_seq(value: Any, seq: int) -> None:
    with pytest.raises(Misshapen) as caught:
        codec.decode_request(codec.encode(value))
    assert caught.value.seq == seq


@pytest.mark.parametrize("code", [-1, 65536, True, "2000", None, 2000.0])
def test_a_code_is_a_uint16(code: Any) -> None:
    with pytest.raises(Misshapen):
        codec.decode_response(codec.encode([1, code, {}, None]))
    assert codec.decode_response(codec.encode([0, 65535, {}, None]))[:2] == (0, 65535)


@given(st.integers(0, 2**32 - 1))
def test_the_seq_of_a_long_request_is_read_from_its_head(seq: int) -> None:
    body = codec.encode([seq, "exec_set_input", {}, "x" * 100])
    assert codec.peek_seq(body[:6]) == seq


@given(st.binary(max_size=8))
def test_a_head_that_tells_no_seq_gives_zero(head: bytes) -> None:
    seq = codec.peek_seq(head)
    assert codec.is_seq(seq)
    if head[:1] != b"\x94":
        assert seq == 0
