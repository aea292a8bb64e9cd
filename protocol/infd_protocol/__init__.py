"""The INF/EXEC protocol, pure: no sockets, no asyncio, no threads, no clock.

`operations` is the table that drives the daemon, the client library, the REPL, the tests and
the specification. `connection.Connection` turns bytes into events and messages into bytes.
"""

from __future__ import annotations

PROTOCOL_VERSION = 1
"""Answered by inf_hello as PROTOCOL; raised when an old client would misread a new daemon."""
