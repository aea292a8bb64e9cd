"""Budgets: never more than there is, and a user's share where others reach the model too."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infd.models.budget import Budget, Reservation
from infd_protocol.errors import InfInvalidParams, InfModelContextFull


def take(budget: Budget, size: int, user: str = "ada", sharers: int = 2) -> Reservation:
    return budget.reserve(size, user=user, user_is_super=False, sharers=sharers)


def test_it_is_never_exceeded_and_given_back_once() -> None:
    budget = Budget("m", 1000, 1.0)
    first = take(budget, 600)
    with pytest.raises(InfModelContextFull, match="400 of its 1000"):
        take(budget, 401)
    take(budget, 400)
    assert (budget.used, budget.free, budget.contexts) == (1000, 0, 2)
    first.release()
    first.release()
    assert (budget.used, budget.contexts) == (400, 1)


def test_a_user_holds_a_share_when_others_reach_the_model() -> None:
    budget = Budget("m", 1000, 0.5)
    held = take(budget, 300)
    with pytest.raises(InfModelContextFull, match="ada holds 300"):
        take(budget, 201)
    take(budget, 200)
    take(budget, 500, user="bob")
    held.release()
    assert take(budget, 300).ctxsize == 300


def test_alone_or_as_a_superuser_one_may_hold_it_all() -> None:
    budget = Budget("m", 1000, 0.5)
    take(budget, 1000, sharers=1).release()
    budget.reserve(1000, user="root", user_is_super=True, sharers=9)


def test_it_shrinks_to_what_is_in_use_only() -> None:
    budget = Budget("m", 1000, 1.0)
    take(budget, 600)
    budget.resize(600)
    with pytest.raises(InfInvalidParams, match="600"):
        budget.resize(599)
    budget.resize(5000)
    assert budget.free == 4400


def test_who_is_refused_learns_whose_contexts_are_counted_and_how_to_end_them() -> None:
    budget = Budget("m", 1000, 0.5)
    with pytest.raises(InfModelContextFull) as none:
        take(budget, 1001, sharers=1)
    assert str(none.value.detail).endswith("1000 of its 1000 tokens of context left.")
    assert none.value.keys == {"LIMIT": 1000}
    take(budget, 700, sharers=1)
    for size, sharers, fits in ((400, 1, 300), (1, 2, 0)):
        with pytest.raises(InfModelContextFull) as own:
            take(budget, size, sharers=sharers)
        assert own.value.keys == {"LIMIT": fits}
        assert "ada holds 700" in own.value.detail
        assert "in all of its sessions" in own.value.detail
        assert "inf_end_sessions with USERNAME=ada" in own.value.detail
    with pytest.raises(InfModelContextFull) as others:
        take(budget, 400, user="bob", sharers=1)
    assert "other users hold the rest" in others.value.detail
    assert "inf_end_sessions" not in others.value.detail


async def test_idle_is_when_the_last_reservation_is_released() -> None:
    budget = Budget("m", 1000, 1.0)
    await budget.idle()
    held = [take(budget, 10), take(budget, 10)]
    waiting = [asyncio.create_task(budget.idle()) for _ in range(2)]
    held[0].release()
    await asyncio.sleep(0)
    assert not any(task.done() for task in waiting)
    held[1].release()
    await asyncio.gather(*waiting)
    assert budget.used == 0


@given(st.lists(st.tuples(st.booleans(), st.sampled_from("abc"), st.integers(1, 400)), max_size=60))
def test_used_is_always_the_sum_of_what_is_held(steps: list[tuple[bool, str, int]]) -> None:
    budget = Budget("m", 1000, 0.5)
    held: list[Reservation] = []
    for takes, user, size in steps:
        if takes:
            try:
                held.append(take(budget, size, user))
            except InfModelContextFull:
                mine = sum(r.ctxsize for r in held if r.user == user)
                assert size > budget.free or mine + size > 500
        elif held:
            held.pop(size % len(held)).release()
        assert budget.used == sum(r.ctxsize for r in held) <= 1000
        assert budget.contexts == len(held)
