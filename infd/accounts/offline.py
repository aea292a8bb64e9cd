"""The store without a daemon: `infd init` and `infd user …` on a stopped one.

The same rules as online, for the machine's operator (`authority.OPERATOR`): bad names and
tokens, taken names, limits below the model list and losing the last superuser are refused. The
folder is locked while it is open, so a running daemon is told apart by StoreError.
Synchronous; a change is durable when the method returns.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from infd.accounts.authority import check_exists, check_not_last
from infd.accounts.hashing import hash_token
from infd.accounts.store import Account, Store, StoreError
from infd.accounts.tokens import check_token, new_token
from infd.accounts.user import User, check_username
from infd.closing import Closing
from infd.machine import usable_cores
from infd_protocol.errors import InfUserAlreadyExists
from infd_protocol.values import UINT32_MAX

FIRST_BATCH_SET = 512  # contract, section 11


def init(
    state_dir: Path, admin: str = "admin", token: str | None = None, cores: int | None = None
) -> str:
    """Make the state folder and its first superuser; returns the access token.

    StoreError if the folder holds users already; InfInvalidParams for a bad name or token.
    """
    check_username(admin)
    if token is not None:
        check_token(token)
    threads = cores or usable_cores()
    first = User(
        admin,
        acclimit=UINT32_MAX,
        ctxlength=UINT32_MAX,
        batch_set=FIRST_BATCH_SET,
        max_proc_threads=threads,
        proc_threads=threads,
        is_super=True,
    )
    with OfflineAccounts(state_dir, create=True) as accounts:
        if accounts.users():
            raise StoreError(
                f"{state_dir}: holds users already; for a lost token, while no daemon runs on it: "
                f"infd user token NAME --state {state_dir}"
            )
        return accounts.create(first, token)


class OfflineAccounts(Closing):
    """The users of a state folder that no daemon holds; a context manager."""

    def __init__(self, state_dir: Path, *, create: bool = False) -> None:
        self._store = Store.open(state_dir, create=create)
        try:
            self._table = self._store.load()
        except BaseException:
            self._store.close()
            raise

    def close(self) -> None:
        """Release the folder."""
        self._store.close()

    def user(self, name: str) -> User | None:
        """The user of this name."""
        account = self._table.get(name)
        return account.user if account else None

    def users(self) -> list[User]:
        """All users, by name."""
        return [self._table[name].user for name in sorted(self._table)]

    def superusers(self) -> int:
        """How many superusers there are."""
        return sum(account.user.is_super for account in self._table.values())

    def create(self, user: User, token: str | None = None) -> str:
        """Add the user; returns its access token, made here if None."""
        check_username(user.username)
        chosen = new_token() if token is None else check_token(token)
        if user.username in self._table:
            raise InfUserAlreadyExists(f"USERNAME: there is a user {user.username!r} already.")
        self._put(Account(user, hash_token(chosen)))
        return chosen

    def modify(self, name: str, decide: Callable[[User], User]) -> User:
        """Put what `decide(the user now)` returns in its place (see authority.py)."""
        check_exists(self.user(name), name)
        account = self._table[name]
        new = replace(decide(account.user), username=name)
        if not new.is_super:
            check_not_last(account.user, self.superusers())
        return self._put(replace(account, user=new))

    def set_token(self, name: str, token: str | None = None) -> str:
        """Give the user this access token, or a new one if None, and return it."""
        chosen = new_token() if token is None else check_token(token)
        check_exists(self.user(name), name)
        self._put(Account(self._table[name].user, hash_token(chosen)))
        return chosen

    def delete(self, name: str) -> None:
        """Remove the user and all that is kept of it."""
        user = check_exists(self.user(name), name)
        check_not_last(user, self.superusers())
        self._store.delete(name)
        del self._table[name]

    def _put(self, account: Account) -> User:
        revision = 1 + max((a.user.revision for a in self._table.values()), default=0)
        account = replace(account, user=replace(account.user, revision=revision))
        self._store.save(account)
        self._table[account.user.username] = account
        return account.user
