"""`Client`: the blocking client. Usable from several threads at once, on one connection."""

from __future__ import annotations

import threading
import time
import weakref
from collections.abc import Mapping
from functools import partial
from queue import Empty, SimpleQueue
from types import TracebackType
from typing import Any, Self, TypeVar
from weakref import WeakValueDictionary

from infd_client._methods import BlockingMethods
from infd_client._results import InfAccessRequestResult
from infd_client.calls import Call, Slot, late, no_turn, repeatable, succeeded
from infd_client.chat import Chat
from infd_client.failures import CallTimeout
from infd_client.link import Link
from infd_client.options import UNSET, Options, Timeout
from infd_client.results import Result
from infd_client.stream import Stream, StreamCall
from infd_protocol.connection import Response
from infd_protocol.errors import error_for
from infd_protocol.operations import OPERATIONS, Operation, resolve

R = TypeVar("R", bound=Result)


class _BlockingCall(Call):
    __slots__ = ("answers",)

    def __init__(self, op: str, keys: dict[str, Any], data: str | None, again: bool) -> None:
        super().__init__(op, keys, data, again)
        self.answers: SimpleQueue[Response | BaseException] = SimpleQueue()

    def answer(self, response: Response) -> bool:
        self.answers.put(response)
        return False

    def fail(self, error: BaseException) -> None:
        self.answers.put(error)


class Client(BlockingMethods, Options):
    """A blocking client of one daemon; made as `Options` says.

    It connects at the first call. A method for every operation: keys are keyword arguments in
    lower case, `data=` is the payload, `timeout=` the seconds to wait (None: no limit), `stok=`
    another session than the remembered one. A refused call raises the exception of its code.

    Any thread may call at any time; the calls of all threads share the connection. An
    interrupted call (timeout, KeyboardInterrupt) is forgotten, and the connection stays usable.
    After a lost connection the client reconnects by itself and repeats what only reads; other
    calls under way raise ConnectionLost.
    """

    def _begin(self) -> None:
        self._link = Link(self._calls, self)
        self._turns: WeakValueDictionary[Slot, threading.Lock] = WeakValueDictionary()
        weakref.finalize(self, self._link.close)

    def connect(self, *, timeout: Timeout = UNSET) -> Self:
        """Make sure that a daemon answers. Raises ConnectFailed if there is none, CallTimeout if
        what took the connection says nothing."""
        try:
            self.inf_hello(timeout=timeout)
        except CallTimeout as error:
            raise self._unreached(error) from None
        return self

    def login(
        self, username: str | None = None, token: str | None = None, *, timeout: Timeout = UNSET
    ) -> InfAccessRequestResult:
        """Open a session with the name and the token of the call, or those found elsewhere.

        Raises AddressError if either is nowhere to be found, InfAuthorizationFailed if the
        daemon does not accept them, PktOverloaded (with keys["RETRY_AFTER"], in seconds) after
        too many failures.
        """
        name, found = self._credentials(username, token)
        return self.inf_access_request(username=name, acctok=found, timeout=timeout)

    def call(
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
        limit = self._limit(row.name if row else op, timeout)
        if row is not None and row.streaming:
            return self._next(row, keys or {}, limit, Result)
        return self._call(row or op, keys or {}, data, limit, Result)

    def stream(
        self,
        ctxid: int,
        *,
        offset: int = 0,
        stop: bool = False,
        stok: str | None = None,
        timeout: Timeout = UNSET,
    ) -> Stream:
        """The reply of the run in a context, from byte `offset` on, as an iterator of pieces.

        `timeout`: seconds to wait for each piece (UNSET: no limit). `stop`: closing the
        stream early stops the run; without it the run goes on. See `infd_client.stream`.
        """
        row = OPERATIONS["exec_next"]
        keys = self._calls.prepare(row, {"STOK": stok, "CTXID": ctxid})
        call = StreamCall(keys, offset)
        self._link.submit(call)
        return Stream(
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
    ) -> Chat:
        """A conversation in a context of its own. See `Chat`, also for what its methods raise.

        Nothing is asked of the daemon yet, so what is wrong with `model` or `ctxsize` shows when
        the context is made. Raises TypeError for a keyword that exec_execute_input does not take.
        """
        return Chat(self, model=model, ctxsize=ctxsize, system=system, **sampling)

    def close(self) -> None:
        """End the connection, not the session; leaving a `with` block does no more either.

        The session stays with the daemon, and its contexts, which count against the user's limits
        and the model's budget, with it: until `session_idle` seconds have passed (the daemon's
        setting; 600 if nobody changed it), or the user's next context needs their room. A run
        under way is ended after `orphan_grace` seconds (30). To leave nothing behind, call
        `inf_destroy_session()` before; to go on later, keep `stok`.
        """
        self._link.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # --- under the generated methods -------------------------------------------------------

    def _call(
        self,
        row: Operation | str,
        keys: Mapping[str, Any],
        data: str | None,
        timeout: Timeout,
        result: type[R],
    ) -> R:
        known, op = (None, row) if isinstance(row, str) else (row, row.name)
        ready = self._calls.prepare(known, keys)
        response = self._exchange(op, known, ready, data, self._limit(op, timeout))
        if not succeeded(known, response.code):
            raise error_for(response.code, response.keys)
        return result(response.code, response.keys, response.data)

    def _next(
        self, row: Operation, keys: Mapping[str, Any], timeout: Timeout, result: type[R]
    ) -> R:
        """exec_next: one at a time in a context, from the byte after what was given last."""
        limit = self._limit(row.name, timeout)
        ready = self._calls.prepare(row, keys)
        began = time.monotonic()
        slot = self._calls.slot(ready)
        turn = threading.Lock()
        if slot is not None:
            with self._link.lock:
                turn = self._turns.setdefault(slot, turn)
        if not turn.acquire(timeout=-1 if limit is None else max(0.0, limit)):
            raise no_turn(row.name, limit or 0)
        try:
            position = self._calls.position(ready)
            if position is not None:
                ready.setdefault("OFFSET", position)
            left = None if limit is None else max(0.0, limit - (time.monotonic() - began))
            response = self._exchange(row.name, row, ready, None, left)
            self._calls.was_given(slot, response)
        finally:
            turn.release()
        if response.code not in row.success:
            raise error_for(response.code, response.keys)
        return result(response.code, response.keys, response.data)

    def _exchange(
        self,
        op: str,
        row: Operation | None,
        keys: dict[str, Any],
        data: str | None,
        timeout: float | None,
    ) -> Response:
        call = _BlockingCall(op, keys, data, repeatable(row, keys))
        try:
            self._link.submit(call)
            answer = call.answers.get(timeout=timeout)
        except Empty:
            call.forgotten = True
            raise late(op, keys, timeout or 0) from None
        except BaseException:
            call.forgotten = True
            raise
        if isinstance(answer, BaseException):
            raise answer
        return answer
