"""Blocking clients for tests, on bare sockets: one that keeps to the protocol, one that need not.

`RawClient` runs on `Connection(Role.CLIENT)`. `Wire` sends any bytes and reads frames.
"""

from __future__ import annotations

import socket
from collections import defaultdict, deque
from collections.abc import Iterator
from typing import Any

from support import recorder
from support.daemon import PATIENCE, Daemon

from infd_protocol import codec, frames
from infd_protocol.connection import Connection, Response, Role
from infd_protocol.operations import resolve

Answer = tuple[int, int, dict[str, Any], Any]


class RawClient:
    """One connection. `stok` goes along with every call once there is one."""

    def __init__(self, daemon: Daemon, stok: str | None = None) -> None:
        self.stok = stok
        self.address = (daemon.host, daemon.port)
        self.socket = socket.create_connection(self.address, PATIENCE)
        self.connection = Connection(Role.CLIENT)
        self.order: list[int] = []
        self._ready: dict[int, deque[Response]] = defaultdict(deque)

    def __enter__(self) -> RawClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.socket.close()

    def send(self, op: str, data: str | None = None, /, **keys: Any) -> int:
        """Send a request; its seq. `STOK=None` leaves it out."""
        row = resolve(op)
        if self.stok is not None and (row is None or row.session):
            keys = {"STOK": self.stok} | keys
        keys = {name: value for name, value in keys.items() if value is not None}
        seq, wire = self.connection.send_request(op, keys, data)
        self.socket.sendall(wire)
        return seq

    def read(self, seq: int) -> Response:
        """The next response with this seq; `order` has the seqs as they came."""
        while not self._ready[seq]:
            event = self.connection.next_event()
            if isinstance(event, Response):
                self.order.append(event.seq)
                self._ready[event.seq].append(event)
                if event.seq == 0 and seq:
                    raise AssertionError(f"the daemon said {event.code} {event.keys}")
                continue
            chunk = self.socket.recv(65536)
            if not chunk:
                raise ConnectionError("the daemon closed the connection")
            self.connection.receive(chunk)
        return self._ready[seq].popleft()

    def call(self, op: str, data: str | None = None, /, **keys: Any) -> Response:
        return self.read(self.send(op, data, **keys))

    def ok(self, op: str, data: str | None = None, /, **keys: Any) -> Response:
        """A call that must succeed."""
        response = self.call(op, data, **keys)
        row = resolve(op)
        assert row is not None
        assert response.code in row.success, f"{op}: {response.code} {response.keys}"
        return response

    def refused(self, code: int, op: str, data: str | None = None, /, **keys: Any) -> Response:
        """A call that must be refused with this code."""
        response = self.call(op, data, **keys)
        assert response.code == code, f"{op}: {response.code} {response.keys}"
        return response

    # --- what most tests begin with ----------------------------------------------------------

    def login(self, username: str, token: str) -> RawClient:
        self.stok = self.ok("inf_access_request", USERNAME=username, ACCTOK=token).keys["STOK"]
        return self

    def context(self, model: str = "demo", size: int = 512) -> int:
        ctxid: int = self.ok("inf_create_context", MODEL=model, CTXSIZE=size).keys["CTXID"]
        return ctxid

    def say(self, ctxid: int, text: str, role: str = "user") -> int:
        msgid: int = self.ok("exec_set_input", text, CTXID=ctxid, ROLE=role).keys["MSGID"]
        return msgid

    def execute(self, ctxid: int, *msgids: int, **keys: Any) -> None:
        self.ok("exec_execute_input", CTXID=ctxid, MSGID=list(msgids), **keys)

    def stream(self, ctxid: int, offset: int | None = None) -> Iterator[Response]:
        """STREAM=1, to its last response."""
        seq = self.send("exec_next", CTXID=ctxid, STREAM=1, OFFSET=offset)
        while True:
            response = self.read(seq)
            yield response
            if response.last:
                return

    def reply(self, ctxid: int, offset: int | None = None) -> tuple[str, Response]:
        """The reply from here on, and its last answer, which must be a success."""
        pieces = list(self.stream(ctxid, offset))
        assert pieces[-1].code == 3000, f"{pieces[-1].code} {pieces[-1].keys}"
        return "".join(piece.data or "" for piece in pieces), pieces[-1]

    def ask(self, ctxid: int, text: str, **keys: Any) -> tuple[str, Response]:
        """Say, execute and read to the end."""
        self.execute(ctxid, self.say(ctxid, text), **keys)
        return self.reply(ctxid)

    def closed(self) -> bool:
        """Wait until the daemon closes the connection; what came before is thrown away."""
        while self.socket.recv(65536):
            pass
        return True


class Wire:
    """A connection that sends what it is given."""

    def __init__(self, daemon: Daemon) -> None:
        self.socket = socket.create_connection((daemon.host, daemon.port), PATIENCE)
        self._buffer = b""
        self._ops: dict[int, str] = {}

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, wire: bytes) -> None:
        self.socket.sendall(wire)

    def request(self, seq: Any, op: Any, keys: Any = None, data: Any = None) -> None:
        """A request of any shape."""
        if isinstance(seq, int) and isinstance(op, str):
            # A seq that stands for two requests tells of neither.
            self._ops[seq] = "" if seq in self._ops else op
        self.send(frames.frame(codec.encode([seq, op, {} if keys is None else keys, data])))

    def read(self) -> Answer | None:
        """The next response, or None when the daemon has closed the connection."""
        while (frame := self._cut()) is None:
            try:
                chunk = self.socket.recv(65536)
            except ConnectionResetError:
                return None
            if not chunk:
                assert not self._buffer, "closed inside a frame"
                return None
            self._buffer += chunk
        answer = codec.decode_response(frame)
        recorder.saw(self._ops.get(answer[0], ""), *answer)
        return answer

    def _cut(self) -> bytes | None:
        if len(self._buffer) < frames.PREFIX_BYTES:
            return None
        end = frames.PREFIX_BYTES + frames.PREFIX.unpack_from(self._buffer)[0]
        if len(self._buffer) < end:
            return None
        frame, self._buffer = self._buffer[frames.PREFIX_BYTES : end], self._buffer[end:]
        return frame
