"""`AsyncClient`: the client for asyncio. Any number of calls in flight on one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary

from infd_client._methods import AsyncMethods
from infd_client._results import InfAccessRequestResult
from infd_client.calls import Call, Slot, late, no_turn, repeatable, succeeded
from infd_client.chat_aio import AsyncChat
from infd_client.failures import CallTimeout
from infd_client.options import UNSET, Options, Timeout
from infd_client.results import Result
from infd_client.stream import AsyncStream, AsyncStreamCall
from infd_client.wire import Wire
from infd_protocol.connection import Response
from infd_protocol.errors import error_for
from infd_protocol.operations import OPERATIONS, Operation, resolve

R = TypeVar("R", bound=Result)


class _AsyncCall(Call):
    __slots__ = ("future",)

    def __init__(
        self,
        op: str,
        keys: dict[str, Any],
        data: str | None,
        again: bool,
        future: asyncio.Future[Response],
    ) -> None:
        super().__init__(op, keys, data, again)
        self.future = future

    def answer(self, response: Response) -> bool:
        if not self.future.done():
            self.future.set_result(response)
        return False

    def fail(self, error: BaseException) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def expire(self, timeout: float) -> None:
        self.forgotten = True
        self.fail(late(self.op, self.keys, timeout))


class AsyncClient(AsyncMethods, Options):
    """An asyncio client of one daemon; made as `Options` says.

    It connects at the first call, and belongs to the event loop of that call. A coroutine for
    every operation: keys are keyword arguments in lower case, `data=` is the payload,
    `timeout=` the seconds to wait (None: no limit), `stok=` another session than the remembered
    one. A refused call raises the exception of its code.

    Cancelling a call leaves the connection usable and drops the answer; whether the call took
    effect is unknown, but for exec_next, which loses nothing: the next one reads again from
    the byte after what was given last. After a lost connection the client reconnects by itself
    and repeats what only reads; other calls under way raise ConnectionLost.
    """

    def _begin(self) -> None:
        self._wire = Wire(self._calls, self)
        self._turns: WeakValueDictionary[Slot, asyncio.Lock] = WeakValueDictionary()

    async def connect(self, *, timeout: Timeout = UNSET) -> Self:
        """Make sure that a daemon answers. Raises ConnectFailed if there is none, CallTimeout if
        what took the connection says nothing."""
        try:
            await self.inf_hello(timeout=timeout)
        except CallTimeout as error:
            raise self._unreached(error) from None
        return self

    async def login(
        self, username: str | None = None, token: str | None = None, *, timeout: Timeout = UNSET
    ) -> InfAccessRequestResult:
        """Open a session with the name and the token of the call, or those found elsewhere.

        Raises AddressError if either is nowhere to be found, InfAuthorizationFailed if the
        daemon does not accept them, PktOverloaded (with keys["RETRY_AFTER"], in seconds) after
        too many failures.
        """
        name, found = self._credentials(username, token)
        return await self.inf_access_request(username=name, acctok=found, timeout=timeout)

    async def call(
        self,
        op: str,
        keys: Mapping[str, Any] | None = None,
        data: str | None = None,
        *,
        timeout: Timeout = UNSET,
    ) -> Result:
        """Any operation by name, its keys as in the protocol; STOK is filled in.

        For an operation that this version does not know, too. Not for STREAM: see `stream()`.
        """
        row = resolve(op)
        if row is not None and row.streaming:
            return await self._next(row, keys or {}, timeout, Result)
        return await self._call(row or op, keys or {}, data, timeout, Result)

    def stream(
        self,
        ctxid: int,
        *,
        offset: int = 0,
        stop: bool = False,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> AsyncStream:
        """The reply of the run in a context, from byte `offset` on, as an iterator of pieces.

        `timeout`: seconds to wait for each piece (UNSET: no limit). `stop`: closing the
        stream early stops the run; without it the run goes on. See `infd_client.stream`.
        """
        row = OPERATIONS["exec_next"]
        keys = self._calls.prepare(row, {"STOK": stok, "CTXID": ctxid})
        self._wire.bind()
        call = AsyncStreamCall(keys, offset)
        self._wire.submit(call)
        return AsyncStream(
            call,
            offset,
            partial(self._calls.was_given, self._calls.slot(keys)),
            lambda at: self.exec_stop(ctxid=ctxid, offset=at, stok=stok),
            self._limit(row.name, timeout),
            stop,
        )

    def chat(
        self,
        *,
        model: str | None = None,
        ctxsize: int | None = None,
        system: str | None = None,
        **sampling: Any,
    ) -> AsyncChat:
        """A conversation in a context of its own. See `AsyncChat`, also for what its methods raise.

        Nothing is asked of the daemon yet, so what is wrong with `model` or `ctxsize` shows when
        the context is made. Raises TypeError for a keyword that exec_execute_input does not take.
        """
        return AsyncChat(self, model=model, ctxsize=ctxsize, system=system, **sampling)

    async def close(self) -> None:
        """End the connection, not the session; leaving a `with` block does no more either.

        The session stays with the daemon, and its contexts, which count against the user's limits
        and the model's budget, with it: until `session_idle` seconds have passed (the daemon's
        setting; 600 if nobody changed it), or the user's next context needs their room. A run
        under way is ended after `orphan_grace` seconds (30). To leave nothing behind, call
        `await inf_destroy_session()` before; to go on later, keep `stok`.
        """
        await self._wire.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    # --- under the generated methods -------------------------------------------------------

    async def _call(
        self,
        row: Operation | str,
        keys: Mapping[str, Any],
        data: str | None,
        timeout: Timeout,
        result: type[R],
    ) -> R:
        known, op = (None, row) if isinstance(row, str) else (row, row.name)
        ready = self._calls.prepare(known, keys)
        response = await self._exchange(op, known, ready, data, self._limit(op, timeout))
        if not succeeded(known, response.code):
            raise error_for(response.code, response.keys)
        return result(response.code, response.keys, response.data)

    async def _next(
        self, row: Operation, keys: Mapping[str, Any], timeout: Timeout, result: type[R]
    ) -> R:
        """exec_next: one at a time in a context, from the byte after what was given last."""
        limit = self._limit(row.name, timeout)
        ready = self._calls.prepare(row, keys)
        began = self._wire.bind().time()
        slot = self._calls.slot(ready)
        turn = asyncio.Lock()
        if slot is not None:
            turn = self._turns.setdefault(slot, turn)
        try:
            async with asyncio.timeout(limit):
                await turn.acquire()
        except TimeoutError:
            raise no_turn(row.name, limit or 0) from None
        try:
            position = self._calls.position(ready)
            if position is not None:
                ready.setdefault("OFFSET", position)
            left = limit
            if limit is not None:
                left = max(0.0, limit - (self._wire.bind().time() - began))
            response = await self._exchange(row.name, row, ready, None, left)
            # No await from here on: what is marked as given must reach the caller.
            self._calls.was_given(slot, response)
        finally:
            turn.release()
        if response.code not in row.success:
            raise error_for(response.code, response.keys)
        return result(response.code, response.keys, response.data)

    async def _exchange(
        self,
        op: str,
        row: Operation | None,
        keys: dict[str, Any],
        data: str | None,
        timeout: float | None,
    ) -> Response:
        loop = self._wire.bind()
        call = _AsyncCall(op, keys, data, repeatable(row, keys), loop.create_future())
        timer = None if timeout is None else loop.call_later(timeout, call.expire, timeout)
        try:
            self._wire.submit(call)
            return await call.future
        except asyncio.CancelledError:
            call.forgotten = True
            raise
        finally:
            if timer is not None:
                timer.cancel()
