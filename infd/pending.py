"""A request that is not answered to its end yet: its answers, and its line in the log."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from infd.dispatch import Answer, Result, incident, named, success_code
from infd.logs import log_operation
from infd_protocol import codes
from infd_protocol.connection import Request
from infd_protocol.errors import InfdError
from infd_protocol.operations import OPERATIONS, Operation, resolve

if TYPE_CHECKING:
    from infd.contexts.reply import Reader, Source
    from infd.link import Link
    from infd.session import Session

MAX_DETAIL = 1000
"""Characters of a DETAIL: names out of the request stand in it, and may be as long as a frame."""

LOGIN = OPERATIONS["inf_access_request"]
REASONS = frozenset(
    {
        codes.INF_FAILED_TO_CREATE_CONTEXT, codes.INF_MODEL_CONTEXT_FULL,
        codes.INF_NOT_ENOUGH_MEMORY, codes.INF_UNABLE_TO_OPEN_MODEL_FILE,
    }
)  # fmt: skip
"""Refusals whose reason is logged: they speak of files and memory that an administrator can do
something about, and quote nothing of the request but the name of a model that exists."""

_now = time.perf_counter


def _sentence(detail: str) -> str:
    """A DETAIL that a person can read, in one line, whatever names it quotes."""
    if len(detail) > MAX_DETAIL:
        half = MAX_DETAIL // 2
        detail = f"{detail[: half - 1]}…{detail[-half:]}"
    if not detail.isprintable():
        detail = "".join(c if c.isprintable() else " " for c in detail)
    return detail


class PendingCall:
    """A request that is not answered to its end yet; the `Sink` of its reader."""

    __slots__ = (
        "blocks", "link", "operation", "reader", "request", "session", "source", "started",
    )  # fmt: skip

    def __init__(
        self, link: Link, request: Request, session: Session | None, started: float
    ) -> None:
        self.link = link
        self.request = request
        self.session = session
        self.started = started
        self.operation: Operation | None = None
        self.blocks = False
        self.reader: Reader | None = None
        self.source: Source | None = None

    # --- a reader's sink -------------------------------------------------------------------

    @property
    def writable(self) -> bool:
        return self.link.writable

    @property
    def closed(self) -> bool:
        return self.link.closed

    def waits_for(self, source: Source, reader: Reader) -> None:
        """The answers come from this reader of this context."""
        self.source = source
        self.reader = reader
        self.link.track(self)

    def resume(self) -> None:
        if self.source is not None and self.reader is not None:
            self.source.resume(self.reader)

    def lost(self) -> None:
        """The connection is gone."""
        if self.source is not None and self.reader is not None:
            self.source.forget(self.reader)

    def send(self, keys: dict[str, Any], data: str, *, last: bool) -> None:
        if last:
            self.link.untrack(self)
            self._log(codes.EXEC_SUCCESS)
        self.link.respond(self.request.seq, codes.EXEC_SUCCESS, keys, data, last=last)

    # --- any call's answer -----------------------------------------------------------------

    def answer(self, result: Result) -> None:
        assert self.operation is not None
        code = success_code(self.operation, result)
        self._log(code)
        self.link.respond(self.request.seq, code, result.keys, result.data, last=True)

    def refuse(self, error: InfdError) -> None:
        self.link.untrack(self)
        detail = _sentence(error.detail)
        told = detail if error.code in REASONS else ""
        self._log(error.code, incident=error.keys.get("INCIDENT"), detail=told)
        keys = {"DETAIL": detail, **error.keys}
        self.link.respond(self.request.seq, error.code, keys, None, last=True)

    def done(self, task: asyncio.Task[Answer]) -> None:
        """The handler's task has ended."""
        self.link.waiting -= 1
        try:
            outcome = task.result()
        except InfdError as error:
            self.refuse(error)
        except (Exception, asyncio.CancelledError) as error:
            # The end of the daemon cancels what still waits then, and nobody is connected.
            if not (self.link.closed and isinstance(error, asyncio.CancelledError)):
                self.refuse(incident(error, self.request.op))
        else:
            if outcome is not None:
                self.answer(outcome)
        if self.blocks:
            self.link.unblock()

    def _user_who_logs_in(self) -> str:
        """The user named in the request, if there is one: a mistyped name may be a token."""
        name = self.request.keys.get("USERNAME")
        known = type(name) is str and self.link.daemon.accounts.user(name) is not None
        return str(name) if known else ""

    def _log(self, code: int, incident: Any = None, detail: str = "") -> None:
        # A refusal comes before the operation is settled; its line names what was asked for.
        session, row = self.session, self.operation or resolve(self.request.op)
        quiet = row is not None and (row.reads or row.streaming) and code in row.success
        ctxid = self.request.keys.get("CTXID")
        log_operation(
            row.name if row else "?",
            user=session.username if session else self._user_who_logs_in(),
            session=session.label if session else "",
            ctxid=ctxid if type(ctxid) is int else None,
            code=code,
            ms=(_now() - self.started) * 1000.0,
            reads=quiet,
            incident=incident,
            target=named(self.link.daemon, row, self.request.keys, code) if row else "",
            address=self.link.address if row is LOGIN else "",
            detail=detail,
        )
        self.link.daemon.metrics.total.requests += 1
