"""What operations on a user share: the caller and the target as of now, and the confirmation.

Rules: dispatch has checked the caller's authority when the request came; what waits (for the
lock, for a hash) checks it again when its turn comes, because it may have gone meanwhile. The
order of checks is `infd.accounts.authority`'s.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import structlog

from infd.accounts import authority
from infd.accounts.store import StoreError
from infd.accounts.user import User
from infd.dispatch import Call, incident
from infd.session import Session
from infd_protocol.errors import (
    InfAuthorizationFailed,
    InfMaximumClients,
    InfSessionTokenMismatch,
    PktInternalError,
    PktOverloaded,
)
from infd_protocol.operations import SUPERUSER

log = structlog.get_logger("infd")


def authorised(call: Call) -> User:
    """The caller as stored now, with the authority that the operation's row asks for.

    InfSessionTokenMismatch if the user is gone, InfAuthorizationFailed if the authority is.
    """
    caller = call.daemon.accounts.user(call.session.username)
    if caller is None:
        raise InfSessionTokenMismatch("The session's user was deleted meanwhile.")
    if call.operation.flag == SUPERUSER:
        authority.check_superuser(caller)
    elif call.operation.flag is not None:
        authority.check_flag(caller, call.operation.flag)
    return caller


@contextmanager
def saving(call: Call) -> Iterator[None]:
    """A store that cannot be written is an incident whose answer says why."""
    try:
        yield
    except StoreError as error:
        keys = incident(error, call.operation.name).keys
        raise PktInternalError(f"Nothing was changed: {error}.", **keys) from error


@contextmanager
def refusals_told(call: Call, event: str) -> Iterator[None]:
    """An access token that is refused, or not looked at, is a warning in the log: from where, for
    which user, and with which code. An unknown user's name is not told: it may be a token."""
    try:
        yield
    except (InfAuthorizationFailed, InfMaximumClients, PktOverloaded) as error:
        name = call.keys["USERNAME"]
        known = {"user": name} if call.daemon.accounts.user(name) else {}
        log.warning(event, address=call.address, code=error.code, **known)
        raise


async def modify(call: Call, decide: Callable[[User, User], User]) -> User:
    """Change the user that USERNAME names into `decide(caller, target)`; durable on return."""
    name = call.keys["USERNAME"]

    def change(target: User) -> User:
        caller = authorised(call)
        return decide(caller, authority.check_target(caller, target, name))

    with saving(call):
        return await call.daemon.accounts.modify(name, change)


async def confirm(
    call: Call,
    authorise: Callable[[Call], User] = authorised,
    before: Callable[[User, User], None] = lambda caller, target: None,
) -> None:
    """Everything up to and with ACCTOK: authority, the target, `before`, the token.

    The changes asked for before this one are waited for, so that it may name a user whose
    creation is under way.
    """
    accounts = call.daemon.accounts
    await accounts.settled()
    name = call.keys["USERNAME"]
    caller = authorise(call)
    target = authority.check_target(caller, accounts.user(name), name)
    before(caller, target)
    with refusals_told(call, "confirmation refused"):
        await accounts.confirm(
            caller, target, call.keys["ACCTOK"], address=call.address, connection=call.connection
        )


async def end_sessions(call: Call, sessions: Iterable[Session], reason: str) -> int:
    """End these sessions, all at once; their number. Their memory is free on return."""
    ending = [call.daemon.sessions.end_soon(session, reason) for session in sessions]
    if ending:
        await asyncio.wait(ending)
    return len(ending)
