"""The daemon's table of users over a real store: logins, changes, races, failures."""

from __future__ import annotations

import asyncio
import resource
import threading
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import pytest

from infd.accounts import authority
from infd.accounts.hashing import TokenHash, hash_token
from infd.accounts.service import Accounts
from infd.accounts.store import Account, Store, StoreError
from infd.accounts.user import User
from infd_protocol.errors import (
    InfAuthorizationFailed,
    InfInvalidParams,
    InfUserAlreadyExists,
    InfUserNotFound,
    PktOverloaded,
)

HERE = "192.0.2.1"
BOSS, ADA = "boss-token", "ada-token"


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@lru_cache
def hashed(token: str) -> TokenHash:
    return hash_token(token)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    store = Store.open(tmp_path / "state", create=True)
    store.save(Account(User("boss", is_super=True, revision=1), hashed(BOSS)))
    store.save(Account(User("ada", ctxlength=64, revision=2), hashed(ADA)))
    store.close()
    return tmp_path / "state"


@pytest.fixture
async def accounts(folder: Path, clock: Clock) -> AsyncIterator[Accounts]:
    opened = Accounts.open(folder, clock=clock)
    yield opened
    opened.close()


def on_disk(accounts: Accounts, folder: Path) -> list[User]:
    """Close, and read what a next start would find."""
    accounts.close()
    store = Store.open(folder)
    users = [account.user for account in store.load().values()]
    store.close()
    return users


async def login(accounts: Accounts, name: str, token: str, address: str = HERE) -> User:
    return await accounts.login(name, token, address=address, connection=object())


# Logging in


async def test_the_right_token_and_only_that(accounts: Accounts) -> None:
    assert (await login(accounts, "ada", ADA)).username == "ada"
    refusals = []
    for name, token in [("ada", BOSS), ("ada", ""), ("nobody", ADA), ("x" * 5000, ADA)]:
        with pytest.raises(InfAuthorizationFailed) as refused:
            await login(accounts, name, token)
        refusals.append((refused.value.detail, refused.value.keys))
    assert len({str(refusal) for refusal in refusals}) == 1


@pytest.fixture
def hashes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The tokens that were hashed to be checked, as they are."""
    seen: list[str] = []
    fits = TokenHash.fits

    def counted(self: TokenHash, token: str) -> bool:
        seen.append(token)
        return fits(self, token)

    monkeypatch.setattr(TokenHash, "fits", counted)
    return seen


async def test_a_verified_token_needs_no_hash_until_the_user_changes(
    accounts: Accounts, hashes: list[str]
) -> None:
    for _ in range(3):
        await login(accounts, "ada", ADA)
    assert hashes == [ADA]
    await accounts.update("ada", ctxlength=128)
    assert (await login(accounts, "ada", ADA)).ctxlength == 128
    assert hashes == [ADA, ADA]
    with pytest.raises(InfAuthorizationFailed):
        await login(accounts, "nobody", ADA)
    assert hashes == [ADA, ADA, ADA]


async def test_many_logins_at_once_share_one_hash(accounts: Accounts, hashes: list[str]) -> None:
    users = await asyncio.gather(*(login(accounts, "ada", ADA) for _ in range(20)))
    assert {user.username for user in users} == {"ada"}
    assert hashes == [ADA]


@pytest.mark.parametrize("name", ["ada", "nobody"])
async def test_guessing_is_slowed_down_without_hashing(
    accounts: Accounts, clock: Clock, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcomes = await asyncio.gather(
        *(login(accounts, name, f"guess {n}") for n in range(10)), return_exceptions=True
    )
    kinds = [type(outcome) for outcome in outcomes]
    # All ten were under way together, and still only five were looked at.
    assert kinds == [InfAuthorizationFailed] * 5 + [PktOverloaded] * 5
    monkeypatch.setattr(TokenHash, "fits", lambda *_: pytest.fail("it was hashed"))
    with pytest.raises(PktOverloaded) as refused:
        await login(accounts, name, ADA)
    assert refused.value.keys == {"RETRY_AFTER": 1}
    monkeypatch.undo()
    clock.now += 1
    with pytest.raises(InfAuthorizationFailed):
        await login(accounts, name, "guess 10")
    with pytest.raises(PktOverloaded) as refused:
        await login(accounts, name, "guess 11")
    assert refused.value.keys == {"RETRY_AFTER": 2}


async def test_a_success_clears_and_a_known_address_is_left_alone(
    accounts: Accounts, clock: Clock
) -> None:
    await login(accounts, "ada", ADA)
    for number in range(5):
        with pytest.raises(InfAuthorizationFailed):
            await login(accounts, "ada", "guess", f"198.51.100.{number}")
    with pytest.raises(PktOverloaded):
        await login(accounts, "ada", ADA, "203.0.113.9")
    await login(accounts, "ada", ADA)
    clock.now += 1
    await login(accounts, "ada", ADA, "203.0.113.9")
    await login(accounts, "ada", ADA, "203.0.113.10")


async def test_confirming_takes_the_targets_or_ones_own_token(accounts: Accounts) -> None:
    boss, ada = accounts.user("boss"), accounts.user("ada")
    assert boss
    assert ada
    for token in (ADA, BOSS):
        await accounts.confirm(boss, ada, token, address=HERE, connection=object())
    await accounts.confirm(boss, boss, BOSS, address=HERE, connection=object())


async def test_a_wrong_confirmation_counts_for_both(accounts: Accounts) -> None:
    boss, ada = accounts.user("boss"), accounts.user("ada")
    assert boss
    assert ada
    for _ in range(5):
        with pytest.raises(InfAuthorizationFailed):
            await accounts.confirm(boss, ada, "guess", address=HERE, connection=object())
    for name in ("ada", "boss"):
        with pytest.raises(PktOverloaded):
            await login(accounts, name, "another")
    with pytest.raises(PktOverloaded):
        await accounts.confirm(boss, ada, BOSS, address=HERE, connection=object())


async def test_ones_own_token_does_not_clear_guesses_at_anothers(accounts: Accounts) -> None:
    boss, ada = accounts.user("boss"), accounts.user("ada")
    assert boss
    assert ada
    for _ in range(4):
        with pytest.raises(InfAuthorizationFailed):
            await accounts.confirm(boss, ada, "guess", address=HERE, connection=object())
    await accounts.confirm(boss, ada, BOSS, address=HERE, connection=object())
    with pytest.raises(InfAuthorizationFailed):
        await login(accounts, "ada", "guess")
    with pytest.raises(PktOverloaded):
        await login(accounts, "ada", "guess")


@pytest.mark.parametrize("change", ["delete", "set_token"])
async def test_a_token_that_is_changed_while_it_is_checked_does_not_pass(
    accounts: Accounts, monkeypatch: pytest.MonkeyPatch, change: str
) -> None:
    in_force = threading.Event()
    accounts.on_change(lambda old, new: in_force.set())
    fits = TokenHash.fits

    def slow(self: TokenHash, token: str) -> bool:
        in_force.wait()
        return fits(self, token)

    monkeypatch.setattr(TokenHash, "fits", slow)
    if change == "delete":
        checking = asyncio.create_task(login(accounts, "ada", ADA))
        changing: asyncio.Task[object] = asyncio.create_task(accounts.delete("ada"))
    else:
        # The new token is hashed first; while it is written, the old one is checked.
        changing = asyncio.create_task(accounts.set_token("ada", None, connection=object()))
        await asyncio.sleep(0)
        checking = asyncio.create_task(login(accounts, "ada", ADA))
    await asyncio.wait([checking, changing])
    assert changing.exception() is None
    assert isinstance(checking.exception(), InfAuthorizationFailed)
    assert (accounts.user("ada") is None) == (change == "delete")


# Changing


async def test_a_user_lives_its_life(accounts: Accounts, folder: Path) -> None:
    token = await accounts.create(User("bob"), None, connection=object())
    assert (await login(accounts, "bob", token)).username == "bob"
    changed = await accounts.modify("bob", lambda user: replace(user, models=("m",)))
    assert accounts.user("bob") is changed
    assert changed.models == ("m",)
    second = await accounts.set_token("bob", "chosen by bob", connection=object())
    assert second == "chosen by bob"
    await login(accounts, "bob", second)
    with pytest.raises(InfAuthorizationFailed):
        await login(accounts, "bob", token)
    assert [user.username for user in accounts.users()] == ["ada", "bob", "boss"]
    await accounts.delete("bob")
    assert accounts.user("bob") is None
    with pytest.raises(InfAuthorizationFailed):
        await login(accounts, "bob", second)
    assert [user.username for user in on_disk(accounts, folder)] == ["ada", "boss"]


async def test_what_is_refused_changes_nothing(accounts: Accounts, folder: Path) -> None:
    before = accounts.users()

    def refuse(*_: object) -> User:
        raise InfAuthorizationFailed("no")

    def check(*_: object) -> None:
        raise InfAuthorizationFailed("no")

    async def new(name: str, token: str | None = None) -> None:
        await accounts.create(User(name), token, connection=object(), check=check)

    with pytest.raises(InfInvalidParams):
        await new("no name")
    with pytest.raises(InfInvalidParams):
        await new("bob", "short")
    with pytest.raises(InfUserAlreadyExists):
        await new("ada")
    with pytest.raises(InfAuthorizationFailed):
        await new("bob")
    with pytest.raises(InfAuthorizationFailed):
        await accounts.modify("ada", refuse)
    with pytest.raises(InfAuthorizationFailed):
        await accounts.delete("ada", check=check)
    with pytest.raises(InfAuthorizationFailed):
        await accounts.set_token("ada", None, connection=object(), check=check)
    for missing in (
        accounts.modify("bob", lambda user: user),
        accounts.delete("bob"),
        accounts.set_token("bob", None, connection=object()),
    ):
        with pytest.raises(InfUserNotFound):
            await missing
    assert accounts.users() == before
    assert on_disk(accounts, folder) == before


async def test_listeners_hear_of_each_change_when_it_is_in_force(accounts: Accounts) -> None:
    heard: list[tuple[User | None, User | None]] = []

    def listen(old: User | None, new: User | None) -> None:
        heard.append((old, new))
        name = (old or new or User("")).username
        assert accounts.user(name) == new

    accounts.on_change(listen)
    ada = accounts.user("ada")
    changed = await accounts.update("ada", batch_set=64)
    await accounts.delete("ada")
    await accounts.create(User("ada"), None, connection=object())
    assert heard == [(ada, changed), (changed, None), (None, accounts.user("ada"))]
    again = accounts.user("ada")
    assert again
    assert again.revision > changed.revision


async def test_two_superusers_cannot_unmake_each_other(accounts: Accounts) -> None:
    await accounts.update("ada", is_super=True)

    async def unmake(name: str) -> None:
        await accounts.modify(name, lambda user: authority.demoted(user, accounts.superusers()))

    outcomes = await asyncio.gather(unmake("boss"), unmake("ada"), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [type(None), InfAuthorizationFailed]
    assert accounts.superusers() == 1


async def test_changes_come_in_the_order_of_the_calls(accounts: Accounts, folder: Path) -> None:
    creating = asyncio.create_task(accounts.create(User("bob"), None, connection=object()))
    await asyncio.sleep(0)
    assert accounts.busy
    changes = [
        asyncio.create_task(
            accounts.modify("bob", lambda user, n=n: replace(user, models=(*user.models, str(n))))
        )
        for n in range(10)
    ]
    await asyncio.sleep(0)
    await accounts.settled()
    assert creating.done()
    bob = accounts.user("bob")
    assert bob
    assert bob.models == tuple(map(str, range(10)))
    await asyncio.gather(creating, *changes)
    assert not accounts.busy
    assert bob in on_disk(accounts, folder)


async def test_cancelled_callers_leave_table_and_store_alike(
    accounts: Accounts, folder: Path
) -> None:
    heard: list[User | None] = []
    accounts.on_change(lambda old, new: heard.append(new))
    for steps in range(12):
        for call in (
            accounts.update("ada", acclimit=steps + 1),
            accounts.create(User(f"new{steps}"), None, connection=object()),
            accounts.delete("new1"),
        ):
            task = asyncio.ensure_future(call)
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await accounts.settled()
    users = accounts.users()
    assert not accounts.busy
    assert [user for user in heard if user and user.username == "ada"]
    assert on_disk(accounts, folder) == users


async def test_a_full_disk_is_one_line_and_changes_nothing(
    accounts: Accounts, folder: Path
) -> None:
    before = accounts.users()
    heard: list[User | None] = []
    accounts.on_change(lambda old, new: heard.append(new))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        with pytest.raises(StoreError, match="room") as error:
            await accounts.update("ada", system_prompt="x" * 200_000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "\n" not in str(error.value)
    assert accounts.users() == before
    assert heard == []
    await accounts.update("ada", system_prompt="short")
    assert [user.system_prompt for user in on_disk(accounts, folder)] == ["short", ""]


async def test_after_closing_changes_are_refused(accounts: Accounts) -> None:
    accounts.close()
    with pytest.raises(StoreError, match="shutting down"):
        await accounts.update("ada", batch_set=1)
