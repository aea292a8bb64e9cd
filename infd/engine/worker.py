"""The thread border: one thread a context, and the only file that knows threads and asyncio.

        event loop's side            |              worker thread's side
                                     |
    prepare, run, clear, reopen  ----|--> _commands (SimpleQueue) --> one command after another
                                     |                                        |
    end, abort: a flag of the run,   |                                 Engine.run: schedule,
    Turn.cancel, the abort byte  ----|--------------------------------> step, deliver
                                     |                                        |
    _drain <-- call_soon_threadsafe -|-- _out (deque) <-----------------------+
      |        (at most one under way)
      +--> futures, the run's sink

Who owns what: the llama_context and its tokens belong to the thread; `Limits`, `Share.max_threads`
and `read_tokens` are written by the loop's side and read by the thread; counters the other way
round. The model and its renderer are shared and lock themselves. Every method of `Worker` is
called on the event loop's thread. Every run ends in exactly one of Finished, Aborted and Failed.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import SimpleQueue
from typing import Any, TypeVar

import structlog

from infd.engine.context import ContextMemory
from infd.engine.errors import ContextError, EngineError
from infd.engine.events import (
    Aborted,
    End,
    Event,
    Failed,
    Finished,
    Limits,
    Prepared,
    Progress,
    RunRequest,
    Text,
)
from infd.engine.generation import Engine, RunState
from infd.engine.model import Model
from infd.engine.prompt import build_prompt
from infd.engine.scheduler import Scheduler, Share
from infd.engine.templates import Renderer

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

_log = structlog.get_logger("infd.engine.worker")

# Beside a decode that fills the cores the event loop answers in a tenth of the time when the
# workers give way to it; at nice 10 they lose a third of their speed to any other process, at 5
# hardly anything (measured on two cores). ggml's threads inherit it.
NICE = 5

T = TypeVar("T")
Sink = Callable[[Event], None]


class Worker:
    """One context: its llama_context, its thread, and at most one run at a time."""

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
    ) -> None:
        """`run_ahead`: tokens ahead of `read_tokens` after which a run is background work."""
        self.name = name
        self.failed = False
        self._engine = Engine(model, scheduler, share, limits, ctxsize=ctxsize, run_ahead=run_ahead)
        self._renderer = renderer
        self._commands: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._out: deque[Callable[[], None] | Event] = deque()
        self._scheduled = False
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._gone: asyncio.Future[None] | None = None
        self._run: RunState | None = None
        self._sink: Sink | None = None

    # The event loop's side.

    async def start(self) -> None:
        """Start the thread and make the llama_context on it. Raises ContextError.

        After an error or a cancellation nothing is left behind.
        """
        if self._thread is not None:
            raise RuntimeError("the worker was started already")
        loop = self._loop = asyncio.get_running_loop()
        opened: asyncio.Future[None] = loop.create_future()
        thread = threading.Thread(
            target=self._main, args=(opened,), name=f"infd {self.name}"[:15], daemon=True
        )
        gone = self._gone = loop.create_future()
        self._thread = thread
        try:
            thread.start()
        except RuntimeError as error:
            # Nothing runs that close() could wait for.
            self._closing = True
            gone.set_result(None)
            raise ContextError(f"the machine gives no thread for it ({error})") from None
        try:
            await asyncio.shield(opened)
        except BaseException:
            self._begin_close()
            raise

    async def prepare(self, request: RunRequest) -> Prepared:
        """Template and tokenise. Raises TemplateError or TokenizeError.

        It waits for a run that is under way. Cancelled, the result is dropped.
        """
        return await self._call(partial(self._prepare, request))

    def run(self, prepared: Prepared, sink: Sink) -> None:
        """Start a run. `sink` is called on the loop, in order, never before this returns."""
        self._check_open()
        if self._run is not None:
            raise RuntimeError("a run is under way")
        self._engine.arm()
        self._run, self._sink = RunState(prepared), sink
        self._commands.put(partial(self._do_run, self._run))

    def end(self, reason: str = "cancelled") -> None:
        """End the run after its current token: Finished with `reason` follows.

        A prompt still being evaluated is aborted: Finished for "cancelled", else Aborted.
        """
        run = self._run
        if run is not None and run.ending is None:
            run.ending = reason
            self._engine.interrupt(at_once=False)

    def abort(self) -> None:
        """End the run within a micro-batch: Aborted follows (unless its end is on its way)."""
        run = self._run
        if run is not None and not run.aborted:
            run.aborted = True
            self._engine.interrupt(at_once=True)

    async def clear(self) -> None:
        """Abort what runs and forget the conversation."""
        self.abort()
        await self._call(self._engine.clear)

    async def reopen(self) -> None:
        """Make the llama_context anew, as after Failed. Raises ContextError."""
        self.abort()
        await self._call(self._engine.open)
        self.failed = False

    async def close(self) -> None:
        """Abort, free, join: the memory is back when it returns.

        It may be called twice, also at once; cancelled, the closing goes on by itself.
        """
        self._begin_close()
        if self._gone is not None:
            await asyncio.shield(self._gone)

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
        context = self._engine.context
        return 0 if context is None else len(context.tokens)

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
        """What llama.cpp allocated for the context."""
        context = self._engine.context
        return ContextMemory(0, 0, 0) if context is None else context.memory

    @property
    def position(self) -> int:
        """1 for the next to be given cores; 0 when it does not wait for any."""
        return self._engine.turn.position()

    def waiting(self) -> bool:
        """Whether it waits for its turn at the cores."""
        return self.position > 0

    def _check_open(self) -> None:
        if self._closing or self._thread is None:
            raise RuntimeError("the worker is closed")

    async def _call(self, work: Callable[[], T]) -> T:
        self._check_open()
        assert self._loop is not None
        future: asyncio.Future[T] = self._loop.create_future()
        self._commands.put(partial(self._do_call, work, future))
        return await future

    def _begin_close(self) -> None:
        if not self._closing:
            self._closing = True
            self.abort()
            self._commands.put(None)

    def _drain(self) -> None:
        # Cleared before looking: what is put after the last look schedules anew.
        self._scheduled = False
        out = self._out
        while out:
            item = out.popleft()
            if isinstance(item, Text):
                while out and isinstance(more := out[0], Text):
                    del out[0]
                    item = Text(item.text + more.text, item.tokens + more.tokens)
            if callable(item):
                item()
            else:
                self._give(item)

    def _give(self, event: Event) -> None:
        sink = self._sink
        if isinstance(event, Finished | Aborted | Failed):
            self._run = self._sink = None
            self.failed = self.failed or isinstance(event, Failed)
        if sink is not None:
            try:
                sink(event)
            except Exception as error:
                assert self._loop is not None
                self._loop.call_exception_handler(
                    {"message": "a worker's sink failed", "exception": error}
                )

    def _joined(self) -> None:
        assert self._thread is not None
        assert self._gone is not None
        self._thread.join()
        if not self._gone.done():
            self._gone.set_result(None)

    # The thread's side.

    def _main(self, opened: asyncio.Future[None]) -> None:
        try:
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        except OSError as error:
            _log.debug("worker keeps its priority", reason=str(error))
        self._do_call(self._engine.open, opened)
        while (command := self._commands.get()) is not None:
            command()
        self._engine.close()
        self._post(self._joined)

    def _do_call(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        try:
            result = work()
        except Exception as error:
            self._post(partial(_refuse, future, error))
        else:
            self._post(partial(_resolve, future, result))

    def _prepare(self, request: RunRequest) -> Prepared:
        model = self._engine.model
        return Prepared(request, build_prompt(model, self._renderer, request.messages))

    def _do_run(self, run: RunState) -> None:
        end: End
        try:
            end = self._engine.run(run, self._post)
        except EngineError as error:
            end = Failed(str(error))
        except Exception as error:
            _log.exception("worker failed", worker=self.name)
            end = Failed(f"the engine failed: {type(error).__name__}")
        self._post(end)

    def _post(self, item: Callable[[], None] | Event) -> None:
        self._out.append(item)
        if not self._scheduled:
            self._scheduled = True
            assert self._loop is not None
            try:
                self._loop.call_soon_threadsafe(self._drain)
            except RuntimeError:
                # The loop is closed: nobody is left to be told.
                _log.debug("worker outlived its event loop", worker=self.name)


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _refuse(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
