"""The thread border: threads that compute, and the only file that knows threads and asyncio.

        event loop's side            |              computing thread's side
                                     |
    put, call                    ----|--> _commands (SimpleQueue) --> one command after another
                                     |                          and, when it is due, host.step()
    a run's flags, Turn.cancel,      |                                        |
    the abort byte               ----|----------> the engine: schedule, compute, deliver
                                     |                                        |
    _drain <-- call_soon_threadsafe -|-- _out (deque) <-- post, deliver -------+
      |        (at most one under way)
      +--> futures, the runs' sinks

In the dedicated placement each context has a border of its own, whose engine does a whole run in
one command; in the batched placement (batch.py) the contexts of a model share one, which steps
all their runs together.

Who owns what: llama_contexts and their tokens belong to the thread; `Limits`, `Share.max_threads`
and `read_tokens` are written by the loop's side and read by the thread; counters the other way
round.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

import structlog

from infd.engine.errors import ContextError
from infd.engine.events import Event, Text

_log = structlog.get_logger("infd.engine.worker")

# Beside a decode that fills the cores the event loop answers in a tenth of the time when the
# workers give way to it; at nice 10 they lose a third of their speed to any other process, at 5
# hardly anything (measured on two cores). ggml's threads inherit it.
NICE = 5

T = TypeVar("T")


class Receiver(Protocol):
    """Who is given events, on the loop."""

    def give(self, event: Event) -> None: ...


class Host(Protocol):
    """What lives on a border's thread."""

    @property
    def delay(self) -> float | None:
        """Seconds until `step` is due, 0 for now; None: there is nothing to step. Read after
        every command and step."""

    def step(self) -> None:
        """Do a part of the work, and return soon: commands wait. Raises nothing."""

    def shut(self) -> None:
        """The thread ends: free everything."""


class Border:
    """A computing thread, commands to it and what it says. Used on the event loop's thread."""

    def __init__(self, name: str, host: Host) -> None:
        self.name = name
        self._host = host
        self._commands: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._out: deque[Callable[[], None] | tuple[Receiver, Event]] = deque()
        self._scheduled = False
        self._holding = False
        self._closing = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._gone: asyncio.Future[None] | None = None

    @property
    def started(self) -> bool:
        """Whether there is, or was, a thread."""
        return self._thread is not None

    def start(self) -> None:
        """Start the thread. Raises ContextError when the machine gives none."""
        if self._thread is not None:
            raise RuntimeError("the thread was started already")
        loop = self._loop = asyncio.get_running_loop()
        self._gone = loop.create_future()
        thread = threading.Thread(target=self._main, name=f"infd {self.name}"[:15], daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # Nothing runs that close() could wait for.
            self._closing = True
            self._gone.set_result(None)
            raise ContextError(f"the machine gives no thread for it ({error})") from None
        self._thread = thread

    def waiting(self) -> bool:
        """Whether commands wait. From any thread."""
        return not self._commands.empty()

    def put(self, command: Callable[[], None]) -> None:
        """Have the thread do this; it must not raise."""
        self._commands.put(command)

    async def call(self, work: Callable[[], T]) -> T:
        """Have the thread do this; its result or error. Cancelled, the work is done all the same.

        Raises RuntimeError when the border is closed.
        """
        if self._closing or self._loop is None:
            raise RuntimeError("the worker is closed")
        future: asyncio.Future[T] = self._loop.create_future()
        self._commands.put(partial(self._do_call, work, future))
        return await future

    def begin_close(self) -> None:
        """End the thread after the commands that wait."""
        if not self._closing:
            self._closing = True
            self._commands.put(None)

    async def closed(self) -> None:
        """Wait until the thread is gone; cancelled, the closing goes on by itself."""
        if self._gone is not None:
            await asyncio.shield(self._gone)

    def _drain(self) -> None:
        # Cleared before looking: what is put after the last look schedules anew.
        self._scheduled = False
        out = self._out
        while out:
            item = out.popleft()
            if not isinstance(item, tuple):
                item()
                continue
            receiver, event = item
            if type(event) is Text:
                while out and isinstance(more := out[0], tuple) and more[0] is receiver:
                    following = more[1]
                    if type(following) is not Text:
                        break
                    del out[0]
                    event = Text(event.text + following.text, event.tokens + following.tokens)
            receiver.give(event)

    def _joined(self) -> None:
        assert self._thread is not None
        assert self._gone is not None
        self._thread.join()
        if not self._gone.done():
            self._gone.set_result(None)

    # The thread's side.

    def post(self, item: Callable[[], None]) -> None:
        """From the thread: have the loop call this, in the order of all that is posted."""
        self._out.append(item)
        if not self._scheduled and not self._holding:
            self._wake()

    def deliver(self, receiver: Receiver, event: Event) -> None:
        """As `post`: have the loop give the event to its receiver."""
        self._out.append((receiver, event))
        if not self._scheduled and not self._holding:
            self._wake()

    def hold(self) -> None:
        """From the thread: what is posted from now on reaches the loop in one go, with `tell`. It
        would wake up at the first item, and both would wait for each other's GIL from then on."""
        self._holding = True

    def tell(self) -> None:
        """From the thread: hold nothing back any more."""
        self._holding = False
        if self._out and not self._scheduled:
            self._wake()

    def _wake(self) -> None:
        self._scheduled = True
        assert self._loop is not None
        try:
            self._loop.call_soon_threadsafe(self._drain)
        except RuntimeError:
            # The loop is closed: nobody is left to be told.
            _log.debug("worker outlived its event loop", worker=self.name)

    def _main(self) -> None:
        give_way()
        host, commands = self._host, self._commands
        while True:
            delay = host.delay
            if delay != 0 and self._holding:
                self.tell()
            try:
                command = commands.get(delay != 0, delay)
            except Empty:
                host.step()
                continue
            if command is None:
                break
            if self._holding:
                # Room for another context may take a second to make.
                self.tell()
            command()
        host.shut()
        self.post(self._joined)
        self.tell()

    def _do_call(self, work: Callable[[], Any], future: asyncio.Future[Any]) -> None:
        try:
            result = work()
        except Exception as error:
            self.post(partial(_refuse, future, error))
        else:
            self.post(partial(_resolve, future, result))


def give_way() -> None:
    """Let the calling thread compute behind the event loop's."""
    try:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
    except OSError as error:
        _log.debug("worker keeps its priority", reason=str(error))


def _resolve(future: asyncio.Future[Any], result: Any) -> None:
    if not future.done():
        future.set_result(result)


def _refuse(future: asyncio.Future[Any], error: Exception) -> None:
    if not future.done():
        future.set_exception(error)
