"""Turns at preparing prompts: a template and a tokenizer work on a text before any token of it is
computed, much of it in Python, which holds the interpreter.

Rules: one prompt of a user is prepared at a time, so that one user's do not queue up before
another's. What it took is charged to the user like what is computed for it, and who took more than
`PART` of a core for long waits until it has not: text that fits no context costs nothing else. In
a batch, making room for a user's context is paid for so too: everybody's steps wait for it.

Used on the event loop's thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import TypeVar

# Of a core, in the long run; and what may be taken in advance, in seconds of processor time.
PART, GRACE = 0.5, 1.0

T = TypeVar("T")


class Preparing:
    """One user's turns."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self._even = 0.0
        """When what was taken is made up for, on the monotonic clock."""

    async def even(self) -> None:
        """Wait while the user took too much before."""
        await asyncio.sleep(self._even - monotonic() - GRACE / PART)

    def charge(self, seconds: float) -> None:
        """So much processor time was taken for the user."""
        self._even = max(self._even, monotonic()) + seconds / PART

    async def take(self, work: Callable[[], Awaitable[T]], taken: Callable[[], float]) -> T:
        """Do the work when it is the user's turn. `taken` says afterwards how much processor time
        it took, in seconds.

        Cancelled while it waits, the work is not begun; later it goes on by itself, and the user's
        next one waits for its end.
        """
        await self._turn.acquire()
        try:
            await self.even()
        except BaseException:
            self._turn.release()
            raise

        def done(doing: asyncio.Future[T]) -> None:
            self.charge(taken())
            self._turn.release()
            if not doing.cancelled():
                doing.exception()  # looked at, also where nobody waits any more

        doing = asyncio.ensure_future(work())
        doing.add_done_callback(done)
        return await asyncio.shield(doing)
