"""Execution: messages in, runs, and the reply out."""

from __future__ import annotations

from infd.contexts.execution import Execution
from infd.contexts.reply import Reader
from infd.dispatch import Call, Result, handler
from infd_protocol.errors import ExecProcessHalted, InfInvalidParams
from infd_protocol.operations import SAMPLING

_SAMPLING_NAMES = frozenset(key.name for key in SAMPLING)

MAX_STOPS = 64
MAX_STOP_BYTES = 4096
"""More stop strings, or longer ones, would cost each token too much."""


@handler("exec_set_input")
def set_input(call: Call) -> Result:
    context = call.session.context(call.keys["CTXID"])
    context.require_ready()
    msgid = context.messages.store(call.keys["ROLE"], call.data or "")
    return Result({"MSGID": msgid})


@handler("exec_execute_input")
async def execute_input(call: Call) -> Result:
    keys = call.keys
    context = call.session.context(keys["CTXID"])
    context.require_ready()
    if call.daemon.stopping:
        raise ExecProcessHalted("The daemon is shutting down; execute again after its restart.")
    stop = tuple(keys.get("STOP", ()))
    if "" in stop or len(stop) > MAX_STOPS or sum(len(s.encode()) for s in stop) > MAX_STOP_BYTES:
        raise InfInvalidParams(
            f"STOP must list at most {MAX_STOPS} strings, none empty, "
            f"of {MAX_STOP_BYTES} bytes in all."
        )
    await context.execute(
        Execution(
            msgids=keys["MSGID"],
            sampling={name: keys[name] for name in _SAMPLING_NAMES & keys.keys()},
            seed=keys.get("SEED"),
            max_tokens=keys.get("MAX_TOKENS"),
            stop=stop,
        )
    )
    return Result()


@handler("exec_next")
def next_piece(call: Call) -> None:
    """Answered through the sink: now, later, or again and again."""
    context = call.session.context(call.keys["CTXID"])
    reader = Reader(
        call.sink, offset=call.keys.get("OFFSET"), stream=call.keys.get("STREAM", False)
    )
    call.sink.waits_for(context, reader)
    context.read(reader)


@handler("exec_stop")
async def stop(call: Call) -> Result:
    await call.session.context(call.keys["CTXID"]).stop(call.keys.get("OFFSET"))
    return Result()


@handler("exec_get_messages")
def get_messages(call: Call) -> Result:
    context = call.session.context(call.keys["CTXID"])
    context.require_ready()
    ids, roles, inside, texts = context.messages.listing()
    return Result({"MSGID": ids, "ROLE": roles, "IN_HISTORY": inside, "TEXT": texts})
