"""Who the cores are given to: users (`Share`) and the places of their workers (`Place`).

A place may stand for several users at once (one computation for all of them): `parts` says how
the time that it used is divided between them. What ranks and limits them is who pays:

- Each thread of such a place is paid for by one of its users: one that may have another thread,
  rather not one whose own place waits that was served less than this one, then the one whom a free
  core would go to. It counts and is charged as that user's alone. Who pays is looked at anew
  whenever somebody else is to be served; while nobody waits, those served least pay.
- So every user has its part of the cores for places that compute for it, however small its part in
  a place of several is, and what others pay for is not held against it. Were it, a place of its
  own would wait for ever beside one that computes for it and for somebody served less.

Limit: what a user gets in threads that others pay for comes on top of its part of the cores and of
its max_threads. The owner of a place of several sees to the users' limits in it, over time.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(slots=True, eq=False)
class Share:
    """One user's part of the cores. `max_threads` may be changed at any time; 0 reads as 1."""

    key: str
    max_threads: int
    in_use: int = 0
    """Threads that it has or pays for now."""
    own: int = 0
    """Those of them in places that are its alone."""
    used: float = 0.0
    """Processor time used for it so far, in seconds; up to date after `Policy.settle`."""
    virtual: float = 0.0
    given: float = 0.0
    """What it got in places of several less what it paid there, in seconds, while it is there."""
    floor: float = 0.0
    """The virtual time of this user's places."""
    active: int = 0
    left: float = 0.0
    next: float = inf
    """The virtual time of the least served of its own places that wait; noted at a dispatch."""

    @property
    def room(self) -> int:
        """How many more threads may compute for this user now."""
        return max(1, self.max_threads) - self.in_use

    @property
    def served(self) -> float:
        """Its virtual time by what was computed for it, not by what it paid."""
        return self.virtual + self.given


class Place:
    """One worker's place in the queue and what it holds. The owner sets `want`, `background`
    and, while it neither waits nor holds anything, `parts` (weights sum to 1)."""

    __slots__ = (
        "background",
        "began",
        "call",
        "calls",
        "held",
        "left",
        "parts",
        "payers",
        "since",
        "used",
        "virtual",
        "waiting",
        "want",
    )

    def __init__(self, share: Share) -> None:
        self.parts: tuple[tuple[Share, float], ...] = ((share, 1.0),)
        self.payers: list[Share] = []
        """Whose each thread is that it holds."""
        self.want = 1
        self.background = False
        self.waiting = False
        self.held = 0
        self.since = 0.0
        self.began = 0.0
        self.calls = 0
        """How often what is held was used: calls since `began`."""
        self.call = 0.0
        """The usual length of one call, in seconds."""
        self.used = 0.0
        self.virtual = 0.0
        self.left = 0.0

    @property
    def least(self) -> Share:
        """The user by which it ranks, and who pays for its next thread."""
        parts = self.parts
        if len(parts) == 1:
            return parts[0][0]
        return min(
            (share for share, _ in parts),
            key=lambda s: (s.room <= 0, s.next < self.virtual, s.in_use, s.virtual, -s.given),
        )


def raise_least(shares: list[Share], time: float) -> None:
    """Charge `time` seconds to those served least, until all are as far."""
    level, n = 0.0, 0
    for share in sorted(shares, key=lambda s: s.virtual):
        if n and (share.virtual - level) * n >= time:
            break
        time -= (share.virtual - level) * n
        level, n = share.virtual, n + 1
    level += time / n
    for share in shares:
        share.virtual = max(share.virtual, level)
