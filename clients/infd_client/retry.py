"""When to try a lost connection again: growing pauses, jitter, a total time. No clock of its own.
And what is told of it.

The total counts from the loss until the daemon *answers* on a new connection: one that
accepts and hangs up at once is still away.
"""

from __future__ import annotations

import random
from collections.abc import Callable

FIRST_PAUSE = 0.05
"""Seconds before the second attempt; the first is made at once. Doubles from there."""

LONGEST_PAUSE = 2.0
"""Seconds; a daemon that restarts is found within this time of being up."""


class Retry:
    """The attempts after one loss."""

    def __init__(self, total: float) -> None:
        self.total = total
        self._ends: float | None = None
        self._pause = 0.0

    def answered(self) -> None:
        """The daemon is back: the next loss starts anew."""
        self._ends = None
        self._pause = 0.0

    def pause(self, now: float) -> float | None:
        """Seconds to wait before the next attempt, or None when the total is used up."""
        if self._ends is None:
            self._ends = now + self.total
        left = self._ends - now
        if left <= 0:
            return None
        pause, self._pause = self._pause, min(max(self._pause * 2, FIRST_PAUSE), LONGEST_PAUSE)
        # Jitter, so that the clients of a daemon that restarts do not come all at once.
        return min(left, pause * random.uniform(0.5, 1.0))


class Changes:
    """Tells what becomes of the connection: "lost", "away" (given up), and "back", once, at the
    first answer after either."""

    def __init__(self, tell: Callable[[str], object]) -> None:
        self._tell = tell
        self._gone = False

    def gone(self, change: str) -> None:
        """There is no connection now: "lost" or "away"."""
        self._gone = True
        self._tell(change)

    def answered(self) -> None:
        """The daemon has answered."""
        if self._gone:
            self._gone = False
            self._tell("back")
