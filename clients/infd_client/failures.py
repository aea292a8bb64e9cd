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
    """No connection could be made; the call was never sent."""


class CallTimeout(ClientError, TimeoutError):
    """No answer in time. The call is forgotten here, not there: it may still take effect.

    The connection stays usable, and a late answer is dropped.
    """


class ClientClosed(ClientError, ConnectionError):
    """The client was closed."""


class AddressError(ClientError, ValueError):
    """An address or a token that cannot be used; the message says what to change."""
