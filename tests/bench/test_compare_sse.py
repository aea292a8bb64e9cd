"""The comparison's HTTP client: what it makes of bytes, however they are cut."""

from __future__ import annotations

import asyncio
import json
from itertools import pairwise

import pytest
from bench.compare import sse
from bench.compare.sse import Body, Events, HttpError
from hypothesis import given
from hypothesis import strategies as st

CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: text/event-stream\r\n\r\n"
    b"7\r\ndata: a\r\n2;x=y\r\n\n\n\r\n0\r\n\r\n"
)
COUNTED = b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone"
STREAM = (
    b": ping\r\n\r\ndata: {\"a\": 1}\r\n\r\nevent: x\ndata:two\ndata: lines\n\n"
    b"data: \xc3\xa9\n\ndata: unfinished"
)  # fmt: skip
EVENTS = ['{"a": 1}', "two\nlines", "é"]


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The bytes in parts, cut at these places."""
    at = sorted({0, len(data), *(place % len(data) for place in places)})
    return [data[a:b] for a, b in pairwise(at)]


places = st.lists(st.integers(0, 1000), max_size=20)


@given(places)
def test_a_chunked_body_is_the_same_however_it_comes(places: list[int]) -> None:
    body = Body()
    found = b"".join(body.feed(part) for part in cut(CHUNKED, places))
    assert (body.status, found, body.over) == (200, b"data: a\n\n", True)


@given(places)
def test_a_counted_body_too(places: list[int]) -> None:
    body = Body()
    found = b"".join(body.feed(part) for part in cut(COUNTED, places))
    assert (body.status, found, body.over) == (404, b"none", True)


def test_a_body_without_a_length_goes_on_to_the_end() -> None:
    body = Body()
    assert body.feed(b"HTTP/1.0 200 OK\r\n\r\nab") == b"ab"
    assert body.feed(b"c") == b"c"
    assert not body.over


def test_an_empty_body_is_over_at_once() -> None:
    body = Body()
    assert body.feed(b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n") == b""
    assert (body.status, body.over) == (503, True)


@pytest.mark.parametrize("said", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 ok\r\n\r\n", b"\r\n\r\n"])
def test_what_is_no_http_is_refused(said: bytes) -> None:
    with pytest.raises(HttpError):
        Body().feed(said)


@given(places)
def test_events_are_the_same_however_they_come(places: list[int]) -> None:
    events = Events()
    found = [event for part in cut(STREAM, places) for event in events.feed(part)]
    assert found == EVENTS


async def _served(answer: bytes) -> tuple[asyncio.Server, int]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        for at in range(len(answer)):
            writer.write(answer[at : at + 1])
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, server.sockets[0].getsockname()[1]


async def test_a_stream_is_told_event_by_event() -> None:
    server, port = await _served(CHUNKED)
    told: list[tuple[float, str]] = []
    async with server:
        exchange = await sse.connect(port, lambda now, event: told.append((now, event)))
        exchange.send("/completion", {"prompt": "x"})
        await exchange.ended
    assert [event for _, event in told] == ["a"]


async def test_a_refusal_says_what_the_server_said() -> None:
    server, port = await _served(COUNTED)
    async with server:
        with pytest.raises(HttpError, match="404: none"):
            await sse.get(port, "/nothing")


async def test_a_server_that_leaves_is_no_answer() -> None:
    server, port = await _served(b"")
    async with server:
        with pytest.raises(HttpError):
            await sse.get(port, "/")


async def test_json_is_read() -> None:
    text = json.dumps({"status": "ok"}).encode()
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(text)
    server, port = await _served(head + text)
    async with server:
        assert await sse.get(port, "/health") == {"status": "ok"}
