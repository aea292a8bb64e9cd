"""Frames: a 4-byte unsigned big-endian length N, then N bytes. Limits, and nothing else."""

from __future__ import annotations

import struct

PREFIX = struct.Struct(">I")
PREFIX_BYTES = PREFIX.size

UNAUTHENTICATED_FRAME = 64 * 1024
"""The longest frame, in bytes, before the connection has named a live session."""

MAX_FRAME = 16 * 1024 * 1024
"""The longest frame, in bytes, afterwards; the daemon's `max_frame` may change it."""

SKIP_FACTOR = 4
"""A frame under this many times `max_frame` is read past and answered; beyond, the end."""

HELD_FACTOR = 4
"""The unanswered requests of one connection may have this many times `max_frame` bytes together."""

FRAME_SECONDS = 30.0
"""How long a begun frame may take to be complete."""

MAX_IN_FLIGHT = 1024
"""Requests of one connection that may be unanswered at one moment."""


_HTTP = frozenset((b"GET ", b"HEAD", b"POST", b"PUT ", b"OPTI", b"DELE", b"CONN", b"PRI "))
_TLS = b"\x16\x03"


def foreign(length: int) -> str:
    """Which other protocol begins with the bytes of this length, in words; "" for none known."""
    begun = PREFIX.pack(length)
    if begun in _HTTP:
        return "HTTP"
    return "TLS" if begun.startswith(_TLS) else ""


def frame(body: bytes) -> bytes:
    """The body with its length before it. Raises struct.error from 4 GiB on."""
    return PREFIX.pack(len(body)) + body
