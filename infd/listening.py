"""The socket that the daemon listens on: its own, or one that the service manager opened."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterable
from typing import Any

from infd.config import Config
from infd.settings import how_exposed


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


def check_inherited(config: Config, sockets: Iterable[socket.socket]) -> None:
    """What holds for `listen` holds for sockets that were opened by others. Raises ListenError:
    other machines reach one, and `plaintext` is not set."""
    for sock in sockets:
        exposed = "" if sock.family == socket.AF_UNIX else how_exposed(str(sock.getsockname()[0]))
        if exposed and not config.plaintext:
            raise ListenError(
                f"socket activation: {address_of(sock)} {exposed}, and nothing would be encrypted: "
                "set ListenStream= in the socket unit (infd.socket) to 127.0.0.1, or plaintext = "
                f"true in {config.file or 'infd.toml'}"
            )


def passed_over(config: Config, sockets: Iterable[socket.socket]) -> str:
    """A line if `listen` was set and inherited sockets stand in its place; else ""."""
    inherited = [address_of(sock) for sock in sockets]
    if not inherited or config.listen in (Config().listen, *inherited):
        return ""
    return (
        f"listen = {config.listen!r} has no effect: the socket unit (infd.socket) has opened "
        f"{', '.join(inherited)}; set ListenStream= there, or start infd.service without it"
    )


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
    host = f"[{name[0]}]" if ":" in str(name[0]) else name[0]
    return f"{host}:{name[1]}"
