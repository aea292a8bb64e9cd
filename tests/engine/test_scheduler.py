"""The scheduler: its rules on a virtual clock, then its hand-over between real threads."""

from __future__ import annotations

import threading
from itertools import pairwise
from queue import SimpleQueue

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infd.engine.scheduler import STARVED, Policy, Scheduler, Share, Turn


class Clock:
    """A policy with turns as its callers would drive it, and the time in its hands."""

    def __init__(self, cores: int, limits: list[int]) -> None:
        self.scheduler = Scheduler(cores)
        self.policy = self.scheduler.policy
        self.shares = [Share(str(i), n) for i, n in enumerate(limits)]
        self.now = 0.0
        self.granted: list[Turn] = []

    def turn(self, share: int) -> Turn:
        return self.scheduler.turn(self.shares[share])

    def ask(self, turn: Turn, want: int = 1, background: bool = False) -> None:
        turn.want, turn.background = want, background
        self.policy.enter(turn, self.now)
        self.granted += self.policy.dispatch(self.now)

    def done(self, turn: Turn) -> None:
        self.policy.give_back(turn, self.now)
        self.granted += self.policy.dispatch(self.now)


ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "done", "cancel", "limit"]),
        st.integers(0, 7),
        st.integers(1, 6),
        st.booleans(),
        st.floats(0, 0.7),
    ),
    max_size=80,
)


@given(
    cores=st.integers(1, 5),
    limits=st.lists(st.integers(0, 5), min_size=3, max_size=3),
    actions=ACTIONS,
)
@settings(max_examples=150)
def test_nothing_is_ever_exceeded_and_no_core_idles_beside_one_that_may_run(
    cores: int, limits: list[int], actions: list[tuple[str, int, int, bool, float]]
) -> None:
    clock = Clock(cores, limits)
    turns = [clock.turn(i % 3) for i in range(8)]
    for action, i, n, background, passed in actions:
        clock.now += passed
        turn = turns[i]
        if action == "ask" and not turn.waiting and not turn.held:
            clock.ask(turn, n, background)
        elif action == "done" and turn.held:
            clock.done(turn)
        elif action == "cancel" and turn.waiting:
            clock.policy.leave(turn, clock.now)
        elif action == "limit":
            clock.shares[i % 3].max_threads = n
            clock.policy.dispatch(clock.now)
        held = [t.held for t in turns]
        assert sum(held) + clock.policy.free == cores
        assert clock.policy.free >= 0
        for share in clock.shares:
            used = sum(t.held for t in turns if t.share is share)
            assert used == share.in_use
        assert all(t.held <= t.want for t in turns)
        assert set(clock.policy.queue) == {t for t in turns if t.waiting}
        if clock.policy.free:
            # Background work also leaves a core to one that computes on fewer than it wants.
            spare = bool(clock.policy.hungry())
            assert all(
                t.share.room <= 0 for t in turns if t.waiting and not (t.background and spare)
            )
    # Everything ends: whoever holds gives back, and nobody is left waiting.
    for _ in range(len(turns)):
        clock.now += 1
        for turn in turns:
            if turn.held:
                clock.done(turn)
    assert clock.policy.free == cores
    assert not clock.policy.queue


def test_a_share_never_exceeds_its_limit_at_a_grant() -> None:
    clock = Clock(4, [2])
    first, second, third = (clock.turn(0) for _ in range(3))
    clock.ask(first, 3)
    assert first.held == 2
    clock.ask(second, 1)
    assert second.waiting
    clock.done(first)
    assert second.held == 1
    clock.ask(third, 4)
    assert third.held == 1
    # A lowered limit binds the next grant.
    clock.shares[0].max_threads = 1
    clock.ask(first, 1)
    clock.done(second)
    assert first.waiting
    clock.done(third)
    assert first.held == 1


def test_oldest_first_but_a_user_at_its_limit_holds_up_nobody() -> None:
    clock = Clock(2, [1, 2])
    busy, blocked, later, last = clock.turn(0), clock.turn(0), clock.turn(1), clock.turn(1)
    clock.ask(busy)
    other = clock.turn(1)
    clock.ask(other)
    clock.ask(blocked)
    clock.ask(later)
    clock.ask(last)
    clock.done(other)
    assert [t.held for t in (blocked, later, last)] == [0, 1, 0]
    clock.done(busy)
    assert [t.held for t in (blocked, later, last)] == [1, 1, 0]


def test_those_who_wait_divide_what_is_free() -> None:
    clock = Clock(4, [9, 9, 9])
    holder, *waiting = (clock.turn(i % 3) for i in range(4))
    clock.ask(holder, 4)
    assert holder.held == 4
    for turn in waiting:
        clock.ask(turn, 4)
    clock.done(holder)
    assert sorted(t.held for t in waiting) == [1, 1, 2]


def test_background_gets_what_nobody_wants_but_does_not_starve() -> None:
    clock = Clock(1, [9, 9])
    turns = [clock.turn(0), clock.turn(0), clock.turn(1)]
    back = turns[2]
    for turn in turns:
        clock.ask(turn, background=turn is back)
    grants: list[float] = []
    for _ in range(100):
        clock.now += 0.1
        (holder,) = (t for t in turns if t.held)
        clock.done(holder)
        clock.ask(holder, background=holder is back)
        if back.held:
            grants.append(clock.now)
    assert len(grants) >= 8
    gaps = [b - a for a, b in pairwise(grants)]
    assert min(gaps) >= STARVED
    assert max(gaps) <= STARVED + 0.3
    # With nobody else there it gets everything at once.
    idle = Clock(2, [9])
    turn = idle.turn(0)
    idle.ask(turn, 2, background=True)
    assert turn.held == 2


def test_positions_count_those_ahead() -> None:
    clock = Clock(1, [9, 9])
    holder, first, back, second = clock.turn(0), clock.turn(0), clock.turn(1), clock.turn(1)
    clock.ask(holder)
    clock.ask(first)
    clock.ask(back, background=True)
    clock.ask(second)
    # The user that computes already comes after the one that does not.
    assert [t.position() for t in (holder, second, first, back)] == [0, 1, 2, 3]


def test_a_turn_is_contended_while_others_than_background_work_wait() -> None:
    clock = Clock(1, [9, 9])
    holder, back, other = clock.turn(0), clock.turn(1), clock.turn(1)
    clock.ask(holder)
    clock.ask(back, background=True)
    assert not holder.contended
    clock.ask(other)
    assert holder.contended
    clock.done(holder)
    assert other.held
    assert not other.contended


def observe(policy: Policy, seconds: float, share_of_time: float, clock: list[float]) -> list[bool]:
    seen = []
    for _ in range(round(seconds / 0.05)):
        clock[0] += 0.05
        clock[1] += 0.05 * (policy.cores - policy.free) * share_of_time
        policy.observe(clock[0], clock[1])
        seen.append(policy.single)
    return seen


def test_foreign_load_leaves_one_thread_for_a_while() -> None:
    clock = Clock(2, [2])
    turn = clock.turn(0)
    clock.ask(turn, 2)
    time = [0.0, 0.0]
    assert not any(observe(clock.policy, 2, 0.97, time))
    loaded = observe(clock.policy, 2, 0.6, time)
    assert not loaded[0]
    assert loaded[8]
    # While it lasts everybody gets one thread.
    clock.now = time[0]
    clock.done(turn)
    clock.ask(turn, 2)
    assert turn.held == 1
    assert not any(observe(clock.policy, 5, 1.0, time)[-20:])
    clock.now = time[0]
    clock.done(turn)
    clock.ask(turn, 2)
    assert turn.held == 2


# The thin shell, on real threads. No test waits for time: each waits for what happens.


def test_threads_hand_over_directly_and_in_order() -> None:
    scheduler = Scheduler(1)
    share = Share("ada", 1)
    assert scheduler.acquire(share, 3) == 1
    order: SimpleQueue[int] = SimpleQueue()

    def wait(i: int, turn: Turn) -> None:
        assert turn.acquire(1) == 1
        order.put(i)
        turn.release()

    threads, turns = [], []
    for i in range(4):
        turn = scheduler.turn(share)
        thread = threading.Thread(target=wait, args=(i, turn))
        thread.start()
        while not turn.position():  # until it waits; each pass lets the thread run
            threading.Event().wait(0)
        threads.append(thread)
        turns.append(turn)
    assert [t.position() for t in turns] == [1, 2, 3, 4]
    scheduler.release(share, 1)
    assert [order.get() for _ in range(4)] == [0, 1, 2, 3]
    for thread in threads:
        thread.join()
    assert scheduler.in_use == share.in_use == 0


def test_a_wait_can_be_cancelled_and_armed_again() -> None:
    scheduler = Scheduler(1)
    share = Share("ada", 1)
    assert scheduler.acquire(share, 1) == 1
    turn = scheduler.turn(share)
    got: SimpleQueue[int] = SimpleQueue()
    thread = threading.Thread(target=lambda: got.put(turn.acquire(1)))
    thread.start()
    turn.cancel()  # before or while it waits
    assert got.get() == 0
    thread.join()
    assert turn.acquire(1) == 0
    turn.rearm()
    scheduler.release(share, 1)
    assert turn.acquire(1) == 1
    turn.release()
    turn.release()
    assert scheduler.in_use == 0


def test_renewing_keeps_the_cores_until_somebody_waits() -> None:
    scheduler = Scheduler(2)
    ada, bob = Share("ada", 2), Share("bob", 2)
    turn = scheduler.turn(ada)
    assert [turn.renew(2), turn.renew(2), turn.renew(1), turn.renew(2)] == [2, 2, 1, 2]
    ada.max_threads = 1
    assert turn.renew(2) == 1
    ada.max_threads = 2
    assert turn.renew(2) == 2
    other = scheduler.turn(bob)
    got: SimpleQueue[int] = SimpleQueue()
    thread = threading.Thread(target=lambda: got.put(other.acquire(2)))
    thread.start()
    while not other.position():
        threading.Event().wait(0)
    # Both wait now: each gets one, at the latest when the quantum is over.
    while (granted := turn.renew(2)) == 2:
        threading.Event().wait(0)
    assert granted == 1
    assert got.get() == 1
    thread.join()
    turn.cancel()
    assert turn.renew(2) == 0
    other.release()
    assert scheduler.in_use == 0


def test_a_raised_limit_wakes_those_it_held_up() -> None:
    scheduler = Scheduler(2)
    share = Share("ada", 1)
    assert scheduler.acquire(share, 1) == 1
    turn = scheduler.turn(share)
    got: SimpleQueue[int] = SimpleQueue()
    thread = threading.Thread(target=lambda: got.put(turn.acquire(1)))
    thread.start()
    while not turn.position():
        threading.Event().wait(0)
    share.max_threads = 2
    scheduler.changed()
    assert got.get() == 1
    thread.join()


def test_many_threads_never_compute_beyond_the_cores() -> None:
    scheduler = Scheduler(3)
    shares = [Share("ada", 1), Share("bob", 2), Share("cid", 9)]
    lock, computing, most = threading.Lock(), [0, 0, 0], 0
    problems: list[str] = []

    def work(i: int) -> None:
        nonlocal most
        turn = scheduler.turn(shares[i % 3])
        for step in range(60):
            n = turn.renew(1 + step % 3, background=step % 7 == 0)
            with lock:
                computing[i % 3] += n
                most = max(most, sum(computing))
                limit = shares[i % 3].max_threads
                if sum(computing) > 3 or computing[i % 3] > limit:
                    problems.append(f"{computing}")
            threading.Event().wait(0)
            with lock:
                computing[i % 3] -= n
            if step % 5 == 0:
                turn.release()
        turn.release()

    threads = [threading.Thread(target=work, args=(i,)) for i in range(9)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not problems
    assert most == 3
    assert scheduler.in_use == 0


def test_there_must_be_a_core() -> None:
    with pytest.raises(ValueError, match="there must be a core"):
        Scheduler(0)
