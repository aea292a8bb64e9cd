"""Who computes next: the rules of the scheduler, without threads and without a clock.

The caller (scheduler.py, or a test) holds a lock, tells the time in seconds, and calls `enter`,
`give_back`, `leave` and `dispatch`. What is divided is processor time: threads held times seconds
held. It is charged by what is given out, not call by call, so it is exact at every moment that
the policy is asked anything, and a run that keeps its threads costs nothing.

- Threads given out never exceed the cores, nor a user's (`Share`'s) max_threads.
- A free core goes to the user with the fewest threads at that moment; among those to the one
  served least so far; within a user to the place (one context's) served least so far. So users
  come before contexts, and a user with one context keeps a core beside one with eight.
- "Served so far" is a virtual time as in start-time fair queueing: who was away goes on at the
  present virtual time, so nothing is saved up by idling, and nobody pays later for what was
  computed while nobody else waited; who gets less than its part because of its own limit has at
  most `CREDIT` seconds to its favour.
- A user's place that is `AHEAD` of another of its that computes waits for that one, as long as
  other users' places want the core; of several such places the one least ahead goes first.
- Everybody who waits gets one thread before anybody gets a team: single threads beside each other
  do more than a team of as many. What is left over widens teams, the least served first.
- No core is idle while a place waits that may use it.
- A background place (a run far ahead of its reader) gets what no other wants, also not as a wider
  team, but goes before all others once it has waited `STARVED` seconds.
- While other processes use the cores nobody gets more than one thread (load.py).

Where a GPU computes, a thread is a call that it is given, and gpu.py says what differs.

A place may stand for several users at once; place.py says who pays for its threads then.

Limit: a context that computes on one thread can be given no more than one core while others wait.
On more than two cores a user with fewer contexts than its part of the cores therefore stays below
that part as long as others fill the machine.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heapify, heapreplace
from math import inf

from infd.engine.load import ForeignLoad
from infd.engine.place import Place, Share, raise_least

# Section 9 of the contract: a run ahead of its reader still gets a token a second.
STARVED = 1.0
# A small model makes a token in half a millisecond; handing the core over takes a fifth of that.
QUANTUM = 0.004
# The most processor time that a user held back by its own limit may catch up with, in seconds.
CREDIT = 1.0
# Away for less than this, in seconds, is the pause between two calls and not idleness.
PAUSE = 0.02
# A team is made narrower for another's sake when its user is ahead by this processor time.
AHEAD = 0.25


class Policy:
    """See the head of this module."""

    def __init__(self, cores: int) -> None:
        if cores < 1:
            raise ValueError("there must be a core")
        self.cores = cores
        self.free = cores
        self.queue: list[Place] = []
        self.running: list[Place] = []
        self.single = False
        """Whether foreign load was noticed: then nobody gets more than one thread."""
        self.tight = False
        """Whether a team may have to become narrower at its next call."""
        self.most = cores
        """The most threads that a user may hold at its next call, whatever its own limit."""
        self._virtual = 0.0
        self._active = 0
        """Places that wait or compute."""
        self._busy = 0.0
        self._last = 0.0
        self._call = 0.0
        self._load = ForeignLoad()

    # --- places come and go ------------------------------------------------------------------

    def enter(self, place: Place, now: float) -> None:
        """Let `place` wait. What it still holds is given back first."""
        self.settle(now)
        if place.held:
            self._take_back(place, now)
        else:
            self._join(place, now)
        place.since = now
        place.waiting = True
        self.queue.append(place)

    def leave(self, place: Place, now: float) -> None:
        """Take a waiting place out of the queue."""
        place.waiting = False
        self.queue.remove(place)
        self._away(place, now)

    def give_back(self, place: Place, now: float) -> None:
        """`place` no longer computes."""
        self.settle(now)
        self._take_back(place, now)
        self._away(place, now)

    def settle(self, now: float) -> None:
        """Charge what is held up to `now`."""
        passed = now - self._last
        if passed <= 0:
            return
        self._last = now
        for place in self.running:
            time = passed * place.held
            place.used += time
            place.virtual += time / len(place.parts)
            for share, weight in place.parts:
                share.used += time * weight
            if len(place.parts) == 1:
                share.virtual += time
            else:
                self._charge(place, passed)
        self._busy += (self.cores - self.free) * passed

    def _charge(self, place: Place, passed: float) -> None:
        """Let those pay who are to for what a place of several computed."""
        for share, weight in place.parts:
            share.given += passed * place.held * weight + share.virtual
        if self.queue:
            for share in place.payers:
                share.virtual += passed
        else:
            raise_least([share for share, _ in place.parts], passed * place.held)
        for share, _ in place.parts:
            share.given -= share.virtual

    def _join(self, place: Place, now: float) -> None:
        # A run that keeps its cores comes to no grant, at which the present is noted otherwise.
        for running in self.running:
            self._virtual = max(self._virtual, min(s.virtual for s in running.payers))
            for share, _ in running.parts:
                share.floor = max(share.floor, running.virtual)
        for share, _ in place.parts:
            if not share.active:
                if now - share.left > PAUSE:
                    share.given = 0.0
                share.virtual = max(share.virtual, self._start(self._virtual, now - share.left))
            share.active += 1
        self._active += 1
        # The equal of the places of that user whose are the furthest, so that these do not wait.
        furthest, n = max(s.floor for s, _ in place.parts), len(place.parts)
        place.virtual = max(place.virtual, self._start(furthest, now - place.left, CREDIT / n))

    @staticmethod
    def _start(virtual: float, away: float, credit: float = CREDIT) -> float:
        return virtual if away > PAUSE else virtual - credit

    def _away(self, place: Place, now: float) -> None:
        place.left = now
        self._active -= 1
        for share, _ in place.parts:
            share.active -= 1
            share.left = now
            # What was computed while nobody else waited is not held against who computed it.
            if not share.active:
                share.floor = max(share.floor, place.virtual)
            if not self._active:
                self._virtual = max(self._virtual, share.virtual)

    def _take_back(self, place: Place, now: float) -> None:
        self.free += place.held
        for share in place.payers:
            share.in_use -= 1
            share.own -= len(place.parts) == 1
        place.payers.clear()
        place.held = 0
        self.running.remove(place)
        call = (now - place.began) / max(1, place.calls)
        place.call = (place.call + call) / 2 if place.call else call
        self._call = (7 * self._call + place.call) / 8 if self._call else place.call

    # --- grants --------------------------------------------------------------------------------

    def dispatch(self, now: float) -> list[Place]:
        """Grant what can be granted; the places that no longer wait, in the order served."""
        if not self.queue or not self.free:
            return []
        self.settle(now)
        self._elect(now)
        served: list[Place] = []
        starved = [p for p in self.queue if p.background and now - p.since >= STARVED]
        self._singles(starved, now, served)
        self._singles([p for p in self.queue if not p.background], now, served)
        self._widen([p for p in served if not p.background])
        if self.free and not self.hungry(served):
            self._singles([p for p in self.queue if p.background and p.waiting], now, served)
            self._widen(served)
        if served:
            self.queue = [p for p in self.queue if p.waiting]
        self.tight = self.single or bool(self.hungry())
        return served

    def _singles(self, waiting: list[Place], now: float, served: list[Place]) -> None:
        while self.free:
            eligible = [p for p in waiting if p.waiting and self._room(p) > 0]
            if not eligible:
                if self._make_room(waiting):
                    continue
                return
            place = eligible[0]
            if len(eligible) > 1:
                place = min(eligible, key=lambda p: (self._lead(p), *_rank(p)))
            place.waiting = False
            place.began = now
            place.calls = 1
            self.running.append(place)
            served.append(place)
            for share, _ in place.parts:
                # Raised here and not only on joining: what is short now was not waited for.
                share.virtual = max(share.virtual, self._virtual - CREDIT)
                share.floor = max(share.floor, place.virtual)
            self._take(place)
            self._virtual = max(self._virtual, place.payers[0].virtual)

    def _lead(self, place: Place) -> float:
        """How much more it was served than another of its user's that computes now, in seconds,
        if that is so much that its user's next core is rather waited for; else 0."""
        share = place.least
        if not share.in_use:
            return 0.0
        least = min(
            (p.virtual for p in self.running if share in p.payers and not p.background),
            default=place.virtual,
        )
        return place.virtual - least if place.virtual > least + AHEAD else 0.0

    def _widen(self, places: list[Place]) -> None:
        """Give what is free to teams; it stays free for one that computes and was served less."""
        if self.single:
            return
        while self.free:
            growing = [p for p in places if self._grows(p)]
            if not growing:
                return
            place = min(growing, key=_rank)
            if any(_well_before(other, place) for other in self.hungry(places)):
                return
            self._take(place)

    def _take(self, place: Place) -> None:
        self.free -= 1
        place.held += 1
        share = place.least
        place.payers.append(share)
        share.in_use += 1
        share.own += len(place.parts) == 1

    def _elect(self, now: float) -> None:
        """Note whose own places wait, and let those pay for running places of several who are to
        by now; not whoever has had a place of its own wait for long, if another may."""
        late: dict[Share, float] = {}
        several = [p for p in (*self.running, *self.queue) if len(p.parts) > 1]
        if not several:
            return
        for place in several:
            for share, _ in place.parts:
                share.next = inf
        for place in self.queue:
            if len(place.parts) == 1 and not place.background:
                share = place.parts[0][0]
                share.next = min(share.next, place.virtual)
                if now - place.since >= STARVED:
                    late[share] = 0.0
        for share in late:
            late[share], share.next = share.next, -inf
        for place in several:
            for i, share in enumerate(place.payers):
                share.in_use -= 1
                place.payers[i] = place.least
                place.payers[i].in_use += 1
        for share in late:
            share.next = late[share]

    def _make_room(self, waiting: list[Place]) -> bool:
        """Let another user pay for what keeps one from a free core by its limit; whether any."""
        for place in self.running:
            for i, share in enumerate(place.payers if len(place.parts) > 1 else ()):
                if share.room <= 0 and any(
                    p.waiting and len(p.parts) == 1 and p.parts[0][0] is share for p in waiting
                ):
                    other = place.least
                    if other.room > 0:
                        share.in_use -= 1
                        place.payers[i] = other
                        other.in_use += 1
                        return True
        return False

    def _room(self, place: Place) -> int:
        """How many more threads it may have, as far as its users' limits go."""
        return max(share.room for share, _ in place.parts)

    def within(self, place: Place) -> bool:
        """Whether what it holds is within its users' limits, which may have been lowered."""
        for share in place.payers:  # noqa: SIM110 (at every call; a generator takes thrice as long)
            if share.in_use > (share.max_threads or 1):
                return False
        return True

    def _grows(self, place: Place) -> bool:
        return place.held < place.want and self._room(place) > 0

    def hungry(self, but: Iterable[Place] = ()) -> list[Place]:
        """Who computes on fewer threads than it wants and may have."""
        if self.single:
            return []
        return [p for p in self.running if not p.background and self._grows(p) and p not in but]

    # --- what can be told ------------------------------------------------------------------------

    def order(self) -> list[Place]:
        """Those who wait, as they would be served if nobody came or went."""
        ahead: dict[Share, int] = {}
        ranked: list[tuple[tuple[float, ...], Place]] = []
        for place in sorted(self.queue, key=lambda p: (p.background, p.virtual, p.since)):
            share = place.least
            before = ahead[share] = ahead.get(share, -1) + 1
            in_use, *rest = _rank(place)
            ranked.append(((place.background, in_use + before, *rest), place))
        return [place for _, place in sorted(ranked, key=lambda row: row[0])]

    def estimate(self, place: Place, now: float) -> float:
        """Seconds until a waiting place is probably served, from the usual length of calls."""
        if not place.waiting:
            return 0.0
        order = self.order()
        if place.background and not order[0].background:
            return max(0.0, place.since + STARVED - now)
        running = self.running
        if self._room(place) <= 0:
            share = place.least
            running = [p for p in running if share in p.payers]
            order = [p for p in order if p.least is share]
        # When each core that it could get is free next; those ahead take theirs first.
        times = [max(0.0, self._usual(p) - (now - p.began)) for p in running]
        if not times:
            return 0.0
        heapify(times)
        for other in order[: order.index(place)]:
            heapreplace(times, times[0] + self._usual(other))
        return times[0]

    def _usual(self, place: Place) -> float:
        return max(QUANTUM, place.call or self._call)

    def observe(self, now: float, processor: float, others: float | None = None) -> None:
        """Compare processor time (of the process, and of others, in seconds) with what was given
        out."""
        self.settle(now)
        self.single = self._load.observe(now, processor, self._busy, others)
        self.tight = self.single or bool(self.hungry())


def _rank(place: Place) -> tuple[float, float, float, float]:
    share = place.least
    return share.in_use, share.virtual, place.virtual, place.since


def _well_before(one: Place, other: Place) -> bool:
    """Whether a free core should rather go to `one`; not for small differences."""
    mine, its = one.least, other.least
    if mine is its:
        if one.held != other.held:
            return one.held < other.held
        return one.virtual + AHEAD < other.virtual
    if mine.in_use != its.in_use:
        return mine.in_use < its.in_use
    return mine.virtual + AHEAD < its.virtual
