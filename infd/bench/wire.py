"""The bench's client: the commands' blocking one, which also sends ahead and reads streams.

It is not the library: `infd` never imports that, and what is measured is to be the daemon.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from infd import wire
from infd.wire import Address, Answer, WireError
from infd_protocol import codes
from infd_protocol.connection import Response
from infd_protocol.errors import error_for

_ACCEPTED = frozenset(row.number for row in codes.ROWS if not row.refuses)


@dataclass(frozen=True, slots=True)
class Reply:
    """One run as its reader saw it. Times in seconds on the clock of time.perf_counter."""

    text: str
    sent: float
    first: float
    last: float
    first_bytes: int
    """Bytes of text that came with the first piece."""
    finish: dict[str, Any]


class Wire(wire.Wire):
    """A connection with a session. A context manager."""

    def __init__(self, address: Address) -> None:
        """Raises WireError."""
        super().__init__(address)
        self._kept: dict[int, deque[Response]] = {}

    @property
    def stok(self) -> str:
        """The session's token, for a process that calls in the same session."""
        return self._stok or ""

    def call(self, operation: str, data: str | None = None, /, **keys: Any) -> Answer:
        """Send a request and wait for its answer. Raises InfdError or WireError."""
        response = self.receive(self.send(operation, data, **keys))
        return Answer(response.keys, response.data)

    def send(self, operation: str, data: str | None = None, /, **keys: Any) -> int:
        """Send a request; its sequence number."""
        if self._stok is not None:
            keys["STOK"] = self._stok
        seq, frame = self._protocol.send_request(operation, keys, data)
        self._socket.sendall(frame)
        return seq

    def receive(self, seq: int) -> Response:
        """The next response to this request; those of other requests are kept for later.

        Raises WireError, and the code's InfdError for a refusal.
        """
        kept = self._kept.get(seq)
        while not kept:
            event = self._protocol.next_event()
            if event is None:
                data = self._socket.recv(65536)
                if not data:
                    raise WireError(f"the daemon on {self.address} closed the connection")
                self._protocol.receive(data)
            elif isinstance(event, Response):
                if event.seq in (0, seq):
                    return _accepted(event)
                self._kept.setdefault(event.seq, deque()).append(event)
        response = kept.popleft()
        if not kept:
            del self._kept[seq]
        return _accepted(response)

    def context(self, model: str, ctxsize: int) -> int:
        """Make a context; its id."""
        return int(self.call("inf_create_context", MODEL=model, CTXSIZE=ctxsize).keys["CTXID"])

    def begin(self, ctxid: int, text: str, max_tokens: int) -> int:
        """Store a user message, execute it, and ask for the stream; the stream's number."""
        msgid = self.call("exec_set_input", text, CTXID=ctxid, ROLE="user").keys["MSGID"]
        executed = self.send(
            "exec_execute_input", CTXID=ctxid, MSGID=[msgid], MAX_TOKENS=max_tokens
        )
        reading = self.send("exec_next", CTXID=ctxid, STREAM=1)
        self.receive(executed)
        return reading

    def pieces(self, reading: int) -> Iterator[Response]:
        """Every answer to a streaming exec_next, the last included."""
        while True:
            answer = self.receive(reading)
            yield answer
            if answer.keys.get("IS_SPECIAL"):
                return

    def say(self, ctxid: int, text: str, max_tokens: int) -> Reply:
        """A user message and its reply, read with STREAM=1 to its end.

        `sent` is the time before the message is stored.
        """
        sent = time.perf_counter()
        pieces: list[str] = []
        first = last = sent
        finish: dict[str, Any] = {}
        for answer in self.pieces(self.begin(ctxid, text, max_tokens)):
            last = time.perf_counter()
            if answer.data:
                first = first if pieces else last
                pieces.append(answer.data)
            finish = answer.keys
        head = len(pieces[0].encode()) if pieces else 0
        return Reply("".join(pieces), sent, first, last, head, finish)


def _accepted(response: Response) -> Response:
    if response.code not in _ACCEPTED:
        raise error_for(response.code, response.keys)
    return response
