"""How many bytes of requests each user has in the daemon: begun frames, frames that wait to be
handled, and requests that are not answered yet.

Rules: every connection has its bounds, but a user may have thousands. Who has more than `MOST`
bytes in all is not read on connections with more than `SMALL` of them until some are answered;
a frame that is begun there may be late then. On the loop's thread.
"""

from __future__ import annotations

from collections import Counter
from typing import Protocol

MOST = 2**28
SMALL = 2**16


class Source(Protocol):
    """A connection that is not read."""

    def listen(self) -> None:
        """Read on, if that is right now."""


class Volumes:
    """The daemon's. `whose` is a user's name, or the address of somebody who is none yet."""

    def __init__(self) -> None:
        self._bytes: Counter[str] = Counter()
        self._stopped: dict[str, set[Source]] = {}

    def full(self, whose: str) -> bool:
        """Whether there is too much."""
        return self._bytes[whose] > MOST

    def change(self, whose: str, by: int) -> None:
        """A connection has so many bytes more, or fewer."""
        self._bytes[whose] += by
        if by < 0:
            if not self._bytes[whose]:
                del self._bytes[whose]
            if whose in self._stopped and not self.full(whose):
                for source in self._stopped.pop(whose):
                    source.listen()

    def stop(self, whose: str, source: Source) -> None:
        """It is not read: it is told when there is room again."""
        self._stopped.setdefault(whose, set()).add(source)

    def forget(self, whose: str, source: Source) -> None:
        """It is gone."""
        self._stopped.get(whose, set()).discard(source)
