"""The machine's cores, given out call by call to worker threads.

Threads that compute at one moment never exceed the cores (more collapse: ggml's barriers spin
while their partners are not scheduled), nor a user's MAX_PROC_THREADS. policy.py decides;
`Scheduler` is the thin shell around it, a lock and a clock, through which worker threads wait,
each for its own `Turn`, and are woken directly by whoever made room.
"""

from __future__ import annotations

import threading
import time
from _thread import allocate_lock
from math import inf
from time import monotonic
from typing import cast

from infd.engine.gpu import GpuPolicy
from infd.engine.load import ForeignLoad
from infd.engine.pace import SLICE_MS
from infd.engine.pinning import Pinning
from infd.engine.place import Place, Share
from infd.engine.policy import QUANTUM, STARVED, Policy
from infd.engine.processors import Others

__all__ = ["AT_A_GPU", "QUANTUM", "SLICE_MS", "STARVED", "Policy", "Scheduler", "Share", "Turn"]

AT_A_GPU = 16
"""Calls that a GPU computes at one moment, at most; gpu.py says how many a user may have. Eight
contexts of a 1.1 B model make 721 tokens a second in turn, 1,192 two at a time and 2,324 all at
once (an H200). Each call keeps a thread waiting, yet more of them than processors are no loss: on
two processors four make 1,205 and eight 1,359."""


class Turn(Place):
    """One worker's place at the cores. See `Scheduler.turn`.

    `parts` says for which users it computes, with weights that sum to 1. The worker may set it
    while it holds nothing. Each thread is one user's then, within its limit; that their parts stay
    within their limits too is for its owner to see to.
    """

    __slots__ = (
        "_gate", "_policy", "_scheduler", "cancelled", "processor", "share", "thread",
    )  # fmt: skip

    def __init__(self, scheduler: Scheduler, share: Share) -> None:
        super().__init__(share)
        self.share = share
        self.cancelled = False
        self.thread = 0
        self.processor = -1
        self._scheduler = scheduler
        self._policy = scheduler.policy
        self._gate = allocate_lock()
        self._gate.acquire()

    def here(self) -> None:
        """The calling thread is the one that computes: it may be kept to a processor (pinning.py)
        while it holds one thread. Nobody else is."""
        if not self.thread:
            self.thread = threading.get_native_id()

    def acquire(self, want: int, background: bool = False) -> int:
        """Wait until at most `want` threads may compute; how many. 0: cancelled.

        What is held already is given back first, to whoever comes before.
        """
        return self._scheduler._acquire(self, want, background)

    def renew(self, want: int, background: bool = False) -> int:
        """As `acquire`, between two calls of a run: keeps what it can (see `keep`)."""
        return self.keep(want, background) or self.acquire(want, background)

    def keep(self, want: int, background: bool = False) -> int:
        """What is held, if it may be kept for another call of a run: while nobody waits, and for
        `QUANTUM` seconds also when somebody does; not so background work. 0: `acquire` says."""
        policy = self._policy
        held = self.held
        if (
            held
            and want == self.want
            and background == self.background
            and not self.cancelled
            and policy.within(self)
            and (
                not background
                and monotonic() - self.began < QUANTUM
                and (held == 1 or not policy.single)
                if policy.queue or (policy.tight and (held > 1 or background))
                else held == want or not policy.free
            )
        ):
            self.calls += 1
            return held
        return 0

    def release(self) -> None:
        """Give back what is held, if anything, and run anywhere again."""
        if self.held or self.processor >= 0:
            self._scheduler._release(self)

    def cancel(self) -> None:
        """End the wait, and answer every later one with 0 until `rearm`. From any thread."""
        self._scheduler._cancel(self)

    def rearm(self) -> None:
        """Let it wait again."""
        self.cancelled = False

    @property
    def contended(self) -> bool:
        """Whether others wait for cores, background work aside."""
        return any(not place.background for place in self._policy.queue)

    @property
    def displaced(self) -> bool:
        """Whether it holds a team although other processes use the cores."""
        return self.held > 1 and self._policy.single

    def position(self) -> int:
        """1 for the next to be served; 0 when it does not wait."""
        return self._scheduler._position(self)

    def estimate(self) -> float:
        """Seconds until it is probably served; 0.0 when it does not wait."""
        return self._scheduler._estimate(self)


class Scheduler:
    """The cores of this machine, for worker threads."""

    def __init__(self, cores: int, *, slice_ms: float = SLICE_MS, gpu: bool = False) -> None:
        """`cores`: how many threads may compute at one moment, at least 1. `slice_ms`: how long
        a call that evaluates a prompt may take beside others (pace.py), in milliseconds. `gpu`:
        they are no cores but a GPU's calls, each of one thread that waits, wherever it runs."""
        self.policy = GpuPolicy(cores) if gpu else Policy(cores)
        self.slice_ms = slice_ms
        self.widest = 1 if gpu else cores
        """The most threads that one call may want."""
        self.watch_at = inf if gpu else 0.0
        """When `watch` does something next."""
        self._others = Others()
        self._pinning = Pinning(0 if gpu else cores)
        self._lock = threading.Lock()
        self._loose: list[Turn] = []

    @classmethod
    def of_gpus(cls, *, slice_ms: float = SLICE_MS) -> Scheduler:
        """The turns at the machine's GPUs: llama.cpp spreads a model over all that it sees, so
        together they are one device."""
        return cls(AT_A_GPU, slice_ms=slice_ms, gpu=True)

    @property
    def cores(self) -> int:
        """How many threads may compute at one moment."""
        return self.policy.cores

    @property
    def in_use(self) -> int:
        """How many threads are given out now."""
        return self.policy.cores - self.policy.free

    def turn(self, share: Share) -> Turn:
        """A worker's own place; reused for all its calls."""
        return Turn(self, share)

    def acquire(self, share: Share, want: int, background: bool = False) -> int:
        """Wait for up to `want` threads without a Turn; `release(share, n)` gives them back."""
        turn = Turn(self, share)
        held = self._acquire(turn, want, background)
        self._loose.append(turn)
        return held

    def release(self, share: Share, n: int) -> None:
        """Give back the `n` threads of an `acquire`."""
        turn = next(t for t in self._loose if t.share is share and t.held == n)
        self._loose.remove(turn)
        self._release(turn)

    def watch(self, now: float) -> None:
        """To be called after calls, `now` as `perf_counter` tells it: notices foreign load, also
        its end while only one thread is granted."""
        if now >= self.watch_at and self.policy.cores > 1:
            # Once a window: a look takes a tenth of a millisecond.
            self.watch_at = now + ForeignLoad.WINDOW
            self.observe()

    def observe(self) -> None:
        """Notice foreign load now."""
        others = self._others.seconds()
        with self._lock:
            self.policy.observe(monotonic(), time.process_time(), others)
            self._arrange()

    def charge(self, share: Share, seconds: float) -> None:
        """Processor time that was used for a user beside what was given out here."""
        with self._lock:
            self.policy.settle(monotonic())
            share.used += seconds
            share.virtual += seconds

    def settle(self) -> None:
        """Bring every `Share.used` up to now."""
        with self._lock:
            self.policy.settle(monotonic())

    def changed(self) -> None:
        """A share's max_threads was raised: somebody who waits may go on."""
        with self._lock:
            self._dispatch(monotonic())

    def _dispatch(self, now: float, but: Turn | None = None) -> None:
        served = self.policy.dispatch(now)
        # Before they wake up: where they wake up is what matters.
        self._arrange()
        for place in served:
            if place is not but:
                cast(Turn, place)._gate.release()

    def _arrange(self) -> None:
        policy = self.policy
        self._pinning.arrange(cast("list[Turn]", policy.running), free=policy.single)

    def _acquire(self, turn: Turn, want: int, background: bool) -> int:
        policy = self.policy
        with self._lock:
            now = monotonic()
            if turn.cancelled:
                if turn.held:
                    policy.give_back(turn, now)
                    self._dispatch(now)
                return 0
            turn.want = max(1, want)
            turn.background = background
            policy.enter(turn, now)
            self._dispatch(now, turn)
            if not turn.waiting:
                return turn.held
        # Whoever grants or cancels opens the gate, once.
        turn._gate.acquire()
        return turn.held

    def _release(self, turn: Turn) -> None:
        with self._lock:
            now = monotonic()
            if turn.held:
                self.policy.give_back(turn, now)
            self._pinning.loosen(turn)
            self._dispatch(now)

    def _cancel(self, turn: Turn) -> None:
        with self._lock:
            turn.cancelled = True
            if turn.waiting:
                self.policy.leave(turn, monotonic())
                turn._gate.release()

    def _position(self, turn: Turn) -> int:
        with self._lock:
            return self.policy.order().index(turn) + 1 if turn.waiting else 0

    def _estimate(self, turn: Turn) -> float:
        with self._lock:
            return self.policy.estimate(turn, monotonic())
