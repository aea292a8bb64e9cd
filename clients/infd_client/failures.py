"""What can go wrong before a daemon has answered. A refused call raises `InfdError` instead.

All of them are also the built-in exception that says the same, so that code which knows
nothing of infd handles them: ConnectionError, TimeoutError, ValueError.
"""

from __future__ import annotations


class ClientError(Exception):
    """Any failure of the client itself."""


class ConnectionLost(ClientError, ConnectionError):
    """The connection ended before the answer came: whether the call took effect is unknown.

    Calls that only read are repeated by the client and do not raise this, unless the daemon
    stays away for longer than `reconnect` seconds.
    """


class ConnectFailed(ConnectionLost):
    """No daemon was reached: nothing listens there, or what does is none.

    The call was not sent, or not to a daemon.
    """


class CallTimeout(ClientError, TimeoutError):
    """No answer in time. The call is forgotten here, not there: unless it only reads, it may still
    take effect.

    The connection stays usable, and a late answer is dropped.
    """


def no_daemon(address: object, why: str) -> ConnectFailed:
    """What answers at the address does not speak the protocol; `why`: how that is known."""
    return ConnectFailed(f"What listens at {address} is no infd daemon: {why}. Is the port right?")


class ClientClosed(ClientError, ConnectionError):
    """The client was closed."""


class AddressError(ClientError, ValueError):
    """An address or a token that cannot be used; the message says what to change."""
