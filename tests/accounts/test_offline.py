"""Making the state folder and editing users without a daemon."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from infd.accounts import authority
from infd.accounts.offline import OfflineAccounts, init
from infd.accounts.service import Accounts
from infd.accounts.store import StoreError
from infd.accounts.user import User
from infd_protocol.errors import (
    InfAuthorizationFailed,
    InfInvalidParams,
    InfUserAlreadyExists,
    InfUserNotFound,
)


async def test_the_first_superuser_can_log_in(tmp_path: Path) -> None:
    token = await asyncio.to_thread(init, tmp_path / "state", cores=6)
    accounts = Accounts.open(tmp_path / "state")
    user = await accounts.login("admin", token, address="127.0.0.1", connection=object())
    with pytest.raises(StoreError, match="in use"):
        OfflineAccounts(tmp_path / "state")
    accounts.close()
    assert user.is_super
    assert (user.acclimit, user.ctxlength, user.batch_set) == (4294967295, 4294967295, 512)
    assert (user.proc_threads, user.max_proc_threads) == (6, 6)


def test_a_second_init_is_refused_and_points_to_the_token_command(tmp_path: Path) -> None:
    init(tmp_path, "root", "chosen token")
    with pytest.raises(StoreError, match="infd user token") as error:
        init(tmp_path, "other")
    assert "\n" not in str(error.value)
    with OfflineAccounts(tmp_path) as accounts:
        assert [user.username for user in accounts.users()] == ["root"]


@pytest.mark.parametrize(("name", "token"), [("no name", None), ("admin", "short")])
def test_a_bad_name_or_token_makes_nothing(tmp_path: Path, name: str, token: str | None) -> None:
    with pytest.raises(InfInvalidParams):
        init(tmp_path / "state", name, token)
    assert not (tmp_path / "state").exists()


def test_users_are_edited_by_the_same_rules(tmp_path: Path) -> None:
    init(tmp_path, "admin")
    with OfflineAccounts(tmp_path) as accounts:
        accounts.create(User("ada", acclimit=1), "ada's token")
        with pytest.raises(InfUserAlreadyExists):
            accounts.create(User("ada"))
        with pytest.raises(InfUserNotFound):
            accounts.set_token("bob")
        with pytest.raises(InfAuthorizationFailed, match="last superuser"):
            accounts.delete("admin")
        with pytest.raises(InfAuthorizationFailed, match="last superuser"):
            accounts.modify("admin", lambda user: replace(user, is_super=False))
        accounts.modify(
            "ada",
            lambda user: authority.accepting(authority.OPERATOR, user, ["m"], "add", ["m"]),
        )
        with pytest.raises(InfInvalidParams, match="ACCLIMIT"):
            accounts.modify(
                "ada", lambda user: authority.limited(authority.OPERATOR, user, "ACCLIMIT", 0)
            )
        accounts.modify("ada", authority.promoted)
        accounts.delete("admin")
    with OfflineAccounts(tmp_path) as accounts:
        (ada,) = accounts.users()
        assert ada.is_super
        assert ada.models == ("m",)
        assert accounts.superusers() == 1


async def test_a_lost_token_is_replaced(tmp_path: Path) -> None:
    lost = init(tmp_path, "admin", "the lost token")
    with OfflineAccounts(tmp_path) as accounts:
        token = accounts.set_token("admin")
    opened = Accounts.open(tmp_path)
    await opened.login("admin", token, address="a", connection=object())
    with pytest.raises(InfAuthorizationFailed):
        await opened.login("admin", lost, address="a", connection=object())
    opened.close()
