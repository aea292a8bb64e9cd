"""Streams: a reply as an iterator of pieces of text.

A stream reads with OFFSET and goes on from there after a lost connection, so the pieces put
together are the reply from `offset` on, whole and never doubled. Pieces are str, never empty,
never half a character. When the iterator ends, `result` holds the last answer: finish_reason,
msgid, seed, token counts and times.

Leaving a stream early (break, `close()`, cancellation) leaves the connection usable: what still
comes is dropped. It does **not** stop the run; `stop()` does, and so does closing a stream that
was made with stop=True. A reply that was not read to its end when its chat was told to answer
again raises RuntimeError where the next piece was expected. What the daemon refuses is raised
there too: InfContextHalted for an aborted run, ExecMissingMessage when there is nothing to read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self

from infd_client._results import ExecNextResult
from infd_client.calls import utf8_length
from infd_client.failures import CallTimeout
from infd_client.reading import Reading
from infd_protocol import codes
from infd_protocol.connection import Response
from infd_protocol.errors import error_for

_Item = tuple[str, Response] | BaseException


class _Progress:
    """What was handed to the caller so far: the part that both streams share."""

    def __init__(
        self, offset: int, given: Callable[[Response], None], leave: Callable[[], None]
    ) -> None:
        """`leave`: drop what still comes."""
        self.position = offset
        """Bytes of the reply up to and with the last piece handed out (UTF-8)."""
        self.result: ExecNextResult | None = None
        """The last answer; None until the iterator has ended."""
        self._given = given
        self._leave = leave
        self._over = False
        self._cut = ""

    @property
    def finished(self) -> bool:
        """Whether the reply's end was reached."""
        return self.result is not None

    def cut(self, why: str) -> None:
        """The run was ended by others, who have the reply now: give no more pieces. Who reads on
        is told `why`, if that is not empty."""
        if not self._over:
            self._over = True
            self._cut = why
            self._leave()

    def _end(self, end: type[StopIteration | StopAsyncIteration]) -> Exception:
        """What ends the iteration."""
        return RuntimeError(self._cut) if self._cut else end()

    def _accept(self, item: _Item) -> str:
        """The piece in what came, maybe empty. Raises what was refused."""
        if isinstance(item, BaseException):
            self._over = True
            raise item
        piece, response = item
        if response.code != codes.EXEC_SUCCESS:
            self._over = True
            raise error_for(response.code, response.keys)
        self._given(response)
        self.position += utf8_length(piece)
        if response.last:
            self._over = True
            self.result = ExecNextResult(response.code, response.keys, response.data)
        return piece


def _late(timeout: float | None) -> CallTimeout:
    return CallTimeout(f"No piece of the reply came within {timeout:g} s.")


class StreamCall(Reading):
    """The call behind a blocking stream."""

    __slots__ = ("items",)

    def __init__(self, keys: dict[str, Any], offset: int) -> None:
        super().__init__(keys, offset)
        self.items: SimpleQueue[_Item | None] = SimpleQueue()
        """None: the stream was left; whoever waits is to look."""

    def deliver(self, piece: str, response: Response) -> None:
        self.items.put((piece, response))

    def fail(self, error: BaseException) -> None:
        self.items.put(error)

    def leave(self) -> None:
        """Nothing more is wanted, also by a thread that waits for it."""
        self.forgotten = True
        self.items.put(None)


class Stream(_Progress):
    """A blocking iterator of pieces; see the head of this module.

    A piece that does not come in `timeout` seconds raises CallTimeout; iterating may go on.
    """

    def __init__(
        self,
        call: StreamCall,
        offset: int,
        given: Callable[[Response], None],
        stop: Callable[[int], object],
        timeout: float | None,
        stops: bool,
    ) -> None:
        super().__init__(offset, given, call.leave)
        self._call = call
        self._stop = stop
        self._timeout = timeout
        self._stops = stops

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        while not self._over:
            try:
                item = self._call.items.get(timeout=self._timeout)
            except Empty:
                raise _late(self._timeout) from None
            if item is not None and (piece := self._accept(item)):
                return piece
        raise self._end(StopIteration)

    def read(self) -> str:
        """The rest of the reply as one str."""
        return "".join(self)

    def stop(self) -> None:
        """End the run; the history keeps the reply up to the last piece handed out."""
        over, self._over = self._over, True
        self._call.leave()
        if not over:
            self._stop(self.position)

    def close(self) -> None:
        """Read no more. The run goes on, unless the stream was made with stop=True."""
        if self._stops:
            self.stop()
        self._over = True
        self._call.leave()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __del__(self) -> None:
        call = getattr(self, "_call", None)
        if call is not None:
            call.forgotten = True


class AsyncStreamCall(Reading):
    """The call behind an asyncio stream."""

    __slots__ = ("items", "reader")

    def __init__(self, keys: dict[str, Any], offset: int) -> None:
        super().__init__(keys, offset)
        self.items: deque[_Item] = deque()
        self.reader: asyncio.Future[None] | None = None

    def deliver(self, piece: str, response: Response) -> None:
        self._add((piece, response))

    def fail(self, error: BaseException) -> None:
        self._add(error)

    def leave(self) -> None:
        """Nothing more is wanted, also by a task that waits for it."""
        self.forgotten = True
        self._wake()

    def _add(self, item: _Item) -> None:
        self.items.append(item)
        self._wake()

    def _wake(self) -> None:
        if self.reader is not None and not self.reader.done():
            self.reader.set_result(None)

    def coming(self) -> asyncio.Future[None]:
        """Done when there is an item; cancelling it loses none."""
        if self.reader is not None and not self.reader.done():
            raise RuntimeError("another task is reading this stream")
        self.reader = asyncio.get_running_loop().create_future()
        return self.reader


class AsyncStream(_Progress):
    """An asynchronous iterator of pieces; see the head of this module.

    The request is sent when the stream is made, and pieces are kept until they are asked for.
    Cancelling `__anext__` loses nothing: the next one gives the piece.
    """

    def __init__(
        self,
        call: AsyncStreamCall,
        offset: int,
        given: Callable[[Response], None],
        stop: Callable[[int], Awaitable[object]],
        timeout: float | None,
        stops: bool,
    ) -> None:
        super().__init__(offset, given, call.leave)
        self._call = call
        self._stop = stop
        self._timeout = timeout
        self._stops = stops

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        call = self._call
        while not self._over:
            if call.items:
                if piece := self._accept(call.items.popleft()):
                    return piece
            elif self._timeout is None:
                await call.coming()
            else:
                try:
                    async with asyncio.timeout(self._timeout):
                        await call.coming()
                except TimeoutError:
                    raise _late(self._timeout) from None
        raise self._end(StopAsyncIteration)

    async def read(self) -> str:
        """The rest of the reply as one str."""
        return "".join([piece async for piece in self])

    async def stop(self) -> None:
        """End the run; the history keeps the reply up to the last piece handed out."""
        over, self._over = self._over, True
        self._call.leave()
        if not over:
            await self._stop(self.position)

    async def aclose(self) -> None:
        """Read no more. The run goes on, unless the stream was made with stop=True."""
        if self._stops:
            await self.stop()
        self._over = True
        self._call.leave()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        call = getattr(self, "_call", None)
        if call is not None:
            call.forgotten = True
