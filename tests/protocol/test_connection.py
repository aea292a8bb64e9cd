"""The sans-I/O connection, case by case: every refusal, the limits, the seqs, the order."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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

SMALL = 300
"""max_frame in these tests: a frame is read past below four times that."""


def server(**limits: int) -> Connection:
    return Connection(Role.SERVER, **({"max_frame": SMALL} | limits))


def request(seq: Any = 1, op: Any = "inf_hello", keys: Any = None, data: Any = None) -> bytes:
    return frames.frame(codec.encode([seq, op, {} if keys is None else keys, data]))


def events(connection: Connection, data: bytes = b"") -> list[Event]:
    connection.receive(data)
    found = []
    while (event := connection.next_event()) is not None:
        found.append(event)
    return found


def answer_of(refusal: Refusal) -> Response:
    """The refusal's bytes as a client reads them."""
    seq, code, keys, data = codec.decode_response(refusal.wire[frames.PREFIX_BYTES :])
    assert len(refusal.wire) == frames.PREFIX.unpack(refusal.wire[:4])[0] + 4
    assert (seq, code, data) == (refusal.seq, refusal.code, None)
    assert keys["DETAIL"] == refusal.detail
    assert refusal.detail.endswith(".")
    return Response(seq, code, keys, None)


def only_refusal(connection: Connection, data: bytes) -> Refusal:
    (event,) = events(connection, data)
    assert isinstance(event, Refusal)
    answer_of(event)
    assert event.close == (connection.state is State.CLOSED)
    return event


@pytest.mark.parametrize(
    ("sent", "name"),
    [
        (b"GET / HTTP/1.1\r\nHost: box:4633\r\n\r\n", "HTTP"),
        (b"POST /v1/chat/completions HTTP/1.1\r\n", "HTTP"),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "TLS"),
        (b"SSH-2.0-OpenSSH_9.2p1\r\n", ""),
    ],
)
def test_what_speaks_another_protocol_is_told_so(sent: bytes, name: str) -> None:
    refusal = only_refusal(server(), sent)
    assert (refusal.seq, refusal.code, refusal.close) == (0, codes.PKT_TOO_LARGE, True)
    assert ("looks like" in refusal.detail) == bool(name)
    assert f"like {name}; infd speaks a protocol of its own." in refusal.detail or not name


# --- the server's end ------------------------------------------------------------------------


def test_a_request_comes_out_as_it_was_sent() -> None:
    connection = server()
    (event,) = events(connection, request(5, "inf_hello", {"A": [1]}, "text"))
    assert event == Request(5, "inf_hello", {"A": [1]}, "text")
    assert connection.in_flight == 1


@pytest.mark.parametrize("body", [b"", b"\xc1", b"\x94\x01", b"\xd6\xff\0\0\0\0", b"\xa1\xff"])
def test_what_is_no_value_ends_the_connection(body: bytes) -> None:
    connection = server()
    refusal = only_refusal(connection, frames.frame(body) + request())
    assert (refusal.seq, refusal.code) == (0, codes.PKT_INVALID_FORMAT)
    assert events(connection, request(2)) == []


@pytest.mark.parametrize(
    ("value", "seq"),
    [([9, "op"], 9), ([9, 5, {}, None], 9), ("hi", 0), ([0, "inf_hello", {}, None], 0)],
)
def test_another_shape_is_answered_and_the_connection_goes_on(value: Any, seq: int) -> None:
    connection = server()
    refusal = only_refusal(connection, frames.frame(codec.encode(value)))
    assert (refusal.seq, refusal.code, refusal.close) == (seq, codes.PKT_INVALID_FORMAT, False)
    assert connection.in_flight == 0
    assert events(connection, request(9)) == [Request(9, "inf_hello", {}, None)]


def test_a_seq_in_flight_is_refused_until_its_last_response() -> None:
    connection = server()
    events(connection, request(3))
    assert only_refusal(connection, request(3)).code == codes.PKT_INVALID_FORMAT
    assert connection.in_flight == 1
    connection.send_response(3, 3000, {}, "piece", last=False)
    assert only_refusal(connection, request(3)).seq == 3
    connection.send_response(3, 3000, {"IS_SPECIAL": True}, "")
    assert connection.in_flight == 0
    assert events(connection, request(3)) == [Request(3, "inf_hello", {}, None)]


def test_too_many_in_flight_are_refused_and_none_is_forgotten() -> None:
    connection = server(max_in_flight=3)
    found = events(connection, b"".join(request(seq) for seq in range(1, 6)))
    assert [type(event) for event in found] == [Request] * 3 + [Refusal] * 2
    for refusal in found[3:]:
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.close) == (codes.PKT_OVERLOADED, False)
        assert answer_of(refusal).keys["RETRY_AFTER"] >= 1
    connection.send_response(2, 2000, {})
    assert events(connection, request(5)) == [Request(5, "inf_hello", {}, None)]


def test_too_many_bytes_in_flight_are_refused_but_one_request_never_is() -> None:
    connection = Connection(Role.SERVER, max_frame=1000)
    connection.authenticate()
    longest = [request(seq, data="x" * 900) for seq in range(1, 8)]
    found = events(connection, b"".join(longest))
    assert [type(event) for event in found] == [Request] * 4 + [Refusal] * 3
    for refusal in found[4:]:
        assert isinstance(refusal, Refusal)
        assert (refusal.code, refusal.close) == (codes.PKT_OVERLOADED, False)
        assert "unanswered" in refusal.detail
    connection.send_response(2, 2000, {})
    assert [type(event) for event in events(connection, longest[4] + longest[5])] == [
        Request, Refusal,
    ]  # fmt: skip
    for seq in (1, 3, 4, 5):
        connection.send_response(seq, 2000, {})
    assert [type(event) for event in events(connection, longest[6])] == [Request]


def test_the_limit_is_short_until_a_session_is_named() -> None:
    long = request(1, data="x" * frames.UNAUTHENTICATED_FRAME)
    connection = Connection(Role.SERVER)
    refusal = only_refusal(connection, long)
    assert (refusal.seq, refusal.code) == (0, codes.PKT_TOO_LARGE)
    assert str(frames.UNAUTHENTICATED_FRAME) in refusal.detail
    connection = Connection(Role.SERVER)
    connection.authenticate()
    (event,) = events(connection, long)
    assert isinstance(event, Request)


def test_the_short_limit_is_exact() -> None:
    limit = frames.UNAUTHENTICATED_FRAME
    overhead = len(request(1, data="x" * 60_000)) - 60_000 - frames.PREFIX_BYTES
    fits = request(1, data="x" * (limit - overhead))
    assert len(fits) == frames.PREFIX_BYTES + limit
    assert isinstance(events(Connection(Role.SERVER), fits)[0], Request)
    over = frames.PREFIX.pack(limit + 1)
    assert only_refusal(Connection(Role.SERVER), over).code == codes.PKT_TOO_LARGE


def test_authenticate_binds_before_the_next_length_is_read() -> None:
    """Both frames are in one read: the first names the session, the second is long."""
    connection = Connection(Role.SERVER)
    connection.receive(request(1) + request(2, data="x" * 100_000))
    assert connection.next_event() == Request(1, "inf_hello", {}, None)
    connection.authenticate()
    second = connection.next_event()
    assert isinstance(second, Request)
    assert len(second.data or "") == 100_000


@pytest.mark.parametrize("length", [SMALL + 1, 2 * SMALL, 4 * SMALL - 1])
def test_a_long_frame_of_a_session_is_read_past(length: int) -> None:
    connection = server()
    connection.authenticate()
    head = b"\x94\xcd\x01\x02"
    frame = frames.frame(head + b"\0" * (length - len(head)))
    assert events(connection, frame[:-1]) == []
    assert connection.state is State.SKIPPING
    assert connection.mid_frame
    refusal = only_refusal(connection, frame[-1:])
    assert (refusal.seq, refusal.code, refusal.close) == (0x102, codes.PKT_TOO_LARGE, False)
    assert not connection.mid_frame
    assert events(connection, request(4)) == [Request(4, "inf_hello", {}, None)]


def test_a_frame_four_times_too_long_ends_the_connection() -> None:
    connection = server()
    connection.authenticate()
    refusal = only_refusal(connection, frames.PREFIX.pack(4 * SMALL))
    assert (refusal.seq, refusal.code, refusal.close) == (0, codes.PKT_TOO_LARGE, True)


def test_a_long_frame_with_a_seq_in_flight_is_answered_as_the_servers() -> None:
    """Under the seq it would pass for the answer to the request in flight."""
    connection = server()
    connection.authenticate()
    events(connection, request(7))
    long = frames.frame(codec.encode([7, "exec_set_input", {}, "x" * 2 * SMALL]))
    assert only_refusal(connection, long).seq == 0
    assert connection.in_flight == 1


def test_a_closed_connection_reads_nothing() -> None:
    connection = server()
    connection.receive(request()[:5])
    connection.close()
    assert events(connection, request()) == []
    assert not connection.mid_frame


@given(st.binary(max_size=400), st.booleans())
def test_random_bytes_are_answered_or_waited_for(junk: bytes, authenticated: bool) -> None:
    connection = server()
    if authenticated:
        connection.authenticate()
    for event in events(connection, junk):
        if isinstance(event, Refusal):
            answer_of(event)
            if event.close:
                assert event.seq == 0
                assert connection.state is State.CLOSED
    assert connection.in_flight <= connection.max_in_flight


# --- any cutting of the bytes gives the same events ------------------------------------------

FRAMES = st.one_of(
    st.builds(
        request,
        st.integers(0, 9) | st.integers(250, 70_000),
        st.sampled_from(["inf_hello", "inf_get_context_ids", "what"]),
        st.dictionaries(st.text("AB", max_size=2), st.integers(-1, 300), max_size=2),
        st.none() | st.text("xyz", max_size=30),
    ),
    st.builds(lambda seq: frames.frame(codec.encode([seq, 7])), st.integers(0, 300)),
    st.builds(
        lambda seq, size: request(seq, "exec_set_input", {}, "x" * size),
        st.integers(1, 70_000),
        st.integers(SMALL, 3 * SMALL),
    ),
    st.sampled_from([frames.frame(b"\xc1"), frames.PREFIX.pack(5 * SMALL), frames.frame(b"")]),
)


def played(stream: bytes, cuts: list[int]) -> list[Event]:
    """What a server sees that names a session on inf_get_context_ids and answers every third."""
    connection = server(max_in_flight=6)
    found: list[Event] = []
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    for start, end in itertools.pairwise(edges):
        connection.receive(stream[start:end])
        while (event := connection.next_event()) is not None:
            found.append(event)
            if isinstance(event, Request):
                if event.op == "inf_get_context_ids":
                    connection.authenticate()
                if event.seq % 3 == 0:
                    connection.send_response(event.seq, 2000, {})
    return found


@given(st.lists(FRAMES, max_size=12), st.lists(st.integers(0, 5000), max_size=12))
def test_any_cutting_gives_the_same_events(parts: list[bytes], cuts: list[int]) -> None:
    stream = b"".join(parts)
    assert played(stream, cuts) == played(stream, [])


@given(st.lists(FRAMES, max_size=5))
def test_byte_by_byte_gives_the_same_events(parts: list[bytes]) -> None:
    stream = b"".join(parts)
    assert played(stream, list(range(len(stream)))) == played(stream, [])


# --- the client's end ------------------------------------------------------------------------


def response(seq: int, code: int, keys: Any = None, data: Any = None) -> bytes:
    return frames.frame(codec.encode([seq, code, keys or {}, data]))


def test_seqs_count_from_one_and_skip_those_in_flight() -> None:
    client = Connection(Role.CLIENT)
    assert [client.send_request("inf_hello", {})[0] for _ in range(3)] == [1, 2, 3]
    client._seq = 2**32 - 2
    assert client.send_request("inf_hello", {})[0] == 2**32 - 1
    assert client.send_request("inf_hello", {})[0] == 4


def test_a_response_frees_its_seq() -> None:
    client = Connection(Role.CLIENT)
    client.send_request("inf_hello", {})
    (event,) = events(client, response(1, 2000, {"NEW_IN_A_LATER_VERSION": 1}))
    assert event == Response(1, 2000, {"NEW_IN_A_LATER_VERSION": 1}, None)
    with pytest.raises(ProtocolError, match="not asked"):
        events(client, response(1, 2000))
    with pytest.raises(ProtocolError, match="closed"):
        client.send_request("inf_hello", {})


@pytest.mark.parametrize(
    ("end", "keys"),
    [(3000, {"IS_SPECIAL": True}), (2013, {}), (2002, {}), (1022, {}), (2999, {})],
)
def test_a_streamed_request_has_responses_until_its_last(end: int, keys: Any) -> None:
    client = Connection(Role.CLIENT)
    client.send_request("exec_next", {"STREAM": 1})
    found = events(
        client,
        response(1, 3000, {"OFFSET": 0}, "a")
        + response(1, 3000, {"IS_SPECIAL": False}, "b")
        + response(1, end, keys, ""),
    )
    assert [dataclasses.replace(e).last for e in found if isinstance(e, Response)] == [
        False,
        False,
        True,
    ]
    assert client.in_flight == 0


@pytest.mark.parametrize("keys", [{}, {"STREAM": 0}, {"STREAM": False}, {"STREAM": None}])
def test_without_stream_one_response_is_the_last(keys: dict[str, Any]) -> None:
    client = Connection(Role.CLIENT)
    client.send_request("exec_next", keys)
    (event,) = events(client, response(1, 3000, {"OFFSET": 0}, "a"))
    assert isinstance(event, Response)
    assert event.last


def test_stream_means_nothing_to_other_operations() -> None:
    client = Connection(Role.CLIENT)
    client.send_request("inf_hello", {"STREAM": 1})
    client.send_request("no_such_operation", {"STREAM": 1})
    found = events(client, response(1, 2016, {}) + response(2, 1002, {}))
    assert [event.last for event in found if isinstance(event, Response)] == [True, True]


def test_the_servers_own_seq_reaches_the_client() -> None:
    client = Connection(Role.CLIENT)
    client.send_request("inf_hello", {})
    (event,) = events(client, response(0, 1007, {"DETAIL": "Too slow."}))
    assert event == Response(0, 1007, {"DETAIL": "Too slow."}, None)
    assert client.in_flight == 1


@pytest.mark.parametrize(
    "wire",
    [
        frames.frame(b"\xc1"),
        frames.frame(codec.encode([1, "2000", {}, None])),
        frames.frame(codec.encode("hello")),
        response(2, 2000),
        frames.PREFIX.pack(4 * SMALL + 1),
    ],
)
def test_a_server_that_breaks_the_protocol_ends_it(wire: bytes) -> None:
    client = Connection(Role.CLIENT, max_frame=SMALL)
    client.send_request("inf_hello", {})
    with pytest.raises(ProtocolError):
        events(client, wire)
    assert client.state is State.CLOSED


def test_a_client_keeps_to_the_limits_itself() -> None:
    client = Connection(Role.CLIENT, max_frame=SMALL, max_in_flight=2)
    with pytest.raises(ValueError, match="300 are allowed"):
        client.send_request("exec_set_input", {}, "x" * SMALL)
    with pytest.raises((TypeError, ValueError)):
        client.send_request("inf_hello", {"K": object()})
    assert client.in_flight == 0
    client.send_request("inf_hello", {})
    client.send_request("inf_hello", {})
    with pytest.raises(ProtocolError, match="2 requests"):
        client.send_request("inf_hello", {})
    assert client.in_flight == 2
