"""Single threads that fill the machine each have a processor of their own; nobody else has."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from queue import SimpleQueue

import pytest

from infd.engine.scheduler import Scheduler, Share

ALL = os.sched_getaffinity(0)

pytestmark = pytest.mark.skipif(
    len(ALL) < 2, reason="needs two processors: on one there is nothing to choose"
)


class Hand:
    """A thread with a turn, which does what it is told."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.turn = scheduler.turn(Share("user", len(ALL)))
        self._orders: SimpleQueue[Callable[[], object] | None] = SimpleQueue()
        self._answers: SimpleQueue[object] = SimpleQueue()
        self._thread = threading.Thread(target=self._main)
        self._thread.start()

    def _main(self) -> None:
        self.turn.here()
        while order := self._orders.get():
            self._answers.put(order())

    def start(self, order: Callable[[], object]) -> None:
        self._orders.put(order)

    def done(self) -> object:
        return self._answers.get(timeout=60)

    def does(self, order: Callable[[], object]) -> object:
        self.start(order)
        return self.done()

    def acquire(self, want: int = 1) -> object:
        return self.does(lambda: self.turn.acquire(want))

    def processors(self) -> set[int]:
        assert self._thread.native_id is not None
        return os.sched_getaffinity(self._thread.native_id)

    def end(self) -> None:
        self.does(self.turn.release)
        self._orders.put(None)
        self._thread.join()


@pytest.fixture
def scheduler() -> Scheduler:
    return Scheduler(len(ALL))


@pytest.fixture
def hands(scheduler: Scheduler) -> Iterator[list[Hand]]:
    hands = [Hand(scheduler) for _ in range(len(ALL) + 1)]
    yield hands
    for hand in hands:
        hand.turn.cancel()
    for hand in hands:
        hand.end()


def apart(hands: list[Hand]) -> bool:
    """Whether each has one processor, and no two have the same."""
    sets = [hand.processors() for hand in hands]
    return all(len(one) == 1 for one in sets) and set().union(*sets) == ALL


def test_a_full_machine_has_each_on_its_own_until_one_leaves(hands: list[Hand]) -> None:
    *full, _ = hands
    for hand in full[:-1]:
        assert hand.acquire() == 1
        assert hand.processors() == ALL
    full[-1].acquire()
    assert apart(full)
    full[0].does(full[0].turn.release)
    assert [hand.processors() for hand in full] == [ALL] * len(full)
    full[0].acquire()
    assert apart(full)


def test_who_is_handed_a_core_wakes_up_on_the_processor_that_is_left(hands: list[Hand]) -> None:
    *full, waiting = hands
    for hand in full:
        hand.acquire()
    stay = [hand.processors() for hand in full[1:]]
    waiting.start(lambda: (waiting.turn.acquire(1), os.sched_getaffinity(0)))
    while not waiting.turn.waiting:
        threading.Event().wait(0.001)
    left = full[0].processors()
    full[0].does(full[0].turn.release)
    assert waiting.done() == (1, left)
    assert [hand.processors() for hand in full[1:]] == stay
    assert full[0].processors() == ALL


def test_a_team_may_run_anywhere_and_so_may_those_beside_it(hands: list[Hand]) -> None:
    *full, last = hands
    for hand in full:
        hand.acquire()
    for hand in full[1:]:
        hand.does(hand.turn.release)
    assert full[0].acquire(len(ALL)) == len(ALL)
    assert full[0].processors() == ALL
    assert last.processors() == ALL


def test_beside_other_processes_the_kernel_chooses(
    scheduler: Scheduler, hands: list[Hand], monkeypatch: pytest.MonkeyPatch
) -> None:
    *full, _ = hands
    for hand in full:
        hand.acquire()
    assert apart(full)
    for loaded in (True, False):
        monkeypatch.setattr(scheduler.policy._load, "observe", lambda *_, told=loaded: told)
        scheduler.observe()
        assert apart(full) is not loaded
        assert scheduler.policy.single is loaded


def test_fewer_cores_than_processors_are_nobodys_in_particular() -> None:
    few = Scheduler(1)
    hand = Hand(few)
    assert hand.acquire() == 1
    assert hand.processors() == ALL
    hand.end()


def test_a_thread_that_does_not_say_that_it_computes_is_left_alone(scheduler: Scheduler) -> None:
    turns = [scheduler.turn(Share("user", len(ALL))) for _ in ALL]
    assert [turn.acquire(1) for turn in turns] == [1] * len(ALL)
    assert os.sched_getaffinity(0) == ALL
    for turn in turns:
        turn.release()


def test_a_cancelled_wait_leaves_nobody_kept_to_a_processor(hands: list[Hand]) -> None:
    *full, late = hands
    for hand in full:
        hand.acquire()
    # Given back for another call, and then not granted any more.
    late.start(lambda: late.turn.acquire(1))
    while not late.turn.waiting:
        threading.Event().wait(0.001)
    first = full[0]
    first.start(lambda: first.turn.acquire(1, background=True))
    assert late.done() == 1
    first.turn.cancel()
    assert first.done() == 0
    first.does(first.turn.release)
    assert first.processors() == ALL
    assert apart([*full[1:], late])
