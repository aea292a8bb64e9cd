"""Getting in and out: hello, logging in, sessions."""

from __future__ import annotations

from typing import Any

import infd
from infd.accounts import authority
from infd.accounts.user import Flag, User
from infd.dispatch import Call, Result, handler
from infd.operations.targets import authorised, end_sessions, refusals_told
from infd.session import Session
from infd_protocol import PROTOCOL_VERSION
from infd_protocol.operations import OPERATIONS
from infd_protocol.values import UINT32_MAX


@handler("inf_hello")
def hello(call: Call) -> Result:
    return Result(
        {
            "VERSION": infd.__version__,
            "PROTOCOL": PROTOCOL_VERSION,
            "MAX_FRAME": call.daemon.config.max_frame,
            "OPERATIONS": {
                name: [key.name for key in operation.takes]
                for name, operation in OPERATIONS.items()
            },
        }
    )


@handler("inf_access_request")
async def access_request(call: Call) -> Result:
    with refusals_told(call, "login refused"):
        user = await call.daemon.accounts.login(
            call.keys["USERNAME"],
            call.keys["ACCTOK"],
            address=call.address,
            connection=call.connection,
        )
        session, stok = call.daemon.sessions.create(user, call.address)
    # It belongs to this connection until another names it: if that is lost without ever using
    # the session, the idle time runs from then.
    session.attach(call.connection)
    if call.connection.closed:
        session.detach(call.connection)
    return Result({"STOK": stok})


@handler("inf_destroy_session")
async def destroy_session(call: Call) -> Result:
    await call.daemon.sessions.end(call.session, "The session was destroyed.")
    return Result()


def _of_oneself_or_others(call: Call) -> tuple[User, User]:
    """The caller and the target; the caller's own sessions need no authority."""
    name, caller = call.keys["USERNAME"], authorised(call)
    if name != caller.username:
        authority.check_flag(caller, Flag.USER_MODIFICATION)
    return caller, authority.check_exists(call.daemon.accounts.user(name), name)


@handler("inf_get_sessions")
async def get_sessions(call: Call) -> Result:
    await call.daemon.accounts.settled()
    _, target = _of_oneself_or_others(call)
    sessions = call.daemon.sessions.of_user(target.username)
    return Result({"SESSIONS": [_described(call, session) for session in sessions]})


def _described(call: Call, session: Session) -> dict[str, Any]:
    """A session without its token. AGE and IDLE are seconds; SESSION is its name in the log."""
    now = call.daemon.now()
    return {
        "SESSION": session.label,
        "ADDRESS": session.address,
        "AGE": min(int(now - session.created), UINT32_MAX),
        "IDLE": min(int(now - session.last_request), UINT32_MAX),
        "CONNECTIONS": len(session.connections),
        "CONTEXTS": list(session.contexts),
        "CURRENT": session is call.session,
    }


@handler("inf_end_sessions")
async def end_all_sessions(call: Call) -> Result:
    """All of them: the caller's own session too when it is the caller's user that is named."""
    await call.daemon.accounts.settled()
    caller, target = _of_oneself_or_others(call)
    if target.username != caller.username:
        authority.check_target(caller, target, target.username)
    sessions = call.daemon.sessions.of_user(target.username)
    reason = f"All sessions of the user were ended by {caller.username}."
    return Result({"SESSIONS": await end_sessions(call, sessions, reason)})
