"""A model's batch as the event loop sees it: its threads exist while it has contexts.

One thread computes (batched.py), one prepares prompts, so that a template that takes its time
does not hold up the steps of others.
"""

from __future__ import annotations

from infd.engine.batched import BatchEngine
from infd.engine.border import Border
from infd.engine.model import Model
from infd.engine.scheduler import Scheduler
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

    def __init__(self, model: Model, scheduler: Scheduler, name: str) -> None:
        """`name`: the model's, for the threads' names."""
        self._model = model
        self._scheduler = scheduler
        self._name = name
        self._engine: BatchEngine | None = None
        self._borders: tuple[Border, Border] | None = None
        self._seats = 0

    def join(self, seat: Seat) -> tuple[Border, Border]:
        """Take a seat in; the computing and the preparing border. Raises ContextError."""
        if self._borders is None:
            engine = BatchEngine(self._model, self._scheduler)
            computing, preparing = Border(f"+{self._name}", engine), Border("prompts", _Idle())
            computing.start()
            try:
                preparing.start()
            except BaseException:
                computing.begin_close()
                raise
            engine.hold, engine.tell = computing.hold, computing.tell
            self._engine, self._borders = engine, (computing, preparing)
        self._seats += 1
        seat.engine = self._engine
        return self._borders

    async def leave(self) -> None:
        """A seat has left. With the last one the threads end; returns when they are gone."""
        self._seats -= 1
        if self._seats or self._borders is None:
            return
        borders, self._borders, self._engine = self._borders, None, None
        for border in borders:
            border.begin_close()
        for border in borders:
            await border.closed()
