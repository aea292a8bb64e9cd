"""Who computes now: the machine's cores, given out call by call.

Threads that compute at one moment never exceed the cores (more collapse: ggml's barriers spin
while their partners are not scheduled), nor a user's MAX_PROC_THREADS. `Policy` decides; it is
pure: no threads, no clock of its own. `Scheduler` is the thin shell around it through which
worker threads wait, each for its own `Turn`, and are woken directly by whoever made room.

Rules: the oldest waiting request goes first; one that cannot run because of its own user's limit
does not hold up others. Several waiting divide what is free, each at least one thread. A
background request (a run far ahead of its reader) gets what nobody else wants, but is served
before all others once it has waited `STARVED` seconds.
"""

from __future__ import annotations

import threading
import time
from _thread import allocate_lock
from dataclasses import dataclass

# Section 9 of the contract: a run ahead of its reader still gets a token a second.
STARVED = 1.0


@dataclass(slots=True)
class Share:
    """One user's part of the cores. `max_threads` may be changed at any time; 0 reads as 1."""

    key: str
    max_threads: int
    in_use: int = 0

    @property
    def room(self) -> int:
        """How many more threads may compute for this user now."""
        return max(1, self.max_threads) - self.in_use


class Turn:
    """One worker's place in the queue and the threads it holds. See `Scheduler.turn`."""

    __slots__ = (
        "_gate",
        "_scheduler",
        "background",
        "cancelled",
        "held",
        "share",
        "since",
        "waiting",
        "want",
    )

    def __init__(self, scheduler: Scheduler, share: Share) -> None:
        self.share = share
        self.want = 1
        self.background = False
        self.since = 0.0
        self.held = 0
        self.waiting = False
        self.cancelled = False
        self._scheduler = scheduler
        self._gate = allocate_lock()
        self._gate.acquire()

    def acquire(self, want: int, background: bool = False) -> int:
        """Wait until at most `want` threads may compute; how many. 0: cancelled.

        What is held already is given back first, behind those that wait.
        """
        return self._scheduler._acquire(self, want, background)

    def renew(self, want: int, background: bool = False) -> int:
        """As `acquire`, between two calls of a run: keeps what is held while nobody waits."""
        policy = self._scheduler.policy
        held = self.held
        share = self.share
        if (
            held
            and not policy.queue
            and not self.cancelled
            and (held == want or (held < want and not policy.free))
            and share.in_use <= (share.max_threads or 1)
            and (held == 1 or not policy.single)
        ):
            return held
        return self._scheduler._acquire(self, want, background)

    def release(self) -> None:
        """Give back what is held, if anything."""
        if self.held:
            self._scheduler._release(self)

    def cancel(self) -> None:
        """End the wait, and answer every later one with 0 until `rearm`. From any thread."""
        self._scheduler._cancel(self)

    def rearm(self) -> None:
        """Let it wait again."""
        self.cancelled = False

    def position(self) -> int:
        """1 for the next to be served; 0 when it does not wait."""
        return self._scheduler._position(self)


class Policy:
    """The rules alone. Its caller holds a lock and tells the time in seconds."""

    def __init__(self, cores: int) -> None:
        if cores < 1:
            raise ValueError("there must be a core")
        self.cores = cores
        self.free = cores
        self.queue: list[Turn] = []
        self.single = False
        """Whether foreign load was noticed: then nobody gets more than one thread."""
        self._busy = 0.0
        self._last = 0.0
        self._load = _ForeignLoad()

    def enter(self, turn: Turn, now: float) -> None:
        """Put `turn` at the end of the queue."""
        turn.since = now
        turn.waiting = True
        self.queue.append(turn)

    def leave(self, turn: Turn) -> None:
        """Take a waiting turn out of the queue."""
        turn.waiting = False
        self.queue.remove(turn)

    def give_back(self, turn: Turn, now: float) -> None:
        """`turn` no longer computes."""
        self._advance(now)
        self.free += turn.held
        turn.share.in_use -= turn.held
        turn.held = 0

    def _take(self, turn: Turn, n: int, now: float) -> None:
        self._advance(now)
        self.free -= n
        turn.share.in_use += n
        turn.held = n

    def _advance(self, now: float) -> None:
        self._busy += (self.cores - self.free) * (now - self._last)
        self._last = now

    def at_once(self, turn: Turn, want: int, now: float) -> bool:
        """Serve `turn` without the queue, if nobody is in it and there is room."""
        if self.queue or not self.free or turn.share.room <= 0:
            return False
        self._take(turn, min(1 if self.single else want, turn.share.room, self.free), now)
        return True

    def dispatch(self, now: float) -> list[Turn]:
        """Grant what can be granted; the turns that no longer wait, in the order served."""
        if not self.queue or not self.free:
            return []
        served: list[Turn] = []
        starved = [t for t in self.queue if t.background and now - t.since >= STARVED]
        for turn in starved:
            self._serve(turn, 1, now, served)
        for background in (False, True):
            waiting = [
                t
                for t in self.queue
                if t.waiting and t.background is background and t.share.room > 0
            ]
            for i, turn in enumerate(waiting):
                if not self.free:
                    break
                self._serve(turn, self.free // (len(waiting) - i), now, served)
        if served:
            self.queue = [t for t in self.queue if t.waiting]
        return served

    def _serve(self, turn: Turn, part: int, now: float, served: list[Turn]) -> None:
        want = 1 if self.single else turn.want
        n = min(want, max(1, part), turn.share.room, self.free)
        if n > 0:
            turn.waiting = False
            self._take(turn, n, now)
            served.append(turn)

    def observe(self, now: float, processor: float) -> None:
        """Compare processor time (of the process, in seconds) with what was given out."""
        self._advance(now)
        self.single = self._load.observe(now, processor, self._busy)


class _ForeignLoad:
    """Notices that others use our cores: our threads get less processor time than they hold.

    A window of a fifth of a second in which the process got under 80 % of the time of the
    threads given out counts as foreign load (alone it measures 95 % or more, beside one busy
    process on two cores about 67 %). Then one thread is granted for a second, and after each
    further such window twice as long, to 16 s; a good window forgets.
    """

    WINDOW, LEAST, FIRST, LONGEST = 0.2, 0.8, 1.0, 16.0

    def __init__(self) -> None:
        self._start: tuple[float, float, float] | None = None
        self._until = 0.0
        self._pause = self.FIRST

    def observe(self, now: float, processor: float, busy: float) -> bool:
        """Whether only one thread should be granted; `busy`: thread-seconds given out so far."""
        if now < self._until:
            self._start = None
            return True
        if self._start is None:
            self._start = (now, processor, busy)
            return False
        began, processor_then, busy_then = self._start
        if now - began < self.WINDOW:
            return False
        given = busy - busy_then
        self._start = (now, processor, busy)
        # With the cores mostly idle the comparison says nothing. A long window is no reason to
        # look away: beside a busy process a single call of two threads may take seconds.
        if given < max(self.WINDOW, (now - began) / 2):
            return False
        if processor - processor_then >= self.LEAST * given:
            self._pause = self.FIRST
            return False
        self._until = now + self._pause
        self._pause = min(2 * self._pause, self.LONGEST)
        self._start = None
        return True


class Scheduler:
    """The cores of this machine, for worker threads."""

    def __init__(self, cores: int) -> None:
        """`cores`: how many threads may compute at one moment, at least 1."""
        self.policy = Policy(cores)
        self._lock = threading.Lock()

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
        return self._acquire(turn, want, background)

    def release(self, share: Share, n: int) -> None:
        """Give back the `n` threads of an `acquire`."""
        turn = Turn(self, share)
        turn.held = n
        self._release(turn)

    def observe(self) -> None:
        """To be called after calls of several threads: notices foreign load."""
        with self._lock:
            self.policy.observe(time.monotonic(), time.process_time())

    def changed(self) -> None:
        """A share's max_threads was raised: somebody who waits may go on."""
        with self._lock:
            self._dispatch()

    def _dispatch(self) -> None:
        for turn in self.policy.dispatch(time.monotonic()):
            turn._gate.release()

    def _acquire(self, turn: Turn, want: int, background: bool) -> int:
        policy = self.policy
        now = time.monotonic()
        with self._lock:
            if turn.held:
                policy.give_back(turn, now)
            if turn.cancelled:
                self._dispatch()
                return 0
            want = max(1, want)
            if policy.at_once(turn, want, now):
                return turn.held
            turn.want = want
            turn.background = background
            policy.enter(turn, now)
            self._dispatch()
        # Whoever grants or cancels opens the gate once; if it was this thread, it is open.
        turn._gate.acquire()
        return turn.held

    def _release(self, turn: Turn) -> None:
        with self._lock:
            self.policy.give_back(turn, time.monotonic())
            if self.policy.queue:
                self._dispatch()

    def _cancel(self, turn: Turn) -> None:
        with self._lock:
            turn.cancelled = True
            if turn.waiting:
                self.policy.leave(turn)
                turn._gate.release()

    def _position(self, turn: Turn) -> int:
        with self._lock:
            if not turn.waiting:
                return 0
            return sorted(self.policy.queue, key=lambda t: t.background).index(turn) + 1
