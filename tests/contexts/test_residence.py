"""Who is saved to disk and when: the rules, and the timer that follows them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infd.contexts.residence import Residence, idle_too_long, next_look, pressed_out


@dataclass(eq=False)
class Someone:
    """A resident of the tests' own."""

    idle_since: float | None = 0.0
    takes: int = 100
    asleep: bool = False
    can_be_saved: bool = True
    asked: list[bool] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)

    async def swap_out(self, *, unsaved: bool) -> bool:
        self.asked.append(unsaved)
        if self.asleep or self.idle_since is None or not (self.can_be_saved or unsaved):
            if self.idle_since is not None:
                self.idle_since = asyncio.get_running_loop().time()
            self.left.set()
            return False
        self.asleep = True
        self.left.set()
        return True


RESIDENTS = st.lists(
    st.builds(
        Someone,
        idle_since=st.none() | st.floats(0, 100),
        takes=st.integers(0, 1000),
        asleep=st.booleans(),
    ),
    max_size=12,
)


@given(RESIDENTS, st.integers(-500, 5000))
def test_pressed_out_are_idle_ones_as_few_as_do(residents: list[Someone], free: int) -> None:
    out = pressed_out(residents, free)
    assert len({id(r) for r in out}) == len(out)
    assert all(not r.asleep and r.idle_since is not None and r.takes for r in out)
    freed = [r.takes for r in out]
    able = [r for r in residents if not r.asleep and r.idle_since is not None and r.takes]
    assert sum(freed) >= free or len(out) == len(able)
    assert not freed or sum(freed[:-1]) < free
    since = [r.idle_since or 0.0 for r in out]
    assert since == sorted(since)
    stay = [r.idle_since or 0.0 for r in able if r not in out]
    assert not since or not stay or max(since) <= min(stay)


@given(RESIDENTS, st.floats(0, 200), st.floats(0.1, 100))
def test_idle_too_long_and_the_next_look_agree(
    residents: list[Someone], now: float, limit: float
) -> None:
    out = idle_too_long(residents, now, limit)
    assert all(not r.asleep and r.idle_since is not None for r in out)
    rest = [r for r in residents if r not in out]
    assert idle_too_long(rest, now, limit) == []
    due = next_look(rest, limit)
    watched = [r for r in rest if not r.asleep and r.idle_since is not None]
    assert (due is None) == (not watched)
    assert due is None or idle_too_long(rest, due + 1e-6, limit)


def house(people: Sequence[Someone], *, idle: float = 0.0, memory: int = 10**9) -> Residence:
    return Residence(lambda: people, idle=idle, memory=memory, beside=lambda: 50)


async def test_room_is_made_for_one_that_comes_in() -> None:
    oldest, newer, busy, coming = Someone(1.0), Someone(2.0), Someone(None), Someone(None)
    people = [newer, oldest, busy, coming]
    await house(people, memory=450).make_room()
    assert not any(person.asleep for person in people)
    await house(people, memory=449).make_room()
    assert [person.asleep for person in people] == [False, True, False, False]
    # The limit is one for idle contexts: who is wanted comes in.
    await house(people, memory=10).make_room()
    assert [person.asleep for person in people] == [True, True, False, False]
    assert oldest.asked == newer.asked == [True]


async def test_only_what_was_refused_is_freed() -> None:
    people = [Someone(float(n)) for n in range(5)]
    residence = house(people, memory=1000)
    assert not await residence.press(0)
    assert not await residence.press(1001), "more than contexts may have at all"
    assert await residence.press(150)
    assert [person.asleep for person in people] == [True, True, False, False, False]
    assert await residence.press(1000)
    assert all(person.asleep for person in people)
    assert not await residence.press(1000)


async def test_idle_ones_are_saved_when_their_time_has_come() -> None:
    loop = asyncio.get_running_loop()
    early, late, busy = Someone(loop.time()), Someone(loop.time() + 0.05), Someone(None)
    residence = house([late, early, busy], idle=0.05)
    for person in (early, late):
        residence.idled()
        await person.left.wait()
        assert person.asleep
        assert person.idle_since is not None
        assert loop.time() >= person.idle_since + 0.05
    assert early.asked == late.asked == [False]
    assert busy.asked == []
    await residence.close()


async def test_what_cannot_be_saved_is_asked_again_only_after_another_while() -> None:
    loop = asyncio.get_running_loop()
    person = Someone(loop.time(), can_be_saved=False)
    residence = house([person], idle=0.02)
    began = loop.time()
    residence.idled()
    for n in range(1, 4):
        await person.left.wait()
        person.left.clear()
        assert loop.time() - began >= n * 0.02
        assert person.asked == [False] * n
    await residence.close()


@dataclass(eq=False)
class Slow(Someone):
    """One whose saving takes until the test lets it end."""

    begun: asyncio.Event = field(default_factory=asyncio.Event)
    may_end: asyncio.Event = field(default_factory=asyncio.Event)

    async def swap_out(self, *, unsaved: bool) -> bool:
        self.begun.set()
        out = super().swap_out(unsaved=unsaved)
        await self.may_end.wait()
        return await out


async def test_nobody_looks_while_somebody_is_being_saved() -> None:
    loop = asyncio.get_running_loop()
    slow, other = Slow(loop.time()), Someone(loop.time() + 3600)
    residence = house([slow, other], idle=0.01)
    residence.idled()
    await slow.begun.wait()
    slow.begun.clear()
    residence.idled()
    later = loop.create_future()
    loop.call_later(0.05, later.set_result, None)
    await later
    assert not slow.begun.is_set()
    slow.may_end.set()
    await slow.left.wait()
    assert slow.asked == [False]
    # Who becomes idle now is looked at in its time.
    other.idle_since = loop.time()
    residence.idled()
    await other.left.wait()
    await residence.close()


@pytest.mark.parametrize("idle", [0.0, 0.01])
async def test_never_and_after_the_end_nothing_is_saved(idle: float) -> None:
    person = Someone(0.0)
    residence = house([person], idle=idle)
    if idle:
        residence.idled()
        await residence.close()
    residence.idled()
    later = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.05, later.set_result, None)
    await later
    assert person.asked == []
    await residence.close()
