"""A streaming HTTP client as small as can be: raw bytes in, server-sent events out.

One request a connection. The parsers are pure: `Body` takes the bytes of an HTTP/1.1 response and
gives those of its body (chunked, counted, or up to the connection's end), `Events` takes those
and gives the data of each event. Only what the two servers of the comparison send is understood.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from time import perf_counter
from typing import Any, cast


class HttpError(Exception):
    """The server refused, or said something that is no answer; one line for people."""


class Body:
    """One response. `status` is None until its head is complete."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.over = False
        self._data = bytearray()
        self._chunked = False
        self._left: int | None = None
        """Bytes to come of the body, or of this chunk with its line end; None: unknown."""

    def feed(self, data: bytes) -> bytes:
        """The bytes of the body in what came. Raises HttpError."""
        self._data += data
        if self.status is None and not self._head():
            return b""
        if not self._chunked:
            taken = bytes(self._data)
            self._data.clear()
            if self._left is not None:
                self._left -= len(taken)
                self.over = self._left <= 0
            return taken
        found = bytearray()
        while self._chunk(found):
            pass
        return bytes(found)

    def _head(self) -> bool:
        head, end, rest = bytes(self._data).partition(b"\r\n\r\n")
        if not end:
            return False
        first, *lines = head.decode("latin-1").split("\r\n")
        words = first.split()
        if len(words) < 2 or not words[0].startswith("HTTP/") or not words[1].isdigit():
            raise HttpError(f"no HTTP: {first[:80]}")
        fields = {name.strip().lower(): value.strip().lower()
                  for name, _, value in (line.partition(":") for line in lines)}  # fmt: skip
        self.status = int(words[1])
        self._chunked = fields.get("transfer-encoding") == "chunked"
        if not self._chunked and "content-length" in fields:
            self._left = int(fields["content-length"])
            self.over = self._left == 0
        self._data[:] = rest
        return True

    def _chunk(self, found: bytearray) -> bool:
        """Take one chunk, or a part of one; whether there may be more."""
        if self.over:
            return False
        if self._left is None:
            line, end, rest = self._data.partition(b"\r\n")
            if not end:
                return False
            size = int(line.partition(b";")[0], 16)
            self._data = rest
            self.over = size == 0
            self._left = size + 2
            return not self.over
        taken = self._data[: self._left]
        # The last two bytes of a chunk are its line end, of which a part may come alone.
        found += taken[: max(0, self._left - 2)]
        del self._data[: len(taken)]
        self._left -= len(taken)
        if self._left:
            return False
        self._left = None
        return True


class Events:
    """Server-sent events: what stands behind `data:`, event by event."""

    def __init__(self) -> None:
        self._data = b""

    def feed(self, data: bytes) -> list[str]:
        """The data of the events that are complete now; lines of one event are joined."""
        self._data += data.replace(b"\r", b"")
        *events, self._data = self._data.split(b"\n\n")
        found = []
        for event in events:
            lines = [
                line[5:].removeprefix(b" ")
                for line in event.split(b"\n")
                if line.startswith(b"data:")
            ]
            if lines:
                found.append(b"\n".join(lines).decode())
        return found


class Exchange(asyncio.Protocol):
    """One request and its response, on a connection of its own."""

    def __init__(self, told: Callable[[float, str], None] | None) -> None:
        """`told` gets every event and when it came; None: the body is no stream of events."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.plain = b""
        """The body, unless it is a stream of events."""
        self._told = told
        self._body = Body()
        self._events = Events()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio's."""
        # uvloop's transports are not of asyncio's class.
        self._transport = cast(asyncio.Transport, transport)

    def send(self, path: str, request: dict[str, Any] | None) -> None:
        """Send the request: POST with a body, GET without one."""
        assert self._transport is not None
        body = b"" if request is None else json.dumps(request).encode()
        head = (
            f"{'GET' if request is None else 'POST'} {path} HTTP/1.1\r\nHost: localhost\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n"
            "Connection: close\r\n\r\n"
        )
        self._transport.write(head.encode() + body)

    def data_received(self, data: bytes) -> None:
        """asyncio's."""
        now = perf_counter()
        try:
            part = self._body.feed(data)
            if self._told is None or self._body.status != 200:
                self.plain += part
            else:
                for event in self._events.feed(part):
                    self._told(now, event)
        except (HttpError, ValueError) as error:
            self._end(HttpError(str(error)))
        if self._body.over:
            self._end(None)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio's."""
        self._end(error)

    def close(self) -> None:
        """End the connection; a server that is still answering sees its client leave."""
        if self._transport is not None:
            self._transport.abort()

    def _end(self, error: Exception | None) -> None:
        if self.ended.done():
            return
        if error is None and self._body.status != 200:
            said = " ".join(self.plain.decode("utf-8", "replace").split())
            error = HttpError(f"status {self._body.status}: {said[:200]}")
        if error is None:
            self.ended.set_result(None)
        else:
            self.ended.set_exception(error)
            # Somebody who has left does not ask for it.
            self.ended.exception()
        self.close()


async def connect(port: int, told: Callable[[float, str], None] | None) -> Exchange:
    """A connection to a server on this machine. Raises OSError."""
    loop = asyncio.get_running_loop()
    _, exchange = await loop.create_connection(lambda: Exchange(told), "127.0.0.1", port)
    return exchange


async def get(port: int, path: str) -> Any:
    """The JSON of a path. Raises HttpError or OSError."""
    exchange = await connect(port, None)
    exchange.send(path, None)
    await exchange.ended
    return json.loads(exchange.plain)
