"""A daemon's accounts and sessions without its sockets and its engine, for tests of handlers.

Calls go through dispatch as from a connection. Accounts, store and sessions are the real ones;
the token of user NAME is `token-NAME`, hashed with quick parameters, as a store may hold.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from infd import dispatch, operations  # noqa: F401  registers the handlers
from infd.accounts.hashing import TokenHash, _scrypt
from infd.accounts.service import Accounts
from infd.accounts.store import Account, Store
from infd.accounts.user import User
from infd.config import Config
from infd.session import Session, Sessions
from infd_protocol import codes
from infd_protocol.connection import Request
from infd_protocol.errors import InfdError
from infd_protocol.operations import OPERATIONS, resolve

HERE = "192.0.2.1"
MODELS = ["alpha", "beta", "gamma"]


def quick_hash(token: str) -> TokenHash:
    """A hash with its own, quick parameters."""
    blank = TokenHash(b"salt", b"", n=2, r=1, p=1)
    return replace(blank, digest=_scrypt(token, blank))


class Connection:
    """As much of a connection as sessions know."""

    def __init__(self) -> None:
        self.sessions: set[Session] = set()
        self.waiting = 0
        self.closed = False


class World:
    """What handlers reach as `call.daemon`, with every user logged in once."""

    def __init__(self, folder: Path, *users: User, config: Config | None = None) -> None:
        store = Store.open(folder, create=True)
        for number, user in enumerate(users):
            token = quick_hash(f"token-{user.username}")
            store.save(Account(replace(user, revision=number), token))
        store.close()
        self.folder = folder
        self.clock = 0.0
        self.accounts = Accounts.open(folder, clock=lambda: self.clock)
        self.config = config or Config()
        self.sessions = Sessions(self.config)
        self.models = SimpleNamespace(names=lambda: MODELS)
        self.stoks = {
            user.username: self.sessions.create(user, HERE)[1] for user in self.accounts.users()
        }

    async def close(self) -> None:
        await self.sessions.close("The test is over.")
        self.accounts.close()

    async def changes_done(self) -> None:
        """Nothing is ended beside."""

    @staticmethod
    def now() -> float:
        """The loop's clock."""
        return asyncio.get_running_loop().time()

    def user(self, name: str) -> User:
        """A user that is there."""
        user = self.accounts.user(name)
        assert user is not None
        return user

    def start(
        self,
        caller: str | None,
        op: str,
        *,
        data: str | None = None,
        connection: Connection | None = None,
        **keys: Any,
    ) -> asyncio.Future[dispatch.Result]:
        """Begin a call as a connection does: at once up to its first wait."""
        done: asyncio.Future[dispatch.Result] = asyncio.get_running_loop().create_future()
        if caller is not None:
            keys["STOK"] = self.stoks[caller]
        request = Request(1, op, keys, data)
        daemon: Any = self
        link: Any = connection or Connection()
        try:
            session = dispatch.find_session(daemon, request)
            outcome: Any = dispatch.invoke(
                dispatch.check(daemon, request, session, HERE, link, link)
            )
        except InfdError as error:
            done.set_exception(error)
            return done
        if isinstance(outcome, asyncio.Task):
            return outcome
        done.set_result(outcome)
        return done

    async def call(self, caller: str | None, op: str, **rest: Any) -> dispatch.Result:
        """The result of a call; raises what it is refused with."""
        return await self.start(caller, op, **rest)

    async def code(self, caller: str | None, op: str, **rest: Any) -> int:
        """The code that a call is answered with; it must be one that its row knows."""
        try:
            await self.call(caller, op, **rest)
        except InfdError as error:
            refused = error
        else:
            return codes.INF_SUCCESS
        row = resolve(op)
        assert refused.detail.endswith(".")
        assert row is None or refused.code in row.may_answer
        return refused.code


def takes_confirmation(op: str) -> bool:
    """Whether ACCTOK confirms this operation."""
    key = OPERATIONS[op].by_name.get("ACCTOK")
    return key is not None and key.doc.startswith("confirms")
