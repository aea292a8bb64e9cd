"""Every operation on a user, for every kind of caller and target, against section 4.

`expected` states the contract's order of checks once more, in the fewest words.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.world import World, takes_confirmation

from infd.accounts.user import ALL_FLAGS, User
from infd_protocol import codes
from infd_protocol.operations import OPERATIONS, SUPERUSER

# What each operation takes beside USERNAME and ACCTOK: values that are right.
EXTRA: dict[str, dict[str, Any]] = {
    "inf_delete_user": {},
    "inf_modify_user_model_access_limit": {"ACCLIMIT": 1},
    "inf_modify_user_maximum_context_length": {"CTXLENGTH": 1},
    "inf_modify_user_batch_size": {"BATCH_SET": 1},
    "inf_modify_user_processor_thread_count": {"PROC_THREADS": 1},
    "inf_modify_user_max_processor_thread_count": {"MAX_PROC_THREADS": 1},
    "inf_modify_user_system_prompt": {},
    "inf_modify_user_make_superuser": {},
    "inf_modify_user_unmake_superuser": {},
    "inf_modify_user_accept_models": {"MODEL": []},
    "inf_modify_user_set_authority_flags": {"AUTHFLAGS": []},
    "inf_modify_user_sampling_set": {"TEMP": 1},
    "inf_modify_user_access_token": {},
}
ROOM = User("x", acclimit=3, ctxlength=100, batch_set=100, max_proc_threads=4, proc_threads=4)
CALLERS = {
    "root": replace(ROOM, username="root", is_super=True),
    "manager": replace(ROOM, username="manager", flags=ALL_FLAGS),
    "nobody": replace(ROOM, username="nobody"),
}
TARGETS = {
    "plain": User("plain"),
    "static": User("static", is_static=True),
    "boss": User("boss", is_super=True),
    "rock": User("rock", is_super=True, is_static=True),
}


def test_every_operation_on_a_user_is_here() -> None:
    on_users = {
        name
        for name, row in OPERATIONS.items()
        if name.startswith("inf_modify_user_") or name == "inf_delete_user"
        if "USERNAME" in row.by_name
    }
    assert set(EXTRA) == on_users


def expected(
    op: str, caller: User, target: User | None, name: str, token_fits: bool, superusers: int
) -> int:
    row = OPERATIONS[op]
    oneself = name == caller.username
    if op == "inf_modify_user_access_token":
        authorised = caller.is_super or oneself
    elif row.flag == SUPERUSER:
        authorised = caller.is_super
    else:
        authorised = caller.is_super or row.flag in caller.flags
    if not authorised:
        return codes.INF_AUTHORIZATION_FAILED
    if target is None:
        return codes.INF_USER_NOT_FOUND
    if not caller.is_super and (target.is_static or target.is_super):
        return codes.INF_AUTHORIZATION_FAILED
    if op == "inf_delete_user" and oneself:
        return codes.INF_CANT_DELETE_SELF
    if takes_confirmation(op) and not token_fits:
        return codes.INF_AUTHORIZATION_FAILED
    if op == "inf_modify_user_unmake_superuser" and target.is_super and superusers == 1:
        return codes.INF_AUTHORIZATION_FAILED
    return codes.INF_SUCCESS


@pytest.mark.parametrize("name", CALLERS)
@pytest.mark.parametrize("op", EXTRA)
async def test_who_may(tmp_path: Path, op: str, name: str) -> None:
    caller = CALLERS[name]
    world = World(tmp_path, *CALLERS.values(), *TARGETS.values())
    seen = []
    for target in ("missing", *TARGETS, name):
        # The wrong one first: the right one may delete the target. Then either right one.
        tokens = ("wrong", f"token-{target if len(target) % 2 else name}")
        for token in tokens if takes_confirmation(op) else tokens[1:]:
            world.clock += 10_000  # nobody is slowed down here
            keys = dict(EXTRA[op], USERNAME=target)
            if takes_confirmation(op):
                keys["ACCTOK"] = token
            before = world.accounts.user(target)
            superusers = world.accounts.superusers()
            code = await world.code(name, op, **keys)
            want = expected(op, caller, before, target, token != "wrong", superusers)
            assert code == want, (op, name, target, token)
            if code != codes.INF_SUCCESS:
                assert world.accounts.user(target) is before
            seen.append(code)
    assert len(seen) == (12 if takes_confirmation(op) else 6)
    await world.close()


@pytest.mark.parametrize("op", EXTRA)
async def test_parameters_come_after_authority_and_before_the_target(
    tmp_path: Path, op: str
) -> None:
    world = World(tmp_path, *CALLERS.values())
    keys = dict(EXTRA[op], USERNAME="missing", SPARE=1)
    if takes_confirmation(op):
        keys["ACCTOK"] = "wrong"
    assert await world.code("root", op, **keys) == codes.INF_INVALID_PARAMS
    if OPERATIONS[op].flag:
        assert await world.code("nobody", op, **keys) == codes.INF_AUTHORIZATION_FAILED
    del keys["SPARE"]
    for key in keys:
        short = {k: v for k, v in keys.items() if k != key}
        if not OPERATIONS[op].by_name[key].optional:
            assert await world.code("root", op, **short) == codes.INF_INVALID_PARAMS
    assert await world.code("root", op, **keys) == codes.INF_USER_NOT_FOUND
    assert await world.code(None, op, **keys) == codes.INF_SESSION_TOKEN_MISMATCH
    await world.close()


@pytest.mark.parametrize("key", ["PROC_THREADS", "CTXLENGTH", "ACCLIMIT", "BATCH_SET"])
async def test_nobody_gives_more_than_their_own_limit(tmp_path: Path, key: str) -> None:
    world = World(tmp_path, *CALLERS.values(), *TARGETS.values())
    op = {
        "PROC_THREADS": "inf_modify_user_processor_thread_count",
        "CTXLENGTH": "inf_modify_user_maximum_context_length",
        "ACCLIMIT": "inf_modify_user_model_access_limit",
        "BATCH_SET": "inf_modify_user_batch_size",
    }[key]
    own = world.user("manager").limit(key)
    for name in ("plain", "manager"):
        assert await world.code("manager", op, USERNAME=name, **{key: own}) == codes.INF_SUCCESS
        refused = await world.code("manager", op, USERNAME=name, **{key: own + 1})
        assert refused == codes.INF_AUTHORIZATION_FAILED
        assert world.user(name).limit(key) == own
    assert await world.code("root", op, USERNAME="plain", **{key: own + 1}) == codes.INF_SUCCESS
    await world.close()


async def test_the_last_superuser_cannot_be_unmade(tmp_path: Path) -> None:
    world = World(tmp_path, *CALLERS.values(), TARGETS["boss"])
    unmake = "inf_modify_user_unmake_superuser"
    outcomes = await asyncio.gather(
        world.start("root", unmake, USERNAME="boss", ACCTOK="token-root"),
        world.start("boss", unmake, USERNAME="root", ACCTOK="token-boss"),
        return_exceptions=True,
    )
    # The second finds its caller no superuser any more.
    codes_seen = [getattr(outcome, "code", None) for outcome in outcomes]
    assert codes_seen == [None, codes.INF_AUTHORIZATION_FAILED]
    code = await world.code("root", unmake, USERNAME="root", ACCTOK="token-root")
    assert code == codes.INF_AUTHORIZATION_FAILED
    assert world.accounts.superusers() == 1
    await world.close()
