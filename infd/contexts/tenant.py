"""One context's place in memory, as residence.py sees it. On the loop's thread."""

from __future__ import annotations

import asyncio

from infd.contexts.residence import Residence
from infd.engine.worker import Worker


class Tenant:
    """A worker that is in use between `come_in` and `rest`."""

    def __init__(self, worker: Worker, residence: Residence) -> None:
        self._worker = worker
        self._residence = residence
        self._loop = asyncio.get_running_loop()
        self._idle_since: float | None = None
        self._started = False

    @property
    def idle_since(self) -> float | None:
        """When it was used last, on the loop's clock; None: it is in use."""
        return self._idle_since

    @property
    def asleep(self) -> bool:
        """Whether it is out of memory, and not on its way in."""
        return self._worker.asleep and self._idle_since is not None

    @property
    def takes(self) -> int:
        """What it takes of memory, or will when it has come in, in bytes."""
        return self._worker.memory.total or self._worker.needs

    async def come_in(self) -> None:
        """It is made, or used: others make room for it if they have to."""
        asleep = self._worker.asleep or not self._started
        self._started = True
        self._idle_since = None
        # In a batch others' KV leaves the slots for this one's and stays in memory.
        if asleep or not self._worker.needs:
            await self._residence.make_room()

    def rest(self) -> None:
        """It is not used any more."""
        self._idle_since = self._loop.time()
        self._residence.idled()

    async def swap_out(self, *, unsaved: bool) -> bool:
        """Leave memory until the next use; False: it stays, and counts as used now."""
        if self._idle_since is None:
            return False
        out = await self._worker.swap_out(unsaved=unsaved)
        if not out and self._idle_since is not None:
            self._idle_since = self._loop.time()
        return out
