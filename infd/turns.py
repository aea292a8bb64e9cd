"""Whose requests are handled next, when connections have more of them than are handled in one go.

Rules: one connection at a time, a slice each, in the order of users and of a user's connections;
what others send meanwhile is handled between the slices. While something computes, a slice is
followed by as long a pause: the loop holds the interpreter, which the computing threads need too.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from time import perf_counter
from typing import Protocol


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

    def add(self, taker: Taker) -> None:
        """Let it have a turn."""
        self._waiting.setdefault(taker.whose, deque()).append(taker)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._next)

    def _next(self) -> None:
        began = perf_counter()
        whose = next(iter(self._waiting))
        theirs = self._waiting.pop(whose)
        taker = theirs.popleft()
        if theirs:
            self._waiting[whose] = theirs  # behind the others
        try:
            taker.go_on()
        finally:
            self._scheduled = bool(self._waiting)
            if self._scheduled:
                pause = perf_counter() - began if self._busy() else 0.0
                asyncio.get_running_loop().call_later(pause, self._next)
