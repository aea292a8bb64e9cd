"""What infd says to systemd, and the sockets it gets from there.

The protocols are sd_notify(3) and sd_listen_fds(3): a datagram of NAME=VALUE lines to the socket
that NOTIFY_SOCKET names, and inherited descriptors from 3 on that LISTEN_FDS counts. Without these
variables nothing happens. Both are taken out of the environment, so that children neither
notify nor listen. A service manager that does not listen is no reason to stop serving.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping
from contextlib import suppress

FIRST_DESCRIPTOR = 3  # SD_LISTEN_FDS_START
MAX_DESCRIPTORS = 64
"""More than any unit of ours has; a larger LISTEN_FDS is somebody's mistake."""

_address = ""


def take_over(environ: MutableMapping[str, str] = os.environ) -> None:
    """Remember where to notify, and take it out of the environment."""
    global _address
    _address = environ.pop("NOTIFY_SOCKET", "")
    environ.pop("WATCHDOG_USEC", None)
    environ.pop("WATCHDOG_PID", None)


def ready(status: str) -> None:
    """The daemon serves; `status` is a line for `systemctl status`."""
    _send(f"READY=1\nSTATUS={status}")


def stopping() -> None:
    """The daemon has begun to stop."""
    _send("STOPPING=1\nSTATUS=stopping")


def status(text: str) -> None:
    """A line for `systemctl status`."""
    _send(f"STATUS={text}")


def _send(message: str) -> None:
    if not _address.startswith(("/", "@")):
        return
    # "@" stands for the zero byte of an abstract name.
    address = "\0" + _address[1:] if _address.startswith("@") else _address
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.sendto(message.encode(), address)


def inherited_sockets(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening sockets that were passed to this process, none if none were.

    Raises OSError if a descriptor that was announced is no stream socket that listens.
    """
    pid, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if pid != str(os.getpid()) or not count.isdigit():
        return []
    sockets = []
    for descriptor in range(FIRST_DESCRIPTOR, FIRST_DESCRIPTOR + min(int(count), MAX_DESCRIPTORS)):
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
        listens = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        if sock.type != socket.SOCK_STREAM or not listens:
            raise OSError(f"the inherited descriptor {descriptor} is no listening stream socket")
        sock.setblocking(False)
        sockets.append(sock)
    return sockets
