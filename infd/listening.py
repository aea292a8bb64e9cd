"""The socket that the daemon listens on."""

from __future__ import annotations

import errno
import socket
from typing import Any

from infd.config import Config


class ListenError(Exception):
    """There is no listening on this address; one line for people."""

    def __init__(self, message: str, *, taken: bool = False) -> None:
        super().__init__(message)
        self.taken = taken
        """Whether somebody else listens there."""


def open_socket(config: Config) -> socket.socket:
    """A socket bound to the configured address, which does not listen yet. Raises ListenError."""
    host, port = config.host, config.port
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        family, kind, protocol, _, address = found[0]
        sock = socket.socket(family, kind, protocol)
    except OSError as error:
        raise ListenError(f"listen: {host}:{port} is no address here ({error.strerror}).") from None
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(address)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise _refused(f"{host}:{port}", error) from None
    return sock


def begin_listening(sock: socket.socket, backlog: int) -> None:
    """Have the kernel take connections, at most `backlog` before they are accepted. Raises
    ListenError: of two that bound the same address only the first can listen."""
    try:
        sock.listen(backlog)
    except OSError as error:
        raise _refused(address_of(sock), error) from None


def _refused(address: str, error: OSError) -> ListenError:
    taken = error.errno == errno.EADDRINUSE
    hint = "; is another daemon on it?" if taken else ""
    return ListenError(f"listen: cannot open {address} ({error.strerror}){hint}", taken=taken)


def address_of(sock: Any) -> str:
    """HOST:PORT of a listening socket, or its path."""
    name = sock.getsockname()
    if not isinstance(name, tuple):
        return str(name)
    host = f"[{name[0]}]" if ":" in name[0] else name[0]
    return f"{host}:{name[1]}"
