"""Who computes next on a GPU, over seconds of a simulated one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.machine import Context, Machine, jain, max_min

from infd.engine.policy import CREDIT, PAUSE, QUANTUM
from infd.engine.scheduler import AT_A_GPU, STARVED, Scheduler, Share

CALL = st.floats(0.005, 0.05)
USERS = st.lists(
    st.tuples(st.integers(0, 20), st.lists(CALL, min_size=1, max_size=9)), min_size=1, max_size=5
)
"""Of each user: MAX_PROC_THREADS, and the calls of its contexts."""


def least(users: Sequence[tuple[int, list[float]]]) -> int:
    """What the user can use who can use least."""
    return min(min(max(1, limit), len(calls)) for limit, calls in users)


@example(calls=16, users=[(16, [0.003] * 8)])
@example(calls=16, users=[(16, [0.003] * 8), (16, [0.003])])
@example(calls=16, users=[(16, [0.003] * 8), (16, [0.003] * 4)])
@example(calls=16, users=[(16, [0.003] * 8), (16, [0.003]), (16, [0.003])])
@example(calls=2, users=[(16, [0.003] * 8), (16, [0.003]), (16, [0.003])])
@given(calls=st.integers(1, 16), users=USERS)
@settings(max_examples=25, deadline=None)
def test_calls_in_flight_are_shared_max_min_and_who_is_alone_has_all(
    calls: int, users: list[tuple[int, list[float]]]
) -> None:
    machine = Machine(calls, gpu=True)
    shares = [Share(str(i), limit) for i, (limit, _) in enumerate(users)]
    for share, (_, lengths) in zip(shares, users, strict=True):
        for length in lengths:
            machine.add(share, call=length)
    seconds = 6.0
    machine.run(seconds)
    fair = max_min(calls, [float(least(users))] * len(users))
    for share, part in zip(shares, fair, strict=True):
        assert share.used == pytest.approx(seconds * part, rel=0.05, abs=0.5)
    # Nobody starves: see the same of the cores.
    longest = max(QUANTUM, *(context.call for context in machine.contexts))
    for context in machine.contexts:
        turns = len(users) * sum(other.share is context.share for other in machine.contexts)
        assert context.longest_wait(seconds) <= 2 * turns * (QUANTUM + longest) + CREDIT


COMING = st.tuples(CALL, st.floats(0, 1), st.floats(0, 1))


@given(users=st.lists(st.lists(COMING, min_size=1, max_size=4), min_size=1, max_size=4))
@settings(max_examples=25, deadline=None)
def test_whoever_comes_and_goes_each_call_is_given_to_one_who_may_have_it(
    users: list[list[tuple[float, float, float]]],
) -> None:
    """There are calls for all: who has the fewest contexts never waits, and who has more in
    flight than another could use has given it back after a call of each."""
    machine = Machine(AT_A_GPU, gpu=True)
    shares = [Share(str(i), AT_A_GPU) for i in range(len(users))]
    for share, contexts in zip(shares, users, strict=True):
        for call, begin, pause in contexts:
            machine.add(share, call=call, pause=(begin, begin + pause))
    longest = max(context.call for context in machine.contexts)
    turns = [context.turn for context in machine.contexts]
    since = dict.fromkeys(shares, 0.0)
    original = machine.check

    def check() -> None:
        original()
        there = {s: sum(t.share is s and (t.held or t.waiting) for t in turns) for s in shares}
        bound = min((n for n in there.values() if n), default=AT_A_GPU)
        for share in shares:
            if share.in_use <= bound:
                since[share] = machine.now
            assert machine.now - since[share] <= longest + 1e-9
            if there[share] == bound:
                assert share.in_use == bound or machine.scheduler.policy.most < bound

    machine.check = check  # type: ignore[method-assign]
    machine.run(2.5)


def held_at_most(machine: Machine, contexts: Sequence[Context], since: float) -> list[float]:
    """The most calls that the user of the contexts has at one moment from `since` on."""
    most = [0.0]
    original = machine.check

    def check() -> None:
        original()
        if machine.now >= since:
            most[0] = max(most[0], contexts[0].share.in_use)

    machine.check = check  # type: ignore[method-assign]
    return most


@pytest.mark.parametrize("rest", [0.0005, PAUSE * 0.9])
def test_who_rests_between_two_calls_is_still_there(rest: float) -> None:
    machine = Machine(AT_A_GPU, gpu=True)
    light, heavy = Share("ada", 16), Share("bob", 16)
    many = [machine.add(heavy, call=0.002) for _ in range(12)]
    one = machine.add(light, call=0.002, rest=rest, begin=0.5)
    most = held_at_most(machine, many, 0.51)
    machine.run(3.0)
    assert most == [1.0]
    # It never waits for a call of another's.
    assert one.longest_wait(3.0) - rest <= 0.5 + 1e-9
    assert min(b - a for a, b in zip(one.began, one.began[1:], strict=False)) == pytest.approx(
        0.002 + rest
    )


def test_who_is_gone_holds_up_nobody() -> None:
    machine = Machine(AT_A_GPU, gpu=True)
    light, heavy = Share("ada", 16), Share("bob", 16)
    for _ in range(8):
        machine.add(heavy, call=0.002)
    machine.add(light, call=0.002, pause=(1.0, 9.0))
    machine.run(1.0)
    assert heavy.used == pytest.approx(1.0, rel=0.02)
    assert jain([light.used, heavy.used]) >= 0.999
    machine.run(1.0 + PAUSE + QUANTUM + 0.002)
    before = heavy.used
    machine.run(2.0)
    assert heavy.used - before == pytest.approx(8 * (2.0 - 1.0 - PAUSE - QUANTUM), rel=0.02)


def test_background_work_is_aside() -> None:
    """It neither holds anybody to a call, nor takes of the GPU what others would have."""
    machine = Machine(AT_A_GPU, gpu=True)
    ahead, behind = Share("ada", 16), Share("bob", 16)
    front = [machine.add(ahead, call=0.002, pause=(10.0, 20.0)) for _ in range(4)]
    back = [machine.add(behind, call=0.002, background=True) for _ in range(3)]
    machine.run(10.0)
    assert ahead.used == pytest.approx(40.0, rel=0.01)
    for context in front:
        assert context.longest_wait(10.0) <= 1e-9
    for context in back:
        assert context.longest_wait(10.0) <= STARVED + QUANTUM + 0.01
        assert len(context.began) <= 10.0 / STARVED + 2
    before = behind.used
    machine.run(20.0)
    assert behind.used - before == pytest.approx(30.0, rel=0.01)


@pytest.mark.parametrize("part", [0.5, 1.0])
def test_a_part_of_a_call_for_several_is_no_call_of_its_own(part: float) -> None:
    """Who has a part of one computes beside it, also when it may have one call only."""
    scheduler = Scheduler(AT_A_GPU, gpu=True)
    ada, bob = Share("ada", 1), Share("bob", 1)
    together, own, second = scheduler.turn(ada), scheduler.turn(ada), scheduler.turn(ada)
    together.parts = ((ada, part), (bob, 1 - part))
    policy = scheduler.policy
    for turn in (together, own, second):
        policy.enter(turn, 0.0)
        policy.dispatch(0.0)
    assert [turn.held for turn in (together, own, second)] == [1, 1, 0]


def test_a_run_gives_back_what_is_too_much_at_its_next_call() -> None:
    scheduler = Scheduler.of_gpus()
    ada, bob = Share("ada", 16), Share("bob", 16)
    many = [scheduler.turn(ada) for _ in range(3)]
    assert [turn.acquire(1) for turn in many] == [1, 1, 1]
    assert [turn.keep(1) for turn in many] == [1, 1, 1]
    one = scheduler.turn(bob)
    assert one.acquire(1) == 1
    assert [turn.keep(1) for turn in (*many, one)] == [0, 0, 0, 1]
