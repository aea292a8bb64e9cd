"""Whose requests are handled next, when connections have more of them than are handled in one go.

Rules: one connection at a time, a slice each, in the order of users and of a user's connections;
what others send meanwhile is handled between the slices. While something computes a slice is
followed by as long a pause: the loop holds the interpreter, which the computing threads need too.

Whose requests took more than `PART` of a core for long waits until they have not, as long as
something computes or somebody else asks for anything: the loop's time is nowhere else divided
among users. One request is never divided, so its time is what others may have to wait for.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from math import inf
from time import perf_counter
from typing import Protocol

# Of a core, in the long run; and what may be taken in advance, in seconds.
PART, GRACE = 0.25, 0.25
# Seconds for which who asked for anything is there, and between two looks whether anybody is.
THERE, LOOK = 1.0, 0.05
# Users and addresses that are remembered before those who are even are forgotten.
_MANY = 1024


class Taker(Protocol):
    """A connection with requests to handle."""

    @property
    def whose(self) -> str:
        """With whose connections it shares turns."""

    def go_on(self) -> None:
        """Handle some; it calls `Turns.add` again if there are more."""


class Turns:
    """The daemon's. `busy` says whether something computes. On the loop's thread."""

    def __init__(self, busy: Callable[[], bool]) -> None:
        self._busy = busy
        self._waiting: dict[str, deque[Taker]] = {}
        self._scheduled = False
        self._held: asyncio.TimerHandle | None = None
        """The next look, when all who wait took too much."""
        self._even: dict[str, float] = {}
        """When what was taken is made up for, on the clock of perf_counter."""
        self._latest, self._latest_at = "", -inf
        """Who was handled last, and when; and who else before."""
        self._other_at = -inf

    def add(self, taker: Taker) -> None:
        """Let it have a turn."""
        self._waiting.setdefault(taker.whose, deque()).append(taker)
        if self._held is not None:
            self._held.cancel()
            self._held = None
            self._scheduled = False
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def charge(self, whose: str, seconds: float) -> None:
        """Somebody's requests took so much processor time of the loop's thread."""
        now = perf_counter()
        if whose != self._latest:
            self._other_at, self._latest = self._latest_at, whose
        self._latest_at = now
        even = self._even
        even[whose] = max(even.get(whose, 0.0), now) + seconds / PART
        if len(even) > _MANY:
            self._even = {who: at for who, at in even.items() if at > now}

    def wait(self, whose: str) -> float:
        """Seconds for which somebody's requests should wait now."""
        now = perf_counter()
        wait = self._even.get(whose, 0.0) - now - GRACE / PART
        if wait <= 0:
            return 0.0
        others = self._other_at if whose == self._latest else self._latest_at
        return wait if now - others < THERE or self._busy() else 0.0

    def _next(self) -> None:
        self._held = None
        loop = asyncio.get_running_loop()
        waits = {whose: self.wait(whose) for whose in self._waiting}
        whose = next((whose for whose, wait in waits.items() if not wait), None)
        if whose is None:
            self._held = loop.call_later(min(LOOK, *waits.values()), self._next)
            return
        theirs = self._waiting.pop(whose)
        taker = theirs.popleft()
        if theirs:
            self._waiting[whose] = theirs  # behind the others
        began = perf_counter()
        try:
            taker.go_on()
        finally:
            self._scheduled = bool(self._waiting)
            if self._scheduled:
                pause = perf_counter() - began if self._busy() else 0.0
                loop.call_later(pause, self._next)
