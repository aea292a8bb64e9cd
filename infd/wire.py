"""A small blocking client for infd's own commands: one request at a time, then its answer.

It is no library (that is infd_client, which the daemon's package never imports): no reconnecting,
no streams. Not for use from several threads.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from infd.closing import Closing
from infd.failures import CommandError
from infd_protocol import codes
from infd_protocol.connection import Connection, ProtocolError, Refusal, Response, Role
from infd_protocol.errors import InfdError, error_for

DEFAULT_PORT = 4633
CONNECT_SECONDS = 5.0
FIRST_SECONDS = 10.0
"""What the first answer may take: a daemon says hello at once, however busy it is."""
_CHUNK = 2**16
_SUCCESS = frozenset(row.number for row in codes.ROWS if not row.refuses)


class WireError(CommandError):
    """The daemon cannot be reached, or the connection broke; one line for people."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a daemon is, and as whom: `infd://USER@HOST:PORT`."""

    host: str
    port: int = DEFAULT_PORT
    user: str | None = None

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `infd://USER@HOST:PORT`, in which USER and PORT may be missing.

        Raises WireError, in the words of infd_client for what cannot be read.
        """
        try:
            parts = urlsplit(text)
            port = DEFAULT_PORT if parts.port is None else parts.port
        except ValueError as error:
            raise WireError(f"The address {_blank(text)} is malformed: {error}.") from None
        if parts.password is not None:
            raise WireError(
                "An address carries no access token or password, because addresses end up in "
                "logs and process lists: set INFD_TOKEN, or write a token file."
            )
        if parts.scheme != "infd" or not parts.netloc:
            raise WireError(f"The address {text!r} is none of the form infd://USER@HOST:PORT.")
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise WireError(f"The address {text!r} has something after the port.")
        if not parts.hostname:
            raise WireError(f"The address {text!r} names no host.")
        if port == 0:
            raise WireError("The port 0 is not between 1 and 65535.")
        return cls(parts.hostname, port, unquote(parts.username) if parts.username else None)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def _blank(text: str) -> str:
    """The address without what might be a password."""
    head, at, tail = text.rpartition("@")
    return repr(f"{head.partition('://')[0]}://…@{tail}" if at else text)


@dataclass(frozen=True, slots=True)
class Answer:
    """The out keys and the data of an operation that succeeded."""

    keys: Mapping[str, Any] = field(default_factory=dict)
    data: str | None = None


class Operations(Protocol):
    """Something that carries operations out: a daemon over the wire, or a stopped one's folder."""

    def call(self, operation: str, data: str | None = None, /, **keys: Any) -> Answer:
        """Carry an operation out. Raises the InfdError of a refusal."""

    @property
    def token(self) -> str:
        """An access token that confirms an act (the caller's own)."""


class Wire(Closing):
    """A connection to a daemon; with `login`, a session that ends with it. A context manager."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self.token = ""
        self._stok: str | None = None
        self._protocol = Connection(Role.CLIENT)
        try:
            self._socket = socket.create_connection(
                (address.host, address.port), timeout=CONNECT_SECONDS
            )
        except OSError as error:
            why = error.strerror or str(error) or "no answer"
            raise WireError(f"no daemon answers on {address} ({why})") from None
        self._socket.settimeout(FIRST_SECONDS)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)

    def login(self, user: str, token: str) -> None:
        """Open a session; later calls are made in it. Raises InfAuthorizationFailed, …"""
        self.call("inf_hello")
        self._stok = self.call("inf_access_request", USERNAME=user, ACCTOK=token).keys["STOK"]
        self.token = token
        # The daemon takes short frames only until one has named a session.
        self.call("inf_get_context_ids")

    def call(self, operation: str, data: str | None = None, /, **keys: Any) -> Answer:
        """Ask and wait. Raises the InfdError of a refusal, WireError."""
        if self._stok is not None:
            keys["STOK"] = self._stok
        try:
            seq, wire = self._protocol.send_request(operation, keys, data)
            self._socket.sendall(wire)
            while True:
                event = self._protocol.next_event()
                if event is None:
                    received = self._socket.recv(_CHUNK)
                    if not received:
                        raise WireError(f"the daemon on {self.address} closed the connection")
                    self._protocol.receive(received)
                elif isinstance(event, Response) and event.seq in (seq, 0):
                    break
                elif isinstance(event, Refusal):
                    raise WireError(f"the daemon on {self.address} speaks another protocol")
        except OSError as error:
            # One that the kernel gave up has a number too.
            late = isinstance(error, TimeoutError) and error.errno is None
            raise WireError(
                f"what listens on {self.address} does not answer: is that an infd daemon?" if late
                else f"the connection to {self.address} broke ({error.strerror})"
            ) from None  # fmt: skip
        except ProtocolError as error:
            raise WireError(f"{self.address} is no infd daemon: {error}") from None
        # Loading a model and waiting for a turn take as long as they take.
        self._socket.settimeout(None)
        if event.code not in _SUCCESS:
            raise error_for(event.code, event.keys)
        return Answer(event.keys, event.data)

    def close(self) -> None:
        """End the session, if one was opened, and the connection. Never raises."""
        try:
            if self._stok is not None:
                with suppress(WireError, InfdError):  # it ends by itself after session_idle
                    self.call("inf_destroy_session")
        finally:
            self._stok = None
            self._socket.close()
