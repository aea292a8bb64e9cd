"""A simulated machine whose cores, or whose GPU, a real scheduler gives out.

`Machine` drives real turns of a real scheduler as workers do (a call, `renew`, the next call),
with the time in its hands and without threads: a turn that must wait is remembered and goes on
when its gate is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from heapq import heappop, heappush
from itertools import combinations, count, pairwise
from typing import Any
from unittest.mock import patch

from infd.engine import scheduler as module
from infd.engine.scheduler import Scheduler, Share


class Context:
    """A context that always has something to compute, from `begin` on."""

    def __init__(
        self,
        machine: Machine,
        share: Share,
        *,
        call: float,
        want: int = 1,
        background: bool = False,
        begin: float = 0.0,
        pause: tuple[float, float] = (0.0, 0.0),
        rest: float = 0.0,
        parts: tuple[tuple[Share, float], ...] = (),
    ) -> None:
        """`call`: processor seconds of one call, however many threads share it. `pause`: from
        when to when it has nothing to compute. `rest`: how long it holds nothing after each
        call. `parts`: whom it computes for, if for several; `share` is no user's then."""
        self.machine = machine
        self.turn = machine.scheduler.turn(share)
        self.share, self.call, self.want, self.background = share, call, want, background
        self.pause, self.rest = pause, rest
        if parts:
            self.turn.parts = parts
        self.turn._gate = Gate(self)  # type: ignore[assignment]
        self.began: list[float] = []
        machine.at(begin, self.ask)

    def ask(self) -> None:
        """The next call: at once, or when the gate is opened."""
        begin, end = self.pause
        if begin <= self.machine.now < end:
            self.turn.release()
            self.machine.at(end, self.ask)
            return
        if self.turn.renew(self.want, self.background):
            self.go()

    def go(self) -> None:
        machine = self.machine
        self.began.append(machine.now)
        over = machine.now + self.call / self.turn.held
        machine.at(over, self.leave if self.rest else self.ask)

    def leave(self) -> None:
        """Nothing to compute for a moment."""
        self.turn.release()
        self.machine.at(self.machine.now + self.rest, self.ask)

    def longest_wait(self, end: float) -> float:
        """The longest time from the end of a call, or the start, to the beginning of the next."""
        times = [*(self.began[:1] or [0.0]), *self.began, end]
        return max(b - a for a, b in pairwise(times)) - self.call


class Gate:
    """In the place of a turn's lock."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def acquire(self) -> None:
        """The turn waits: `renew` returns 0."""

    def release(self) -> None:
        self.context.machine.at(self.context.machine.now, self.context.go)


class Machine:
    """Cores, or a GPU's calls, and what happens on them when."""

    def __init__(self, cores: int, *, gpu: bool = False) -> None:
        self.scheduler = Scheduler(cores, gpu=gpu)
        self.gpu = gpu
        self.now = 0.0
        self.contexts: list[Context] = []
        self._number = count()
        self._coming: list[tuple[float, int, Callable[[], None]]] = []

    def at(self, when: float, what: Callable[[], None]) -> None:
        heappush(self._coming, (when, next(self._number), what))

    def add(self, share: Share, **given: Any) -> Context:
        self.contexts.append(Context(self, share, **given))
        return self.contexts[-1]

    def run(self, until: float) -> None:
        """Let `until` come, looking at every rule after everything that happens."""
        with self.clock():
            while self._coming and self._coming[0][0] <= until:
                self.now, _, what = heappop(self._coming)
                what()
                self.check()
            self.now = until
            self.scheduler.settle()

    @contextmanager
    def clock(self) -> Iterator[None]:
        with patch.object(module, "monotonic", lambda: self.now):
            yield

    def check(self) -> None:
        turns = [context.turn for context in self.contexts]
        policy = self.scheduler.policy
        assert sum(t.held for t in turns) + policy.free == policy.cores
        assert policy.free >= 0
        for share in {t.share for t in turns}:
            assert sum(t.held for t in turns if t.share is share) <= max(1, share.max_threads)
        if not self.gpu:
            for share in {share for t in turns for share, _ in t.parts}:
                assert share.in_use <= max(1, share.max_threads)
        if policy.free:
            # Background work leaves a core to one that computes on fewer than it wants.
            spare = bool(policy.hungry())
            assert not [t for t in turns if t.waiting and policy._room(t) > 0 and not (
                t.background and spare
            )]  # fmt: skip


def jain(values: Sequence[float]) -> float:
    """1 when all are equal, 1/n when one has everything."""
    return sum(values) ** 2 / (len(values) * sum(value * value for value in values))


def max_min(cores: float, most: Sequence[float]) -> list[float]:
    """What each gets when nobody may have more than its `most` and nobody can be given more
    without taking from one that has less."""
    given = [0.0] * len(most)
    open_ = set(range(len(most)))
    while open_ and cores > 1e-9:
        step = min(cores / len(open_), *(most[i] - given[i] for i in open_))
        for i in open_:
            given[i] += step
        cores -= step * len(open_)
        open_ = {i for i in open_ if most[i] - given[i] > 1e-9}
    return given


def groups(n: int) -> list[set[int]]:
    """All that `n` users can be divided into, but none."""
    return [set(group) for k in range(1, n + 1) for group in combinations(range(n), k)]


def max_min_of_places(
    cores: float, most: Sequence[float], places: Sequence[Collection[int]]
) -> list[float]:
    """As `max_min`, where each can have only the places that are said to be for it, and a place
    gives one core, to all of them together."""
    given = [0.0] * len(most)
    open_ = set(range(len(most)))
    while open_:
        left = [
            (
                min(cores, float(sum(not group.isdisjoint(p) for p in places)))
                - sum(given[i] for i in group),
                group,
            )
            for group in groups(len(most))
        ] + [(most[i] - given[i], {i}) for i in open_]
        step = min(room / len(group & open_) for room, group in left if group & open_)
        for i in open_:
            given[i] += step
        full = [group for room, group in left if room - step * len(group & open_) < 1e-9]
        open_.difference_update(*full)
    return given
