"""A scripted peer for the client library: a real TCP server that fails on purpose.

It speaks the protocol through `Connection(Role.SERVER)` and serves one session with contexts
whose replies are given. It cuts connections after a number of bytes, holds answers back until
they are let go, answers with any code, and writes down what it was asked. The daemon itself is
tested elsewhere; this one does what the daemon never does on demand.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, Self

from infd_protocol import codes
from infd_protocol.connection import Connection, Refusal, Request, Role
from infd_protocol.operations import OPERATIONS

STOK = "scripted-session"
Handler = Callable[["Peer", Request], None]


class Cut(Exception):
    """The script ends this connection here."""


def refusing(code: int, **keys: Any) -> Handler:
    """A handler that answers with a code."""
    return lambda peer, request: peer.answer(request, code, **keys)


def cutting(times: int = 1, *, reset: bool = False) -> Handler:
    """A handler that cuts the connection instead of answering, so many times."""
    left = [times]

    def handle(peer: Peer, request: Request) -> None:
        if left[0]:
            left[0] -= 1
            if reset:
                peer.cut(reset=True)
            raise Cut
        peer.answer(request, USERNAME=["again"], MSGID=1)

    return handle


class Peer:
    """One connection of the scripted server, served by one thread."""

    def __init__(self, server: ScriptedServer, sock: socket.socket, cut_after: int | None) -> None:
        self.server = server
        self.sock = sock
        self.connection = Connection(Role.SERVER)
        self.left = cut_after
        self._lock = threading.Lock()

    def answer(
        self, request: Request, code: int = 0, *, data: str | None = None, last: bool = True,
        **keys: Any,
    ) -> None:  # fmt: skip
        """Send a response; `code` 0 is the operation's plain success. Raises Cut."""
        row = OPERATIONS.get(request.op)
        code = code or (min(row.success) if row else codes.INF_SUCCESS)
        self.send(self.connection.send_response(request.seq, code, keys, data, last=last))

    def send(self, wire: bytes) -> None:
        with self._lock:
            if self.left is not None and len(wire) >= self.left:
                head, self.left = wire[: self.left], 0
                with contextlib.suppress(OSError):
                    self.sock.sendall(head)
                raise Cut
            if self.left is not None:
                self.left -= len(wire)
            try:
                self.sock.sendall(wire)
            except OSError:
                raise Cut from None

    def cut(self, *, reset: bool = False) -> None:
        """End the connection now; with `reset`, rudely."""
        with contextlib.suppress(OSError):
            if reset:
                linger = struct.pack("ii", 1, 0)
                self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            self.sock.shutdown(socket.SHUT_RDWR)

    def serve(self) -> None:
        try:
            while data := self.sock.recv(65536):
                self.connection.receive(data)
                while (event := self.connection.next_event()) is not None:
                    if isinstance(event, Refusal):
                        self.send(event.wire)
                        if event.close:
                            return
                    elif isinstance(event, Request):
                        if "STOK" in event.keys:
                            self.connection.authenticate()
                        self.server.asked.append(event)
                        self.server.handle(self, event)
        except (Cut, OSError):
            pass
        finally:
            self.cut()
            self.sock.close()


class ScriptedServer:
    """See the head of this module. Use it in a `with` block.

    `replies`: text by context, cut into `pieces` characters an answer. `cuts`: for each
    connection in turn, the bytes to send before it is cut; none after the last.
    `handlers`: what to do with an operation instead of the usual.
    """

    def __init__(
        self,
        *,
        replies: dict[int, str] | None = None,
        pieces: int = 3,
        cuts: Iterator[int | None] | list[int | None] | None = None,
        handlers: dict[str, Handler] | None = None,
    ) -> None:
        self.replies = replies or {}
        self.pieces = pieces
        self.cuts = iter(cuts or ())
        self.handlers = handlers or {}
        self.asked: list[Request] = []
        self.peers: list[Peer] = []
        self.held: list[tuple[Peer, Request]] = []
        self.arrived = threading.Semaphore(0)
        self.read: dict[int, int] = {}
        self._threads: list[threading.Thread] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]

    def operations(self) -> list[str]:
        """The operations asked for so far."""
        return [request.op for request in self.asked]

    def hold(self, peer: Peer, request: Request) -> None:
        """A handler: no answer until `release()`; `arrived` is raised by one."""
        self.held.append((peer, request))
        self.arrived.release()

    def release(self, **keys: Any) -> None:
        """Answer the oldest held request."""
        peer, request = self.held.pop(0)
        with contextlib.suppress(Cut):
            peer.answer(request, **keys)

    def handle(self, peer: Peer, request: Request) -> None:
        handler = self.handlers.get(request.op) or getattr(self, f"_{request.op}", None)
        if handler is not None:
            handler(peer, request)
        elif request.op in OPERATIONS:
            peer.answer(request)
        else:
            peer.answer(request, codes.PKT_UNDEFINED_OPERATION, DETAIL="There is no such thing.")

    def _inf_hello(self, peer: Peer, request: Request) -> None:
        peer.answer(request, VERSION="scripted", PROTOCOL=1, MAX_FRAME=1 << 24, OPERATIONS={})

    def _inf_access_request(self, peer: Peer, request: Request) -> None:
        peer.answer(request, STOK=STOK)

    def _inf_get_accessible_models(self, peer: Peer, request: Request) -> None:
        peer.answer(request, MODEL=["scripted"])

    def _inf_get_context_ids(self, peer: Peer, request: Request) -> None:
        peer.answer(request, CTXID=sorted(self.replies))

    def _inf_create_context(self, peer: Peer, request: Request) -> None:
        peer.answer(request, CTXID=1)

    def _exec_set_input(self, peer: Peer, request: Request) -> None:
        peer.answer(request, MSGID=self.operations().count("exec_set_input"))

    def _exec_execute_input(self, peer: Peer, request: Request) -> None:
        self.read[int(request.keys["CTXID"])] = 0
        peer.answer(request)

    def _exec_next(self, peer: Peer, request: Request) -> None:
        ctxid = int(request.keys["CTXID"])
        if ctxid not in self.replies:
            peer.answer(request, codes.EXEC_MISSING_MESSAGE, DETAIL="There is no run.")
            return
        reply = self.replies[ctxid]
        at = request.keys.get("OFFSET", self.read.get(ctxid, 0))
        while True:
            try:
                rest = reply.encode()[at:].decode()
            except UnicodeDecodeError:
                peer.answer(request, codes.INF_INVALID_PARAMS, DETAIL="OFFSET is no boundary.")
                return
            piece = rest[: self.pieces]
            end = at + len(piece.encode())
            self.read[ctxid] = end
            if end == len(reply.encode()):
                peer.answer(
                    request, data=piece, OFFSET=at, IS_SPECIAL=True, FINISH_REASON="stop",
                    MSGID=99, SEED=7, TOKENS_OUT=len(reply),
                )  # fmt: skip
                return
            stream = bool(request.keys.get("STREAM"))
            peer.answer(request, data=piece, OFFSET=at, last=not stream)
            at = end
            if not stream:
                return

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            peer = Peer(self, sock, next(self.cuts, None))
            self.peers.append(peer)
            thread = threading.Thread(target=peer.serve, daemon=True)
            self._threads.append(thread)
            thread.start()

    def stop_listening(self) -> None:
        """Refuse new connections from now on."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def __enter__(self) -> Self:
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_listening()
        self._acceptor.join()
        for peer in self.peers:
            peer.cut()
        for thread in self._threads:
            thread.join()
