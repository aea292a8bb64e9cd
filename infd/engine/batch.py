"""A model's batch as the event loop sees it: its threads exist while it has contexts.

One thread computes (batched.py), and one of each user's prepares prompts, so that one that takes
its time holds up neither the steps nor the prompts of others.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from infd.engine.batched import BatchEngine
from infd.engine.border import Border
from infd.engine.model import Model
from infd.engine.scheduler import Scheduler, Share
from infd.engine.seat import Seat


class _Idle:
    """A border's host that only takes commands."""

    delay = None

    def step(self) -> None:
        """Never asked for."""

    def shut(self) -> None:
        """There is nothing to free."""


class Batch:
    """Made with the model; used on the event loop's thread."""

    def __init__(
        self,
        model: Model,
        scheduler: Scheduler,
        name: str,
        budget: Callable[[], float] = lambda: inf,
    ) -> None:
        """`name`: the model's, for the threads' names. `budget`: the tokens that all its contexts
        may have together; asked on the computing thread."""
        self._budget = budget
        self._model = model
        self._scheduler = scheduler
        self._name = name
        self._engine: BatchEngine | None = None
        self._computing: Border | None = None
        self._preparing: dict[Share, Border] = {}
        self._seats: list[Share] = []
        """Whose they are."""

    def join(self, seat: Seat) -> tuple[Border, Border]:
        """Take a seat in; the computing and the preparing border. Raises ContextError."""
        preparing = self._preparing.get(seat.share)
        if preparing is None:
            preparing = Border("prompts", _Idle())
            preparing.start()
        computing = self._computing
        if computing is None:
            engine = BatchEngine(self._model, self._scheduler, self._budget)
            computing = Border(f"+{self._name}", engine)
            try:
                computing.start()
            except BaseException:
                preparing.begin_close()
                raise
            engine.hold, engine.tell = computing.hold, computing.tell
            engine.wanted = computing.waiting
            self._engine, self._computing = engine, computing
        self._preparing[seat.share] = preparing
        self._seats.append(seat.share)
        seat.engine = self._engine
        return computing, preparing

    async def leave(self, seat: Seat) -> None:
        """A seat has left. With its user's last one the thread for its prompts ends, with the last
        of all the other one; returns when they are gone."""
        ending: list[Border] = []
        self._seats.remove(seat.share)
        if seat.share not in self._seats:
            ending.append(self._preparing.pop(seat.share))
        if not self._seats and self._computing is not None:
            ending.append(self._computing)
            self._computing = self._engine = None
        for border in ending:
            border.begin_close()
        for border in ending:
            await border.closed()
