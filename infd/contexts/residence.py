"""Which contexts stay in memory: who is saved to disk, and when.

Rules:
- A context that nobody has used for `context_swap_idle` seconds is saved, if it can be.
- Before another one comes into memory (it is made, or used again), the idle ones that were used
  the longest time ago go out, as many as it takes to stay within `context_memory`. That is a
  limit for idle ones only: contexts in use stay, and one that is wanted always comes in.
- When llama.cpp has no memory for a new context, idle ones of about its size go out, and it is
  tried again.
- What goes out for want of memory and cannot be saved is lost, and computed again at its next
  use; what is merely idle stays then, and is looked at again later.

The first half is pure. All on the loop's thread; the saving is the workers' (Worker.swap_out).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

import structlog

from infd.models.memory import given_back

_log = structlog.get_logger("infd.contexts")


class Resident(Protocol):
    """A context, as far as its place in memory goes."""

    @property
    def asleep(self) -> bool:
        """Whether it is out of memory."""

    @property
    def idle_since(self) -> float | None:
        """When it was used last, on the loop's clock; None: it is in use."""

    @property
    def takes(self) -> int:
        """What it takes of memory, or will when it has come in, in bytes."""

    async def swap_out(self, *, unsaved: bool) -> bool:
        """Leave memory until the next use; False: it stays, and counts as used now."""


def idle_too_long(residents: Iterable[Resident], now: float, limit: float) -> list[Resident]:
    """Those in memory that nobody has used for `limit` seconds, the longest idle first."""
    idle = _by_idleness(residents)
    return [resident for since, resident in idle if now - since >= limit]


def next_look(residents: Iterable[Resident], limit: float) -> float | None:
    """When the next one will have been idle for `limit` seconds; None: there is none."""
    idle = _by_idleness(residents)
    return idle[0][0] + limit if idle else None


def pressed_out(residents: Sequence[Resident], free: int) -> list[Resident]:
    """Idle ones, the longest idle first, that free so many bytes; all there are if they don't."""
    out: list[Resident] = []
    for _, resident in _by_idleness(residents):
        if free <= 0:
            break
        if resident.takes:
            out.append(resident)
            free -= resident.takes
    return out


def _by_idleness(residents: Iterable[Resident]) -> list[tuple[float, Resident]]:
    idle = [(r.idle_since, r) for r in residents if not r.asleep]
    known = [(since, r) for since, r in idle if since is not None]
    return sorted(known, key=lambda pair: pair[0])


class Residence:
    """The daemon's contexts, and the timer that looks after them."""

    def __init__(
        self,
        contexts: Callable[[], Sequence[Resident]],
        *,
        idle: float,
        memory: int,
        beside: Callable[[], int] = lambda: 0,
    ) -> None:
        """`idle`: seconds, 0 for never. `memory`: bytes for contexts in memory and what
        `beside` counts, the prefixes kept for them."""
        self._contexts = contexts
        self._idle = idle
        self._memory = memory
        self._beside = beside
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._look: asyncio.Task[None] | None = None
        self._pressing = asyncio.Lock()
        self._closed = False

    def idled(self) -> None:
        """A context has nothing to do any more."""
        # A look that is under way ends with one at when the next is due.
        looking = self._look is not None and not self._look.done()
        if self._idle and self._timer is None and not looking and not self._closed:
            self._timer = self._loop.call_later(self._idle, self._look_soon)

    async def make_room(self) -> None:
        """Before a context comes into memory; it is among the contexts, and in use."""
        async with self._pressing:
            held = [context for context in self._contexts() if not context.asleep]
            over = sum(context.takes for context in held) + self._beside() - self._memory
            await self._press(held, over)

    async def press(self, need: int) -> bool:
        """llama.cpp had no memory for a context of `need` bytes: whether some was freed."""
        async with self._pressing:
            if not 0 < need <= self._memory:
                return False
            return await self._press(self._contexts(), need)

    async def close(self) -> None:
        """Nothing is saved any more."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        if self._look is not None:
            await asyncio.wait({self._look})

    async def _press(self, contexts: Sequence[Resident], free: int) -> bool:
        out = 0
        for context in pressed_out(contexts, free):
            out += await context.swap_out(unsaved=True)
        if out:
            _log.info("idle contexts left memory", contexts=out, wanted=free)
            await given_back()
        return out > 0

    def _look_soon(self) -> None:
        self._timer = None
        if not self._closed:
            self._look = self._loop.create_task(self._save_idle())

    async def _save_idle(self) -> None:
        out = 0
        for context in idle_too_long(self._contexts(), self._loop.time(), self._idle):
            if self._closed:
                return
            out += await context.swap_out(unsaved=False)
        if out:
            _log.debug("idle contexts were saved", contexts=out)
            await given_back()
        due = next_look(self._contexts(), self._idle)
        if due is not None and self._timer is None and not self._closed:
            self._timer = self._loop.call_at(due, self._look_soon)
