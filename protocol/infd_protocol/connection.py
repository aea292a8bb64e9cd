"""The sans-I/O connection: bytes in, events out; messages in, bytes out.

The daemon and both clients run on it. It knows frames, sequence numbers, limits and the legal
order of things; it has no socket, no clock and no thread.

States and rules:

    OPEN      frames are read. A frame that is no value -> Refusal(close), CLOSED.
    SKIPPING  (server) an over-long frame of an authenticated peer is read past -> Refusal, OPEN.
    CLOSED    nothing is read any more.

- `receive()` takes bytes, `next_event()` gives one event or None when more bytes are needed.
  Events are pulled one by one because the server may call `authenticate()` between two frames,
  which widens the limit before the next length is read.
- A request's seq is in flight until its last response is sent (server) or received (client).
  The server refuses a seq in flight, more than `max_in_flight` of them, and more bytes of them
  than `HELD_FACTOR` frames have at most.
- A streamed request (STREAM=1 on an operation whose row says `streaming`) has responses until
  one with IS_SPECIAL=true or one that refuses.
- seq 0 is the server's own: a `Response` with seq 0 tells the client why the connection ends.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from infd_protocol import codec, codes, frames
from infd_protocol.operations import resolve
from infd_protocol.values import UINT32_MAX

_HANDLED = 64 * 1024
"""Bytes that were handled and may still lie before those that were not."""


class Role(Enum):
    CLIENT = auto()
    SERVER = auto()


class State(Enum):
    OPEN = auto()
    SKIPPING = auto()
    CLOSED = auto()


@dataclass(slots=True)
class Request:
    """A request that arrived; its seq is in flight from now on."""

    seq: int
    op: str
    keys: dict[str, Any]
    data: str | bytes | None


@dataclass(slots=True)
class Response:
    """A response that arrived. `last`: no other follows with this seq."""

    seq: int
    code: int
    keys: dict[str, Any]
    data: str | None
    last: bool = True


@dataclass(slots=True)
class Refusal:
    """Bytes that were no acceptable request: `wire` is the answer to send, then maybe close."""

    seq: int
    code: int
    detail: str
    close: bool
    wire: bytes = b""


Event = Request | Response | Refusal


class ProtocolError(Exception):
    """The peer, or the caller, broke the protocol; on the client side the connection is over."""


class Connection:
    """One end of one connection. See the head of this module."""

    def __init__(
        self,
        role: Role,
        *,
        max_frame: int = frames.MAX_FRAME,
        max_in_flight: int = frames.MAX_IN_FLIGHT,
    ) -> None:
        self.role = role
        self.state = State.OPEN
        self.max_frame = max_frame
        self.max_in_flight = max_in_flight
        self.authenticated = role is Role.CLIENT
        self._buffer = bytearray()
        self._at = 0
        self._skip = 0
        self._skip_seq = 0
        self._seq = 0
        # At a client whether it is streamed, at the server its bytes.
        self._in_flight: dict[int, int] = {}
        self._held = 0
        self._limit = (
            max_frame * frames.SKIP_FACTOR
            if role is Role.CLIENT
            else min(frames.UNAUTHENTICATED_FRAME, max_frame)
        )

    # --- both ends -------------------------------------------------------------------------

    @property
    def in_flight(self) -> int:
        """Requests whose last response is still to come."""
        return len(self._in_flight)

    @property
    def mid_frame(self) -> bool:
        """Whether a frame is begun and not complete: the shell's clock runs."""
        return self.state is State.SKIPPING or len(self._buffer) > self._at

    @property
    def volume(self) -> int:
        """At the server: bytes of requests that are begun, wait to be handled, or are not
        answered yet."""
        return len(self._buffer) - self._at + self._held

    @property
    def unhandled(self) -> int:
        """Bytes that came and are no event yet."""
        return len(self._buffer) - self._at

    def receive(self, data: bytes | bytearray | memoryview) -> None:
        """Take bytes from the peer. Never raises; call `next_event()` until it gives None."""
        if self.state is State.CLOSED:
            return
        if self.state is State.SKIPPING:
            data = self._skip_over(data)
            if not data:
                return
        if self._at > _HANDLED:
            self._compact()
        self._buffer += data

    def close(self) -> None:
        """Read nothing any more."""
        self.state = State.CLOSED
        self._buffer.clear()
        self._at = 0

    def next_event(self) -> Event | None:
        """The next event, or None when more bytes are needed.

        Raises ProtocolError at a client whose server broke the protocol.
        """
        if self._skip_seq >= 0 and self._skip == 0 and self.state is State.SKIPPING:
            self.state = State.OPEN
            detail = f"A frame may have at most {self.max_frame} bytes."
            return self._refuse(self._skip_seq, codes.PKT_TOO_LARGE, detail, close=False)
        if self.state is not State.OPEN:
            return None
        start = self._at + frames.PREFIX_BYTES
        available = len(self._buffer)
        if available < start:
            self._compact()
            return None
        (length,) = frames.PREFIX.unpack_from(self._buffer, self._at)
        if length > self._limit:
            return self._too_long(length)
        end = start + length
        if available < end:
            self._compact()
            return None
        body = self._buffer[start:end]
        self._at = end
        if end == available:
            self._buffer.clear()
            self._at = 0
        return self._read_request(body) if self.role is Role.SERVER else self._read_response(body)

    def _compact(self) -> None:
        if self._at:
            del self._buffer[: self._at]
            self._at = 0

    # --- the server's end ------------------------------------------------------------------

    def authenticate(self) -> None:
        """The peer named a live session: longer frames from the next length on."""
        self.authenticated = True
        self._limit = self.max_frame

    def send_response(
        self, seq: int, code: int, keys: Mapping[str, Any], data: str | None = None,
        *, last: bool = True,
    ) -> bytes:  # fmt: skip
        """The bytes of a response. With `last`, its seq may be used again."""
        if last:
            self._held -= self._in_flight.pop(seq, 0)
        return frames.frame(codec.encode((seq, code, keys, data)))

    def refuse(self, seq: int, code: int, detail: str, **keys: Any) -> bytes:
        """The bytes of a refusal that answers no request in flight."""
        return frames.frame(codec.encode((seq, code, {"DETAIL": detail, **keys}, None)))

    def _refuse(self, seq: int, code: int, detail: str, *, close: bool, **keys: Any) -> Refusal:
        if close:
            self.close()
        return Refusal(seq, code, detail, close, self.refuse(seq, code, detail, **keys))

    def _read_request(self, body: bytearray) -> Event:
        try:
            most = codec.MAX_CONTAINERS if self.authenticated else codec.FIRST_CONTAINERS
            seq, op, keys, data = codec.decode_request(body, most_containers=most)
        except codec.Misshapen as error:
            detail = f"Not a request [seq, op, keys, data]: {error}."
            return self._refuse(error.seq, codes.PKT_INVALID_FORMAT, detail, close=False)
        except codec.Malformed as error:
            detail = f"Not a well-formed msgpack value: {error}."
            return self._refuse(0, codes.PKT_INVALID_FORMAT, detail, close=True)
        if seq in self._in_flight:
            detail = f"Sequence number {seq} is in flight on this connection already."
            return self._refuse(seq, codes.PKT_INVALID_FORMAT, detail, close=False)
        if len(self._in_flight) >= self.max_in_flight:
            detail = f"{self.max_in_flight} requests of this connection are unanswered; read first."
            return self._refuse(seq, codes.PKT_OVERLOADED, detail, close=False, RETRY_AFTER=1)
        if self._held and self._held + len(body) > self.max_frame * frames.HELD_FACTOR:
            detail = f"{self._held} bytes of this connection's requests are unanswered; read first."
            return self._refuse(seq, codes.PKT_OVERLOADED, detail, close=False, RETRY_AFTER=1)
        self._in_flight[seq] = len(body)
        self._held += len(body)
        return Request(seq, op, keys, data)

    def _too_long(self, length: int) -> Event | None:
        if self.role is Role.CLIENT:
            self.close()
            raise ProtocolError(f"the server sent a frame of {length} bytes")
        skippable = self.authenticated and length < self.max_frame * frames.SKIP_FACTOR
        if not skippable:
            detail = f"A frame may have at most {self._limit} bytes; this one has {length}."
            if foreign := frames.foreign(length):
                detail = f"This looks like {foreign}; infd speaks a protocol of its own."
            elif not self.authenticated:
                detail += " Frames are short until a session is named."
            return self._refuse(0, codes.PKT_TOO_LARGE, detail, close=True)
        start = self._at + frames.PREFIX_BYTES
        if len(self._buffer) - start < 6:  # the longest head that tells the seq
            self._compact()
            return None
        self._skip_seq = codec.peek_seq(bytes(self._buffer[start : start + 6]))
        if self._skip_seq in self._in_flight:
            self._skip_seq = 0
        self.state = State.SKIPPING
        self._skip = length
        rest = bytes(self._buffer[start:])
        self._buffer.clear()
        self._at = 0
        self._buffer += self._skip_over(rest)
        return self.next_event() if self._skip == 0 else None

    def _skip_over(self, data: bytes | bytearray | memoryview) -> bytes:
        taken = min(self._skip, len(data))
        self._skip -= taken
        return bytes(data[taken:])

    # --- the client's end ------------------------------------------------------------------

    def send_request(
        self, op: str, keys: Mapping[str, Any], data: str | None = None
    ) -> tuple[int, bytes]:
        """`(seq, bytes)` of a request. Raises ProtocolError when closed or too much is in flight,
        TypeError or ValueError for a value that msgpack cannot carry."""
        if self.state is not State.OPEN:
            raise ProtocolError("the connection is closed")
        if len(self._in_flight) >= self.max_in_flight:
            raise ProtocolError(f"{self.max_in_flight} requests are unanswered already")
        seq = self._seq % UINT32_MAX + 1
        while seq in self._in_flight:
            seq = seq % UINT32_MAX + 1
        body = codec.encode((seq, op, keys, data))
        if len(body) > self.max_frame:
            raise ValueError(f"the request has {len(body)} bytes; {self.max_frame} are allowed")
        self._seq = seq
        row = resolve(op)
        self._in_flight[seq] = bool(row and row.streaming and keys.get("STREAM"))
        return seq, frames.frame(body)

    def _read_response(self, body: bytearray) -> Event:
        try:
            seq, code, keys, data = codec.decode_response(body)
        except (codec.Malformed, codec.Misshapen) as error:
            self.close()
            raise ProtocolError(f"the server sent no response: {error}") from None
        if seq and seq not in self._in_flight:
            self.close()
            raise ProtocolError(f"the server answered {seq}, which was not asked")
        streamed = bool(seq and self._in_flight[seq])
        last = not streamed or code != codes.EXEC_SUCCESS or keys.get("IS_SPECIAL") is True
        if last:
            self._in_flight.pop(seq, None)
        text = data.decode("utf-8", "replace") if type(data) is bytes else data
        return Response(seq, code, keys, text, last)
