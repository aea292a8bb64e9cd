"""What both clients are made with, and the timeouts of calls."""

from __future__ import annotations

import os
from collections.abc import Callable
from enum import Enum
from typing import Any, Final, Self

from infd_client.address import DEFAULT_HOST, DEFAULT_PORT, Address, find_token
from infd_client.calls import Calls
from infd_client.failures import AddressError, CallTimeout, ClientError, ConnectFailed


class _Unset(Enum):
    """The type of UNSET."""

    UNSET = "the client's default"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = _Unset.UNSET
"""In place of a timeout: the client's own."""

Timeout = float | None | _Unset
"""Seconds; None: wait as long as it takes; UNSET: the client's default."""

TIMEOUT = 60.0
"""Seconds that a call may take unless the client or the call says otherwise."""

PATIENT = frozenset({"inf_load_model", "exec_next"})
"""Operations that wait for a model: they have no default timeout."""

RECONNECT = 30.0
"""Seconds to try for a lost connection: as long as the daemon keeps an orphan's run going."""

CONNECT_TIMEOUT = 10.0
"""Seconds that one attempt to connect may take."""


class Options:
    """The common part of `Client` and `AsyncClient`.

    `host`, `port`: where the daemon listens. `username`, `token`, `token_file`: who logs in;
    see `infd_client.address` for where a token comes from otherwise. `timeout`: seconds for
    each call that names none; None: no limit. `reconnect`: seconds to try for after a lost
    connection; 0: not at all. `connect_timeout`: seconds for one attempt. `on_change`: called
    with "lost", "away" (given up) or "back" (the first answer after either) when the connection
    changes so; `Client` calls it in a thread of its own. It must be quick and not raise.
    """

    def __init__(
        self,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        *,
        username: str | None = None,
        token: str | None = None,
        token_file: str | os.PathLike[str] | None = None,
        stok: str | None = None,
        timeout: float | None = TIMEOUT,
        reconnect: float = RECONNECT,
        connect_timeout: float = CONNECT_TIMEOUT,
        on_change: Callable[[str], object] | None = None,
    ) -> None:
        self.address = Address(host, port, username)
        self.timeout = timeout
        self.reconnect = reconnect
        self.connect_timeout = connect_timeout
        self._tell: Callable[[str], object] = on_change or (lambda change: None)
        self._token = token
        self._token_file = token_file
        self._calls = Calls()
        self._calls.stok = stok
        self._begin()

    @property
    def tell(self) -> Callable[[str], object]:
        """What to call with news of the connection. It holds no reference to the client."""
        return self._tell

    def _begin(self) -> None:
        raise NotImplementedError

    @classmethod
    def from_url(cls, url: str, **options: Any) -> Self:
        """A client for `infd://[USER@]HOST[:PORT]`; `options` as for the class itself.

        Raises AddressError for another form, and for a URL that carries a password.
        """
        address = Address.from_url(url)
        options.setdefault("username", address.username)
        return cls(address.host, address.port, **options)

    @property
    def stok(self) -> str | None:
        """The session token in use; None before a login. It is a secret."""
        return self._calls.stok

    @property
    def username(self) -> str | None:
        """Who opened the session; before that, the name that the client was made with."""
        return self._calls.username or self.address.username

    def _credentials(self, username: str | None, token: str | None) -> tuple[str, str]:
        name = username or self.address.username
        if not name:
            raise AddressError("Who logs in? Give a username, or put it into the URL.")
        found = find_token(
            token if token is not None else self._token, self._token_file, os.environ
        )
        if not found:
            raise AddressError(
                "No access token: set INFD_TOKEN, write it to ~/.config/infd/token (chmod 600), "
                "or pass token=."
            )
        return name, found

    def _unreached(self, late: CallTimeout) -> ClientError:
        """What to raise when a daemon was asked for a sign of life and gave none in time."""
        if self._calls.proven:
            return late  # it is one, and busy
        if not self._calls.connected:
            return ConnectFailed(
                f"Cannot connect to {self.address}: no answer in time. Is infd running there?"
            )
        return CallTimeout(
            f"{self.address} took the connection and says nothing: is that an infd daemon, and has "
            "it finished starting? (infd doctor looks at the one of this machine)"
        )

    def _limit(self, op: str, timeout: Timeout) -> float | None:
        if timeout is not UNSET:
            return timeout
        return None if op in PATIENT else self.timeout


def bit(value: bool | int | None) -> int | None:
    """A `<bool>` that the protocol wants as the integer 1 or 0."""
    return None if value is None else int(value)
