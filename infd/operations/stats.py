"""What the daemon has done and holds."""

from __future__ import annotations

from typing import Any

from infd.dispatch import Call, Result, handler
from infd.metrics import Totals
from infd_protocol.values import UINT32_MAX


def _count(number: float) -> int:
    """A counter as a uint32; it stays at the largest one."""
    return min(int(number), UINT32_MAX)


def _totals(totals: Totals) -> dict[str, Any]:
    return {"TOKENS_IN": _count(totals.tokens_in), "TOKENS_OUT": _count(totals.tokens_out)}


@handler("inf_get_server_stats")
def get_server_stats(call: Call) -> Result:
    daemon = call.daemon
    models = [name for name in daemon.models.names() if daemon.models.loaded(name) is not None]
    keys: dict[str, Any] = {
        "UPTIME": _count(daemon.metrics.uptime),
        "CONNECTIONS": len(daemon.links),
        "SESSIONS": len(daemon.sessions),
        "CONTEXTS": len(daemon.contexts()),
        "RUNS": daemon.runs(),
        "REQUESTS": _count(daemon.metrics.total.requests),
        **_totals(daemon.metrics.total),
        "MODELS": models,
        "CORES": daemon.cores,
    }
    if call.user.is_super:
        daemon.scheduler.settle()
        daemon.device.settle()
        keys["USERS"] = [_user_stats(call, user.username) for user in daemon.accounts.users()]
    return Result(keys)


def _user_stats(call: Call, username: str) -> dict[str, Any]:
    contexts = call.daemon.sessions.contexts_of(username)
    totals = call.daemon.metrics.by_user.get(username, Totals())
    return {
        "USERNAME": username,
        "SESSIONS": len(call.daemon.sessions.of_user(username)),
        "CONTEXTS": len(contexts),
        "RUNS": sum(context.busy for context in contexts),
        "PROCESSOR_MS": _count(1000 * call.daemon.processor_seconds(username)),
        **_totals(totals),
    }
