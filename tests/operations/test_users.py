"""Creating, changing, showing and deleting users, through dispatch, over a real store."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.world import Connection, World

from infd.accounts.user import ALL_FLAGS, Flag, User
from infd_protocol import codes
from infd_protocol.errors import (
    InfAuthorizationFailed,
    InfInvalidParams,
    InfModelNameMismatch,
    InfSessionTokenMismatch,
    PktInternalError,
)

ROOM = User("x", acclimit=2, ctxlength=100, batch_set=100, max_proc_threads=4, proc_threads=4)
ADA = replace(ROOM, username="ada", models=("beta",))
CLERK = replace(ROOM, username="clerk", flags=frozenset({Flag.USER_CREATE_DELETE}))
ROOT = replace(ROOM, username="root", is_super=True)
LIMITS = {"ACCLIMIT": 1, "CTXLENGTH": 64, "BATCH_SET": 0, "MAX_PROC_THREADS": 2, "PROC_THREADS": 1}
SAMPLING = {
    "TOP_K": 40, "TOP_P": 0.9, "MIN_P": 0.1, "TYPICAL_P": 0.8, "TEMP": 0.7, "REPEAT_N": 32,
    "REPEAT_PENALTY": 1.1, "REPEAT_PRESENT": 0.5, "REPEAT_FREQUENCY": -0.5, "REPEAT_LF": False,
    "REPEAT_EOT": True, "MIROSTAT_V2_TAU": 5.0, "MIROSTAT_V2_ETA": 0.1,
}  # fmt: skip
MODELS_OP = "inf_modify_user_accept_models"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    opened = World(tmp_path, ROOT, CLERK, ADA)
    yield opened
    await opened.close()


def new(name: str, **more: Any) -> dict[str, Any]:
    return {"USERNAME": name, "AUTHFLAGS": [], **LIMITS, **more}


async def shown(world: World, name: str) -> tuple[dict[str, Any], str | None]:
    result = await world.call("root", "inf_get_user", USERNAME=name)
    return result.keys, result.data


# Creating


async def test_everything_given_is_stored_and_shown(world: World) -> None:
    flags = [Flag.USER_MODIFICATION.value, Flag.MODEL_LOAD_UNLOAD.value]
    keys = new("bob", **SAMPLING, ISSUPER=1, ISSTATIC=1) | {"AUTHFLAGS": flags}
    made = await world.call("root", "inf_create_new_user", **keys, data="Be brief.")
    token = made.keys["ACCTOK"]
    assert len(token) == 43
    stored, prompt = await shown(world, "bob")
    assert stored == {**keys, "AUTHFLAGS": sorted(flags), "MODEL": []}
    assert type(stored["ISSUPER"]) is int
    assert prompt == "Be brief."
    assert await world.code(None, "inf_access_request", USERNAME="bob", ACCTOK=token) == 2000


async def test_a_chosen_token_is_answered_and_works(world: World) -> None:
    made = await world.call("root", "inf_create_new_user", **new("bob", ACCTOK="chosen-one"))
    assert made.keys == {"ACCTOK": "chosen-one"}
    login = await world.call(None, "inf_access_request", USERNAME="bob", ACCTOK="chosen-one")
    world.stoks["bob"] = login.keys["STOK"]
    assert (await world.call("bob", "inf_get_user", USERNAME="bob")).data == ""


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({}, codes.INF_SUCCESS),
        ({"BATCH_SET": 100}, codes.INF_SUCCESS),
        ({"AUTHFLAGS": ["USER_CREATE_DELETE"]}, codes.INF_SUCCESS),
        ({"AUTHFLAGS": ["USER_MODIFICATION"]}, codes.INF_AUTHORIZATION_FAILED),
        ({"AUTHFLAGS": ["EVERYTHING"]}, codes.INF_INVALID_PARAMS),
        ({"ISSUPER": 0, "ISSTATIC": 0}, codes.INF_SUCCESS),
        ({"ISSUPER": 1}, codes.INF_AUTHORIZATION_FAILED),
        ({"ISSTATIC": 1}, codes.INF_AUTHORIZATION_FAILED),
        ({"ISSUPER": True}, codes.INF_INVALID_PARAMS),
        ({"ACCLIMIT": 3}, codes.INF_AUTHORIZATION_FAILED),
        ({"CTXLENGTH": 101}, codes.INF_AUTHORIZATION_FAILED),
        ({"BATCH_SET": 0}, codes.INF_AUTHORIZATION_FAILED),
        ({"PROC_THREADS": 5}, codes.INF_AUTHORIZATION_FAILED),
        ({"MAX_PROC_THREADS": 5}, codes.INF_AUTHORIZATION_FAILED),
        ({"TEMP": 1}, codes.INF_AUTHORIZATION_FAILED),
        ({"data": "Obey."}, codes.INF_AUTHORIZATION_FAILED),
        ({"data": ""}, codes.INF_SUCCESS),
        ({"USERNAME": "ada"}, codes.INF_USER_ALREADY_EXISTS),
        ({"USERNAME": "ada", "ISSUPER": 1}, codes.INF_USER_ALREADY_EXISTS),
        ({"USERNAME": "ada", "AUTHFLAGS": ["EVERYTHING"]}, codes.INF_INVALID_PARAMS),
        ({"USERNAME": "no name"}, codes.INF_INVALID_PARAMS),
        ({"ACCTOK": "short"}, codes.INF_INVALID_PARAMS),
    ],
)
async def test_what_a_clerk_may_create(world: World, change: dict[str, Any], code: int) -> None:
    before = world.accounts.users()
    keys = new("bob", BATCH_SET=1) | change
    assert await world.code("clerk", "inf_create_new_user", **keys) == code
    assert (world.accounts.users() == before) == (code != codes.INF_SUCCESS)


async def test_who_has_no_flag_creates_nobody_whatever_is_asked(world: World) -> None:
    for keys in (new("bob"), new("ada"), {"SPARE": 1}):
        assert await world.code("ada", "inf_create_new_user", **keys) == 2008


async def test_effects_stand_in_the_order_sent(world: World) -> None:
    """Sent together on one connection, with the hash of the first one still to come."""
    connection = Connection()
    calls = [
        world.start("root", op, connection=connection, **keys)
        for op, keys in [
            ("inf_create_new_user", new("bob")),
            ("inf_modify_user_batch_size", {"USERNAME": "bob", "BATCH_SET": 7}),
            ("inf_get_user", {"USERNAME": "bob"}),
            ("inf_get_users", {}),
            ("inf_delete_user", {"USERNAME": "bob", "ACCTOK": "token-root"}),
        ]
    ]
    results = await asyncio.gather(*calls)
    assert results[2].keys["BATCH_SET"] == 7
    assert "bob" in results[3].keys["USERNAME"]
    assert world.accounts.user("bob") is None


# Changing


async def test_models_are_replaced_added_and_removed(world: World) -> None:
    async def change(models: list[str], **mode: str) -> list[str]:
        result = await world.call("root", MODELS_OP, USERNAME="ada", MODEL=models, **mode)
        assert result.keys["MODEL"] == list(world.user("ada").models)
        return list(world.user("ada").models)

    assert await change(["alpha", "alpha"]) == ["alpha"]
    assert await change(["gamma"], MODE="add") == ["alpha", "gamma"]
    assert await change(["alpha"], MODE="REMOVE") == ["gamma"]
    assert await change([]) == []


async def test_unknown_models_change_nothing_and_are_named(world: World) -> None:
    with pytest.raises(InfModelNameMismatch) as refused:
        await world.call("root", MODELS_OP, USERNAME="ada", MODEL=["x", "alpha", "y", "x"])
    assert refused.value.keys == {"MISSING": ["x", "y"]}
    assert world.user("ada").models == ("beta",)


async def test_the_access_limit_and_the_list_bind_each_other(world: World) -> None:
    with pytest.raises(InfAuthorizationFailed, match="ACCLIMIT"):
        await world.call("root", MODELS_OP, USERNAME="ada", MODEL=["alpha", "beta", "gamma"])
    limit = "inf_modify_user_model_access_limit"
    with pytest.raises(InfInvalidParams, match="ACCLIMIT"):
        await world.call("root", limit, USERNAME="ada", ACCLIMIT=0)
    await world.call("root", limit, USERNAME="ada", ACCLIMIT=1)
    assert (world.user("ada").acclimit, world.user("ada").models) == (1, ("beta",))


async def test_models_that_one_does_not_reach_cannot_be_granted(world: World) -> None:
    await world.accounts.update(
        "clerk", flags=frozenset({Flag.USER_ACCESS_MODIFICATION}), models=("alpha",)
    )
    for name in ("ada", "clerk"):
        code = await world.code("clerk", MODELS_OP, USERNAME=name, MODEL=["gamma"], MODE="add")
        assert code == codes.INF_AUTHORIZATION_FAILED
    result = await world.call("clerk", MODELS_OP, USERNAME="ada", MODEL=["alpha"], MODE="add")
    assert result.keys["MODEL"] == ["beta", "alpha"]


async def test_prompt_and_sampling_are_replaced_whole(world: World) -> None:
    prompt, sampling = "inf_modify_user_system_prompt", "inf_modify_user_sampling_set"
    await world.call("root", prompt, USERNAME="ada", data="Be \N{SNOWMAN}.")
    await world.call("root", sampling, USERNAME="ada", TEMP=1, TOP_K=3)
    assert world.user("ada").system_prompt == "Be \N{SNOWMAN}."
    await world.call("root", sampling, USERNAME="ada", REPEAT_LF=0)
    assert world.user("ada").sampling == {"REPEAT_LF": False}
    await world.call("root", sampling, USERNAME="ada")
    await world.call("root", prompt, USERNAME="ada")
    assert world.user("ada").sampling == {}
    assert world.user("ada").system_prompt == ""


async def test_superusers_are_made_and_unmade_and_flags_replaced(world: World) -> None:
    keys = {"USERNAME": "ada", "ACCTOK": "token-ada"}
    await world.call("root", "inf_modify_user_make_superuser", **keys)
    assert world.user("ada").is_super
    await world.call("ada", "inf_modify_user_unmake_superuser", USERNAME="root", ACCTOK="token-ada")
    assert not world.user("root").is_super
    for flags in (sorted(ALL_FLAGS), ["USER_MODIFICATION"]):
        await world.call("ada", "inf_modify_user_set_authority_flags", **keys, AUTHFLAGS=flags)
        assert world.user("ada").flags == set(flags)
    code = await world.code(
        "ada", "inf_modify_user_set_authority_flags", **keys, AUTHFLAGS=["NONE"]
    )
    assert code == codes.INF_INVALID_PARAMS


async def test_wrong_confirmations_slow_down_logins_too(world: World) -> None:
    delete = {"USERNAME": "ada", "ACCTOK": "guess"}
    outcomes = [await world.code("root", "inf_delete_user", **delete) for _ in range(6)]
    assert outcomes == [codes.INF_AUTHORIZATION_FAILED] * 5 + [codes.PKT_OVERLOADED]
    login = {"USERNAME": "ada", "ACCTOK": "token-ada"}
    assert await world.code(None, "inf_access_request", **login) == codes.PKT_OVERLOADED


async def test_a_new_token_ends_the_other_sessions_only(world: World) -> None:
    login = {"USERNAME": "ada", "ACCTOK": "token-ada"}
    await world.call(None, "inf_access_request", **login)
    assert len(world.sessions.of_user("ada")) == 2
    op = "inf_modify_user_access_token"
    made = await world.call("ada", op, **login, NEW_ACCTOK="chosen by ada")
    assert made.keys == {"ACCTOK": "chosen by ada"}
    assert len(world.sessions.of_user("ada")) == 1
    assert await world.code("ada", "inf_get_user", USERNAME="ada") == codes.INF_SUCCESS
    assert await world.code(None, "inf_access_request", **login) == codes.INF_AUTHORIZATION_FAILED
    made = await world.call("root", op, USERNAME="ada", ACCTOK="token-root")
    assert world.sessions.of_user("ada") == []
    login["ACCTOK"] = made.keys["ACCTOK"]
    assert await world.code(None, "inf_access_request", **login) == codes.INF_SUCCESS


async def test_a_deleted_users_sessions_are_over(world: World) -> None:
    await world.call("clerk", "inf_delete_user", USERNAME="ada", ACCTOK="token-clerk")
    assert await world.code("ada", "inf_get_context_ids") == codes.INF_SESSION_TOKEN_MISMATCH
    assert await world.code("root", "inf_get_user", USERNAME="ada") == codes.INF_USER_NOT_FOUND
    assert world.sessions.of_user("ada") == []


async def test_authority_lost_while_waiting_no_longer_counts(world: World) -> None:
    """The clerk's creation waits for its turn while root takes the flag away."""
    held = world.start("root", "inf_create_new_user", **new("first"))
    taken = world.start(
        "root", "inf_modify_user_set_authority_flags",
        USERNAME="clerk", ACCTOK="token-root", AUTHFLAGS=[],
    )  # fmt: skip
    await held
    await taken
    assert await world.code("clerk", "inf_create_new_user", **new("bob", BATCH_SET=1)) == 2008
    deleted = world.start("root", "inf_delete_user", USERNAME="clerk", ACCTOK="token-root")
    late = world.start("clerk", "inf_modify_user_access_token", USERNAME="clerk", ACCTOK="x")
    await deleted
    with pytest.raises(InfSessionTokenMismatch):
        await late


async def test_a_full_disk_is_an_incident_that_says_why(world: World) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, limits[1]))
    try:
        with pytest.raises(PktInternalError, match=r"Nothing was changed.*room") as refused:
            await world.call(
                "root", "inf_modify_user_system_prompt", USERNAME="ada", data="x" * 200_000
            )
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refused.value.keys["INCIDENT"]
    assert world.user("ada").system_prompt == ""
    code = await world.code("root", "inf_modify_user_system_prompt", USERNAME="ada", data="x")
    assert code == codes.INF_SUCCESS


# Looking


async def test_who_may_look(world: World) -> None:
    everybody = ["ada", "clerk", "root"]
    for caller in ("root", "clerk"):
        result = await world.call(caller, "inf_get_users")
        assert result.keys == {"USERNAME": everybody}
        assert await world.code(caller, "inf_get_user", USERNAME="ada") == codes.INF_SUCCESS
        assert await world.code(caller, "inf_get_user", USERNAME="x") == codes.INF_USER_NOT_FOUND
    assert await world.code("ada", "inf_get_users") == codes.INF_AUTHORIZATION_FAILED
    for name in ("root", "nobody"):
        code = await world.code("ada", "inf_get_user", USERNAME=name)
        assert code == codes.INF_AUTHORIZATION_FAILED
    assert await world.code("ada", "inf_get_user", USERNAME="ada") == codes.INF_SUCCESS
    await world.accounts.update("ada", flags=frozenset({Flag.MODEL_LOAD_UNLOAD}))
    assert await world.code("ada", "inf_get_users") == codes.INF_AUTHORIZATION_FAILED
