"""A context's engine as the event loop sees it, in either placement.

Rules: every method of `Worker` is called on the event loop's thread. A worker has at most one run
at a time; every run ends in exactly one of Finished, Aborted and Failed. The model and its
renderer are shared and lock themselves. Threads are the border's business (border.py).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from time import thread_time
from typing import TYPE_CHECKING

from infd.engine.border import Border
from infd.engine.context import ContextMemory
from infd.engine.events import (
    Aborted,
    Event,
    Failed,
    Finished,
    Limits,
    Prepared,
    Progress,
    RunRequest,
    RunState,
    Text,
)
from infd.engine.generation import Engine
from infd.engine.model import Model
from infd.engine.prefixes import Shelf
from infd.engine.preparing import Preparing
from infd.engine.prompt import build_prompt
from infd.engine.scheduler import Scheduler, Share
from infd.engine.seat import Seat
from infd.engine.swap import SwapFolder, save
from infd.engine.templates import Renderer

if TYPE_CHECKING:
    from infd.engine.batch import Batch

__all__ = [
    "Aborted",
    "Event",
    "Failed",
    "Finished",
    "Limits",
    "Prepared",
    "Progress",
    "RunRequest",
    "Text",
    "Worker",
]

_ENDS = frozenset({Finished, Aborted, Failed})

Sink = Callable[[Event], None]


class Worker:
    """One context: its part of an engine, and at most one run at a time."""

    def __init__(
        self,
        model: Model,
        scheduler: Scheduler,
        share: Share,
        limits: Limits,
        *,
        ctxsize: int,
        renderer: Renderer,
        run_ahead: int = 256,
        name: str,
        batch: Batch | None = None,
        shelf: Shelf | None = None,
        swap: SwapFolder | None = None,
        preparing: Preparing | None = None,
    ) -> None:
        """`run_ahead`: tokens ahead of `read_tokens` after which a run is background work.
        `batch`: the model's batch in the batched placement; else the context has its own engine.
        `shelf`: what the user's contexts on this model share; None: nothing.
        `swap`: where it may be saved while nobody uses it; None: it stays in memory.
        `preparing`: the user's turns at preparing prompts; None: it has its own.
        """
        self.name = name
        self.failed = False
        self._model = model
        self._renderer = renderer
        self._scheduler = scheduler
        self._preparing = Preparing() if preparing is None else preparing
        self._in_preparation = False
        self._prepared_in = 0.0
        """Seconds of processor time that the latest preparation took."""
        self._batch = batch
        self._engine: Engine | Seat = (
            Engine(model, scheduler, share, limits, ctxsize=ctxsize, run_ahead=run_ahead)
            if batch is None
            else Seat(share, limits, ctxsize=ctxsize, run_ahead=run_ahead)
        )
        self._engine.shelf = shelf
        self._engine.swap = swap
        self._border: Border | None = None
        self._preparer: Border | None = None
        self._closing = False
        self._run: RunState | None = None
        self._sink: Sink | None = None
        self._leaving: asyncio.Task[None] | None = None
        self._swapping: asyncio.Task[bool] | None = None

    async def start(self) -> None:
        """Make the llama_context, or a place in the batch. Raises ContextError.

        After an error or a cancellation nothing is left behind. In a batch it waits first, if
        making room for the user's contexts held up others for long.
        """
        if self._border is not None:
            raise RuntimeError("the worker was started already")
        if self._batch is not None:
            await self._preparing.even()
        if isinstance(self._engine, Engine):
            self._border = self._preparer = Border(self.name, self._engine)
            self._border.start()
        else:
            assert self._batch is not None
            self._border, self._preparer = self._batch.join(self._engine)
        try:
            await self._border.call(self._engine.open)
        except BaseException:
            self._begin_close()
            raise
        self._pay()

    def _pay(self) -> None:
        spent, self._engine.spent = self._engine.spent, 0.0
        self._preparing.charge(spent)
        self._scheduler.charge(self._engine.share, spent)

    async def prepare(self, request: RunRequest | Callable[[], RunRequest]) -> Prepared:
        """Template and tokenise, when it is the user's turn (preparing.py). `request` may be a
        function that is asked for it then: what it raises is raised. Raises TemplateError,
        TokenizeError.

        When it returns, a run that `clear` ended before has told its end, and a `reopen` that was
        asked for before is done, or has failed. Cancelled, the result is dropped.
        """
        preparer = self._there(self._preparer)
        try:
            prepared = await self._preparing.take(
                partial(self._begin_preparing, request), self._charge
            )
        except asyncio.CancelledError:
            preparer.put(self._let_go)
            raise
        waits = self._run is not None or self.failed
        if waits and self._border is not None and not self._closing:
            # A batch prepares beside its steps, so perhaps sooner than that.
            await self._border.call(_nothing)
        return prepared

    async def _begin_preparing(self, request: RunRequest | Callable[[], RunRequest]) -> Prepared:
        self._prepared_in = 0.0
        asked = request() if callable(request) else request
        self._in_preparation = True
        try:
            return await self._there(self._preparer).call(partial(self._prepare, asked))
        finally:
            self._in_preparation = False

    def _charge(self) -> float:
        self._scheduler.charge(self._engine.share, self._prepared_in)
        return self._prepared_in

    def run(self, prepared: Prepared, sink: Sink) -> None:
        """Start a run. `sink` is called on the loop, in order, never before this returns."""
        border = self._there(self._border)
        if self._run is not None:
            raise RuntimeError("a run is under way")
        self._engine.arm()
        self._run, self._sink = RunState(prepared), sink
        border.put(partial(self._do_run, self._run))

    def end(self, reason: str = "cancelled") -> None:
        """End the run after its current token: Finished with `reason` follows.

        A prompt still being evaluated is aborted: Finished for "cancelled", else Aborted.
        """
        run = self._run
        if run is not None and run.ending is None:
            run.ending = reason
            self._interrupt(at_once=False)

    def abort(self) -> None:
        """End the run within a micro-batch: Aborted follows (unless its end is on its way)."""
        run = self._run
        if run is not None and not run.aborted:
            run.aborted = True
            self._interrupt(at_once=True)

    def _interrupt(self, *, at_once: bool) -> None:
        self._engine.interrupt(at_once=at_once)
        if isinstance(self._engine, Seat) and self._border is not None:
            # A batch's thread sleeps while all its users have used up their processor time.
            self._border.put(self._engine.look)

    async def clear(self) -> None:
        """Abort what runs and forget the conversation."""
        self.abort()
        await self._there(self._border).call(self._engine.clear)

    async def reopen(self) -> None:
        """Make the llama_context anew, as after Failed. Raises ContextError."""
        self.abort()
        await self._there(self._border).call(self._engine.open)
        self.failed = False

    async def swap_out(self, *, unsaved: bool = False) -> bool:
        """Save the KV to disk and free its memory; the next run brings it back by itself.

        What cannot be saved stays in memory, or is lost with `unsaved`: then the next run
        computes it again. False: nothing changed, because a run is under way, it is out already,
        or it could not be saved.
        """
        while self._swapping is not None and not self._swapping.done():
            # Which may do what is asked for.
            await asyncio.wait({self._swapping})
        if self._closing or self._border is None or self._run is not None or self.failed:
            return False
        if self._in_preparation:  # it would wait for its end; the context may have been cleared
            return False
        if self._engine.swap is None or self._engine.asleep:
            return False
        if isinstance(self._engine, Engine):
            return await self._border.call(partial(self._engine.swap_out, unsaved=unsaved))
        work = self._swap_out_seat(self._engine, self._border, unsaved)
        # Cancelled, it goes on: a file that nobody knows of would stay.
        self._swapping = asyncio.get_running_loop().create_task(work)
        return await asyncio.shield(self._swapping)

    async def _swap_out_seat(self, seat: Seat, border: Border, unsaved: bool) -> bool:
        """The writing is done beside the batch, whose steps would wait for it."""
        out = await border.call(seat.step_out)
        if out is None:
            return False
        key, saved = out
        work = partial(save, seat.swap, lambda: saved, key, unsaved=unsaved)
        away = None
        try:
            may_go, away = await self._there(self._preparer).call(work)
            if may_go and await self._there(border).call(partial(seat.go_away, saved, away)):
                return True
        except RuntimeError:
            if not self._closing:
                raise
        if away is not None:
            away.discard()
        return False

    async def close(self) -> None:
        """Abort, free, join: the memory is back when it returns.

        It may be called twice, also at once; cancelled, the closing goes on by itself.
        """
        self._begin_close()
        if self._leaving is not None:
            await asyncio.shield(self._leaving)

    @property
    def running(self) -> bool:
        """Whether a run is under way: its last event has not been given to the sink."""
        return self._run is not None

    @property
    def read_tokens(self) -> int:
        """How many of the reply's tokens the reader has taken; set by who reads them."""
        return self._engine.read_tokens

    @read_tokens.setter
    def read_tokens(self, n: int) -> None:
        self._engine.read_tokens = n

    @property
    def tokens_used(self) -> int:
        """How many tokens the KV cache holds."""
        return self._engine.tokens_used

    @property
    def prompt_tokens(self) -> int:
        """The length of the latest run's prompt, in tokens."""
        return self._engine.prompt_tokens

    @property
    def prompt_done(self) -> int:
        """How many of them are evaluated or were there already."""
        return self._engine.prompt_done

    @property
    def memory(self) -> ContextMemory:
        """What llama.cpp allocated for the context; nothing of its own in a batch."""
        return self._engine.memory

    @property
    def asleep(self) -> bool:
        """Whether it is out of memory until the next run."""
        return self._engine.asleep

    @property
    def needs(self) -> int:
        """What it takes when it is in memory, in bytes; nearly, before it was. 0 in a batch."""
        return self._engine.needs

    @property
    def position(self) -> int:
        """1 for the next to be given cores; 0 when it does not wait for any."""
        return self._engine.position

    @property
    def estimate_ms(self) -> int:
        """Milliseconds until it is probably given cores; 0 when it does not wait for any."""
        return self._engine.estimate_ms

    def waiting(self) -> bool:
        """Whether it waits for its turn at the cores."""
        return self.position > 0

    def _there(self, border: Border | None) -> Border:
        if self._closing or border is None:
            raise RuntimeError("the worker is closed")
        return border

    def _begin_close(self) -> None:
        if not self._closing:
            self._closing = True
            self.abort()
            if self._border is not None and self._border.started:
                self._leaving = asyncio.get_running_loop().create_task(self._leave(self._border))

    async def _leave(self, border: Border) -> None:
        if isinstance(self._engine, Engine):
            border.begin_close()
            await border.closed()
        else:
            assert self._batch is not None
            if self._swapping is not None:
                await asyncio.wait({self._swapping})
            try:
                await border.call(self._engine.close)
            finally:
                self._pay()
                await self._batch.leave(self._engine)

    def give(self, event: Event) -> None:
        """From the border: what the engine says, in order."""
        sink = self._sink
        if type(event) in _ENDS:
            self._run = self._sink = None
            self.failed = self.failed or type(event) is Failed
            self._let_go()
        if sink is not None:
            try:
                sink(event)
            except Exception as error:
                asyncio.get_running_loop().call_exception_handler(
                    {"message": "a worker's sink failed", "exception": error}
                )

    def _let_go(self) -> None:
        """No run comes, or it ended before its context was brought back: what was read of its
        file for it is not kept. From any thread."""
        away = self._engine.away
        if away is not None:
            away.let_go()

    # The thread's side.

    def _prepare(self, request: RunRequest) -> Prepared:
        began = thread_time()
        try:
            return self._prompt(request)
        finally:
            self._prepared_in = thread_time() - began

    def _prompt(self, request: RunRequest) -> Prepared:
        messages, shelf = request.messages, self._engine.shelf
        tokens = build_prompt(self._model, self._renderer, messages)
        away = self._engine.away
        if away is not None and self._batch is not None and len(tokens) < self._engine.ctxsize:
            away.fetch()
        if shelf is None or len(tokens) <= self._engine.least_shared:
            return Prepared(request, tokens)
        head = shelf.heads.length(self._model, self._renderer, messages, tokens)
        return Prepared(request, tokens, head)

    def _do_run(self, run: RunState) -> None:
        assert self._border is not None
        self._engine.run(run, partial(self._border.deliver, self))


def _nothing() -> None:
    """What came before is done."""
