"""Socket options that find a peer that is gone without saying so."""

from __future__ import annotations

import socket

IDLE, INTERVAL, COUNT = 30, 10, 3
"""First probe after 30 s, then every 10 s, three of them: found within 60 s, as the daemon does."""

UNACKNOWLEDGED_MS = 60_000
"""Sent bytes that nobody acknowledged for this long end the connection."""


def watch(sock: socket.socket) -> None:
    """Small calls go out at once; a dead peer is noticed within a minute."""
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in (
        ("TCP_KEEPIDLE", IDLE),
        ("TCP_KEEPINTVL", INTERVAL),
        ("TCP_KEEPCNT", COUNT),
        ("TCP_USER_TIMEOUT", UNACKNOWLEDGED_MS),
    ):
        option = getattr(socket, name, None)
        if option is not None:
            sock.setsockopt(socket.IPPROTO_TCP, option, value)
