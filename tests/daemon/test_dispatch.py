"""A handler's coroutine runs at once up to its first wait, and behaves as any other after it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path
from typing import Any

import pytest
from support.world import World

from infd.accounts.user import User
from infd.dispatch import HANDLERS, Answer, Result, handler, named, require_complete, start
from infd_protocol.operations import OPERATIONS


async def finish(outcome: Answer | Awaitable[Answer]) -> Answer:
    if isinstance(outcome, Awaitable):
        return await asyncio.get_running_loop().create_task(outcome)
    return outcome


async def test_effects_stand_in_the_order_sent_whatever_waits() -> None:
    effects: list[int] = []
    gate = asyncio.Event()

    async def waits(number: int) -> Result:
        effects.append(number)
        await gate.wait()
        effects.append(number + 10)
        return Result({"N": number})

    first, second = start(waits(1)), start(waits(2))
    effects.append(3)
    assert effects == [1, 2, 3]
    gate.set()
    answers = [await finish(first), await finish(second)]
    assert answers == [Result({"N": 1}), Result({"N": 2})]
    assert sorted(effects[3:]) == [11, 12]


async def test_an_answer_without_a_wait_needs_no_task() -> None:
    async def inline() -> Result:
        return Result({"N": 1})

    assert start(inline()) == Result({"N": 1})


async def test_errors_before_and_after_the_first_wait_reach_the_caller() -> None:
    async def fails(late: bool) -> Result:
        if late:
            await asyncio.sleep(0)
        raise LookupError("here")

    with pytest.raises(LookupError):
        start(fails(late=False))
    with pytest.raises(LookupError):
        await finish(start(fails(late=True)))


async def test_a_cancelled_wait_can_be_caught_inside() -> None:
    caught = []

    async def waits() -> Result:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            caught.append(True)
            raise
        return Result()

    outcome = start(waits())
    assert isinstance(outcome, Awaitable)
    task = asyncio.ensure_future(outcome)
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert caught == [True]


def test_every_operation_has_one_handler() -> None:
    import infd.operations  # noqa: F401

    require_complete()
    assert set(HANDLERS) == set(OPERATIONS)
    with pytest.raises(ImportError, match="two handlers"):
        handler("inf_get_context_ids")(lambda call: None)
    with pytest.raises(ImportError, match="not in the operations table"):
        handler("inf_no_such_thing")


async def test_what_an_operation_was_to_change_is_known_for_the_log(tmp_path: Path) -> None:
    world: Any = World(tmp_path, User("ada"))
    for name, keys, code, told in (
        ("inf_modify_user_batch_size", {"USERNAME": "ada", "BATCH_SET": 1}, 2000, "ada"),
        ("inf_modify_user_accept_models", {"USERNAME": "ada", "MODEL": ["alpha"]}, 2008, "ada"),
        ("inf_delete_user", {"USERNAME": "gone", "ACCTOK": "x"}, 2000, "gone"),
        ("inf_delete_user", {"USERNAME": "a mistyped token", "ACCTOK": "x"}, 2021, ""),
        ("inf_load_model", {"MODEL": "alpha", "CTXSIZE": 99}, 2026, "alpha"),
        ("inf_load_model", {"MODEL": "nowhere", "CTXSIZE": 99}, 2004, ""),
        ("inf_end_sessions", {"USERNAME": 5}, 2016, ""),
        ("inf_access_request", {"USERNAME": "ada", "ACCTOK": "x"}, 2008, ""),
        ("inf_get_user", {"USERNAME": "ada"}, 2000, ""),
        ("exec_stop", {"CTXID": 1}, 3000, ""),
    ):
        assert named(world, OPERATIONS[name], keys, code) == told, name
    await world.close()
