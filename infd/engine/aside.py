"""A prompt computed aside: in an instance of its own, whose call lets replies go first.

A llama_decode of few rows takes more for each of them than one of many (rhythm.py), so a prompt
that is cut to what replies can wait for loses a fifth of its speed. Here it is cut to 64
tokens, and the replies beside it have their steps in the middle of its call: llama.cpp asks the
abort callback after every node of the graph, some milliseconds apart, and what is computed in
there, by another llama_context, is a step like any other.

Rules: everything happens on the batch's thread; only `abort` may be called from another. While the
call waits, its other threads spin at a barrier. They are of the lowest priority, so the step's
threads displace them: with threads of one priority such a step took 6 to 100 times as long (two
cores), with these 1.1 times. Threads that compute are never more than were granted. A
call is given up, and computed again in pieces, when something else wants the batch's thread or the
cores, because it holds both for longer than others should wait, and when other processes turn out
to use the cores: beside one, 64 tokens took 28 s instead of one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from time import perf_counter
from typing import Any

from infd.engine.instance import Instance
from infd.engine.library import lib
from infd.engine.model import Model
from infd.engine.pools import POOLS
from infd.engine.seat import Work

_LOWEST = 19
"""The niceness of the call's other threads."""
CALM = 5.0
"""Seconds without such calls after one that was given up."""


def possible(model: Model) -> bool:
    """Whether the model's prompts can be computed aside: by processors, whose calls ask between
    nodes, and given up in the middle without losing what came before."""
    info = model.info
    return POOLS.available and not (model.on_gpu or info.is_recurrent or info.n_swa)


class Aside(Instance):
    """The instance, of one slot."""

    def __init__(self, model: Model, *, ctxsize: int, flash: bool) -> None:
        """`flash`: see `Instance`. Raises ContextError."""
        super().__init__(model, slots=1, ctxsize=ctxsize, flash=flash, nice=_LOWEST)
        self.between: Callable[[], bool] = _go_on
        """Asked between nodes of the graph; True gives the call up. Must not raise."""
        self._asked = lib.ggml_abort_callback(self._ask)
        lib.llama_set_abort_callback(self.pointer, self._asked, None)

    def _ask(self, _: Any) -> bool:
        return self._flag[0] != b"\x00" or self.between()


class Interludes:
    """The replies' steps within one such call."""

    def __init__(
        self,
        replies: Sequence[Work],
        every: float,
        step: Callable[[Sequence[Work]], None],
        wanted: Callable[[], bool],
    ) -> None:
        """`replies`: there is at least one. `every`: seconds from the end of one step to the next.
        `step`: computes one. `wanted`: whether something waits for the thread or the cores."""
        self.seconds = 0.0
        """What the steps took, in all."""
        self.since = perf_counter()
        """When the last of them ended, or the call began."""
        self.given_up = False
        """Because somebody waited."""
        self.trouble: Exception | None = None
        """What a step failed of; the call was given up."""
        self._replies = replies
        self._every = every
        self._step = step
        self._wanted = wanted
        # What was made ready for the call has kept them waiting already.
        self._due = max(work.want.served for work in replies) + every

    def between(self) -> bool:
        """See `Aside.between`."""
        if self._wanted():
            self.given_up = True
            return True
        began = perf_counter()
        if began < self._due:
            return False
        try:
            self._step(self._replies)
        except Exception as error:
            self.trouble = error
            return True
        self._replies = [work for work in self._replies if work.seat.work is work]
        self.since = perf_counter()
        self.seconds += self.since - began
        self._due = self.since + self._every if self._replies else inf
        return False


def _go_on() -> bool:
    return False
