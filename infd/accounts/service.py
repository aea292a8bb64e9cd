"""The daemon's users: a table in memory over the store, logins, and changes.

Rules:
- The table is what binds; it changes only after the store has the change on disk. Both change
  under one lock, in the order of the calls, and `decide`/`check` callables run under that lock:
  what they see is what the change is based on (two superusers cannot unmake each other).
- Writing (fsync) happens in a thread of its own, hashing in another; the loop never waits.
- A caller that is cancelled leaves table and store the same, changed or not.
- Unknown user and wrong token: the same work, the same error.

Single loop; every method is called on it.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from infd.accounts.authority import check_exists
from infd.accounts.hashing import WAITING_MAX, HashLine, dummy_hash, hash_token
from infd.accounts.store import Account, Store, StoreError
from infd.accounts.throttle import Throttle
from infd.accounts.tokens import Recognition, check_token, new_token
from infd.accounts.user import User, check_username
from infd.accounts.waiting import to_the_end
from infd_protocol.errors import InfAuthorizationFailed, InfUserAlreadyExists, PktOverloaded

Listener = Callable[[User | None, User | None], None]


class Accounts:
    """Every user of this daemon. Open with `Accounts.open`, end with `close`."""

    def __init__(
        self,
        store: Store,
        *,
        clock: Callable[[], float] = time.monotonic,
        hash_queue: int = WAITING_MAX,
    ) -> None:
        self._store = store
        self._table = store.load()
        self._revision = max((a.user.revision for a in self._table.values()), default=0)
        self._clock = clock
        self._lock = asyncio.Lock()
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="infd-store")
        self._hashes = HashLine(hash_queue)
        self._dummy = dummy_hash()
        self._recognition = Recognition()
        self._throttle = Throttle()
        self._listeners: list[Listener] = []

    @classmethod
    def open(
        cls,
        state_dir: Path,
        *,
        create: bool = False,
        clock: Callable[[], float] = time.monotonic,
        hash_queue: int = WAITING_MAX,
    ) -> Accounts:
        """Lock and read the state folder; StoreError, one line for a person, if that fails.

        `clock` gives seconds and only goes forward; it serves the slow-down of logins.
        `hash_queue`: how many may wait for a token to be hashed.
        """
        store = Store.open(state_dir, create=create)
        try:
            return cls(store, clock=clock, hash_queue=hash_queue)
        except BaseException:
            store.close()
            raise

    def announce(self, address: str) -> None:
        """See Store.announce."""
        self._store.announce(address)

    def close(self) -> None:
        """Let a write that has begun end, and release the folder."""
        self._hashes.close()
        self._writer.shutdown(wait=True)
        self._store.close()

    # Reading

    def user(self, name: str) -> User | None:
        """The user of this name as of now."""
        account = self._table.get(name)
        return account.user if account else None

    def users(self) -> list[User]:
        """All users, by name."""
        return [self._table[name].user for name in sorted(self._table)]

    def superusers(self) -> int:
        """How many superusers there are."""
        return sum(account.user.is_super for account in self._table.values())

    def on_change(self, listener: Listener) -> None:
        """Have `listener(old, new)` called on the loop right after each change is in force.

        None as `old` is a creation, as `new` a deletion. A new token gives a user that differs
        in its revision only. The listener must not raise.
        """
        self._listeners.append(listener)

    @property
    def busy(self) -> bool:
        """Whether changes are being made, or wait for their turn."""
        return self._lock.locked()

    async def settled(self) -> None:
        """Wait until the changes that were asked for before this call are in force or failed."""
        if self._lock.locked():
            async with self._lock:
                pass

    # Logging in

    async def login(self, username: str, token: str, *, address: str, connection: object) -> User:
        """The user whose token this is, as of now.

        InfAuthorizationFailed if there is none such; PktOverloaded with RETRY_AFTER (seconds)
        if this user and address must wait, or too many logins do. `connection` is any object
        that stands for the caller's connection.
        """
        await self._verify([username], token, address=address, connection=connection)
        return self._table[username].user

    async def confirm(
        self, caller: User, target: User, token: str, *, address: str, connection: object
    ) -> None:
        """Check that `token` is the target's or the caller's own.

        Errors as of `login`; a wrong one counts as a failed login of both, so that neither can
        be guessed at faster this way.
        """
        names = list(dict.fromkeys((target.username, caller.username)))
        await self._verify(names, token, address=address, connection=connection)

    async def _verify(
        self, names: list[str], token: str, *, address: str, connection: object
    ) -> None:
        self._check_pace(names, address)
        if self._recognised(names, token, address):
            return
        async with self._hashes.turn(connection):
            # Others had their turn meanwhile: enough failures to make this one wait, or this
            # same token verified already.
            self._check_pace(names, address)
            if self._recognised(names, token, address):
                return
            accounts = [(name, self._table.get(name)) for name in names]

            def search() -> str | None:
                fitting = None
                for name, account in accounts:
                    if (account.token if account else self._dummy).fits(token) and account:
                        fitting = fitting or name
                return fitting

            fitting = await self._hashes.compute(search)
            if fitting is None:
                for name in names:
                    self._throttle.failed(name, address, self._clock())
                raise _refusal(names)
            then, now = dict(accounts)[fitting], self._table.get(fitting)
            if then is None or now is None or now.token is not then.token:
                # Deleted, or given another token, while this one was being hashed.
                raise _refusal(names)
            self._recognition.remember(fitting, token)
            self._throttle.succeeded(fitting, address)

    def _check_pace(self, names: list[str], address: str) -> None:
        wait = max(self._throttle.wait(name, address, self._clock()) for name in names)
        if wait > 0:
            raise PktOverloaded(
                f"Too many wrong access tokens; try again in {math.ceil(wait)} s.",
                RETRY_AFTER=math.ceil(wait),
            )

    def _recognised(self, names: list[str], token: str, address: str) -> bool:
        for name in names:
            if name in self._table and self._recognition.knows(name, token):
                self._throttle.succeeded(name, address)
                return True
        return False

    # Changing

    async def create(
        self,
        user: User,
        token: str | None,
        *,
        connection: object,
        check: Callable[[], None] = lambda: None,
    ) -> str:
        """Add the user and return its access token, made here if None; durable on return.

        InfInvalidParams for a bad name or token, InfUserAlreadyExists, then what `check`
        raises, PktOverloaded if too many tokens wait to be hashed, StoreError.
        """
        check_username(user.username)
        chosen = new_token() if token is None else check_token(token)
        async with self._lock:
            if user.username in self._table:
                raise InfUserAlreadyExists(f"USERNAME: there is a user {user.username!r} already.")
            check()
            async with self._hashes.turn(connection):
                hashed = await self._hashes.compute(lambda: hash_token(chosen))
            await self._put(Account(user, hashed))
        return chosen

    async def modify(self, name: str, decide: Callable[[User], User]) -> User:
        """Put what `decide(the user now)` returns in its place; durable on return.

        `decide` runs under the lock; what it raises is raised and nothing changes.
        InfUserNotFound, StoreError.
        """
        async with self._changing(name) as account:
            new = replace(decide(account.user), username=name)
            return await self._put(replace(account, user=new))

    async def update(self, name: str, **changes: Any) -> User:
        """Set these fields of the user; as `modify`, without a rule."""
        return await self.modify(name, lambda user: replace(user, **changes))

    async def set_token(
        self,
        name: str,
        token: str | None,
        *,
        connection: object,
        check: Callable[[User], None] = lambda user: None,
    ) -> str:
        """Give the user this access token, or a new one if None, and return it; durable."""
        chosen = new_token() if token is None else check_token(token)
        async with self._changing(name) as account:
            check(account.user)
            async with self._hashes.turn(connection):
                hashed = await self._hashes.compute(lambda: hash_token(chosen))
            await self._put(Account(account.user, hashed))
        return chosen

    async def delete(self, name: str, *, check: Callable[[User], None] = lambda user: None) -> None:
        """Remove the user and all that is kept of it; durable on return. `check` as in create."""
        async with self._changing(name) as account:
            check(account.user)
            future = self._begin(lambda: self._store.delete(name))
            try:
                await to_the_end(future)
            finally:
                if _succeeded(future):
                    del self._table[name]
                    self._recognition.drop(name)
                    self._throttle.forget(name)
                    self._tell(account.user, None)

    @asynccontextmanager
    async def _changing(self, name: str) -> AsyncIterator[Account]:
        async with self._lock:
            check_exists(self.user(name), name)
            yield self._table[name]

    async def _put(self, account: Account) -> User:
        """Write, then put in force; under the lock."""
        name = account.user.username
        new = replace(account.user, revision=self._revision + 1)
        account = replace(account, user=new)
        old = self.user(name)
        future = self._begin(lambda: self._store.save(account))
        try:
            await to_the_end(future)
        finally:
            # Also when the caller was cancelled: what is on disk is in force.
            if _succeeded(future):
                self._revision += 1
                self._table[name] = account
                self._recognition.drop(name)
                self._tell(old, new)
        return new

    def _begin(self, work: Callable[[], None]) -> asyncio.Future[None]:
        try:
            return asyncio.get_running_loop().run_in_executor(self._writer, work)
        except RuntimeError as error:
            raise StoreError(
                f"{self._store.folder}: is closed; the daemon is shutting down"
            ) from error

    def _tell(self, old: User | None, new: User | None) -> None:
        for listener in self._listeners:
            listener(old, new)


def _succeeded(future: asyncio.Future[None]) -> bool:
    return future.done() and not future.cancelled() and future.exception() is None


def _refusal(names: list[str]) -> InfAuthorizationFailed:
    if len(names) == 1:
        return InfAuthorizationFailed("USERNAME or ACCTOK is wrong.")
    return InfAuthorizationFailed("ACCTOK is neither that user's access token nor your own.")
