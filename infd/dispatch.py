"""From a request to its answer: checks in the contract's order, then the operation's handler.

Order: operation known (1002), session (2002), the flag of the operation's row (2008), parameters
(2016), then whatever the handler checks.

Handlers register by name and never see a socket. One may
- return a `Result`: answered inline, no task is made;
- be a coroutine: it runs at once up to its first wait, so that effects stand in the order sent,
  and goes on beside later requests (unless its row is `ordered`);
- return None after giving `call.sink` away: the answers come through the sink (exec_next).
"""

from __future__ import annotations

import asyncio
import secrets
import types
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from infd.accounts.user import User
from infd.session import Session
from infd_protocol import codes
from infd_protocol.connection import Request
from infd_protocol.errors import (
    InfAuthorizationFailed,
    InfdError,
    InfSessionTokenMismatch,
    PktInternalError,
    PktUndefinedOperation,
)
from infd_protocol.operations import OPERATIONS, SUPERUSER, Operation, resolve

if TYPE_CHECKING:
    from infd.contexts.reply import Sink
    from infd.daemon import Daemon

log = structlog.get_logger("infd")


@dataclass(slots=True)
class Result:
    """An answer that carries something out; `code` only where the row has several."""

    keys: dict[str, Any] = field(default_factory=dict)
    data: str | None = None
    code: int | None = None


@dataclass(slots=True)
class Call:
    """One checked request. `user` is the session's user as stored now."""

    daemon: Daemon
    operation: Operation
    keys: dict[str, Any]
    data: str | None
    address: str
    connection: Any
    sink: Sink
    session_or_none: Session | None = None
    user_or_none: User | None = None

    @property
    def session(self) -> Session:
        """The session; only operations whose row has one may ask."""
        assert self.session_or_none is not None
        return self.session_or_none

    @property
    def user(self) -> User:
        """The session's user; only operations whose row has a session may ask."""
        assert self.user_or_none is not None
        return self.user_or_none


Answer = Result | None
Handler = Callable[[Call], Answer | Coroutine[Any, Any, Answer]]
H = TypeVar("H", bound=Callable[..., Any])

HANDLERS: dict[str, Handler] = {}


def handler(name: str) -> Callable[[H], H]:
    """Register the handler of an operation. Raises ImportError for an unknown or second one."""
    if name not in OPERATIONS:
        raise ImportError(f"dispatch.py: {name} is not in the operations table")

    def register(function: H) -> H:
        if name in HANDLERS:
            raise ImportError(f"dispatch.py: two handlers for {name}")
        HANDLERS[name] = function
        return function

    return register


def require_complete() -> None:
    """Raises ImportError when an operation of the table has no handler."""
    missing = sorted(set(OPERATIONS) - set(HANDLERS))
    if missing:
        raise ImportError(f"dispatch.py: no handler for {', '.join(missing)}")


def find_session(daemon: Daemon, request: Request) -> Session | None:
    """The live session that the request names, if any."""
    stok = request.keys.get("STOK")
    return daemon.sessions.find(stok) if type(stok) is str else None


def check(
    daemon: Daemon, request: Request, session: Session | None, address: str, link: Any, sink: Sink
) -> Call:
    """The call, when everything that the table knows is right. Raises the refusing error."""
    operation = resolve(request.op)
    if operation is None:
        raise PktUndefinedOperation(f"There is no operation {request.op[:64]!r}; ask inf_hello.")
    user = None
    if operation.session:
        user = daemon.accounts.user(session.username) if session else None
        if session is None or user is None:
            raise InfSessionTokenMismatch("STOK names no live session; log in again.")
        _check_flag(operation, user)
    keys = operation.parse(request.keys)
    data = operation.parse_data(request.data)
    return Call(daemon, operation, keys, data, address, link, sink, session, user)


def _check_flag(operation: Operation, user: User) -> None:
    if operation.flag is None or user.is_super:
        return
    if operation.flag == SUPERUSER:
        raise InfAuthorizationFailed(f"Only superusers may call {operation.name}.")
    if not user.holds(operation.flag):
        raise InfAuthorizationFailed(f"{operation.name} needs the authority {operation.flag}.")


def incident(error: BaseException, operation: str) -> InfdError:
    """A failure of the daemon itself: logged with its traceback, answered with a number."""
    number = secrets.token_hex(4)
    log.error("incident", incident=number, operation=operation, exc_info=error)
    return PktInternalError(
        f"The daemon failed in {operation}; look for incident {number} in its log.",
        INCIDENT=number,
    )


_TARGETS = {
    name: key
    for name, row in OPERATIONS.items()
    for key in ("MODEL", "USERNAME")
    if row.session and not row.reads and key in row.by_name
}
"""The key that names what an operation changes; USERNAME where there are both."""


def named(daemon: Daemon, operation: Operation, keys: dict[str, Any], code: int) -> str:
    """The user or the model that an operation names to change it, for the log; "" for others.

    A name that was refused and that nobody has may be a mistyped access token: it is not told.
    """
    key = _TARGETS.get(operation.name)
    name = keys.get(key) if key else None
    if type(name) is not str:
        return ""
    if code in operation.success:
        return name
    known = daemon.accounts.user(name) if key == "USERNAME" else name in daemon.models.names()
    return name if known else ""


def success_code(operation: Operation, result: Result) -> int:
    """The code of a result: its own, or the row's only one."""
    if result.code is not None:
        return result.code
    return codes.EXEC_SUCCESS if codes.EXEC_SUCCESS in operation.success else codes.INF_SUCCESS


# --- running a coroutine's first step at once ---------------------------------------------------


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, Answer], waited: Any) -> Generator[Any, Any, Answer]:
    """What is left of a coroutine whose first step yielded `waited`."""
    while True:
        try:
            sent = yield waited
        except BaseException as error:
            step: Callable[[Any], Any] = coroutine.throw
            sent = error
        else:
            step = coroutine.send
        try:
            waited = step(sent)
        except StopIteration as stop:
            answer: Answer = stop.value
            return answer


async def _finish(coroutine: Coroutine[Any, Any, Answer], waited: Any) -> Answer:
    return await _rest(coroutine, waited)


def start(coroutine: Coroutine[Any, Any, Answer]) -> Answer | Coroutine[Any, Any, Answer]:
    """Run a coroutine up to its first wait: its answer if it has one, else what is to be awaited.

    The first step has no current task; handlers therefore must not enter asyncio.timeout()
    before their first wait. Raises what the first step raises.
    """
    try:
        waited = coroutine.send(None)
    except StopIteration as stop:
        answer: Answer = stop.value
        return answer
    return _finish(coroutine, waited)


def invoke(call: Call) -> Answer | asyncio.Task[Answer]:
    """Call the handler. A task stands for an answer that is still to come."""
    outcome = HANDLERS[call.operation.name](call)
    if isinstance(outcome, Coroutine):
        outcome = start(outcome)
        if isinstance(outcome, Coroutine):
            return asyncio.get_running_loop().create_task(outcome)
    return outcome
