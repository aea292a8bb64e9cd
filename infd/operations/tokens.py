"""Text to tokens and back.

Rules: what takes longer than a call's own way through the daemon is done beside the loop, in
threads that nothing else waits for. It is the user's own: one such call of a user is done at a
time, in turn with the preparation of prompts, charged to the user and held to half a core in the
long run (preparing.py). What nobody is connected for any more is not begun.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from time import thread_time
from typing import TypeVar

from infd.dispatch import Call, Result, handler
from infd.models.service import LoadedModel
from infd_protocol.codec import MAX_VALUES
from infd_protocol.errors import (
    ExecTokenizationFailed,
    InfInvalidParams,
    InfModelIsNotAccessible,
    InfModelNameMismatch,
    InfSessionTokenMismatch,
)

T = TypeVar("T")

INLINE = 256
"""Bytes or tokens that are handled on the loop's thread: at most 0.2 ms."""


def _tokenizing_model(call: Call) -> LoadedModel:
    name = call.keys["MODEL"]
    if not call.user.reaches(name):
        raise InfModelIsNotAccessible(f"User {call.user.username} may not use the model {name}.")
    loaded = call.daemon.models.loaded(name)
    if loaded is None:
        raise InfModelNameMismatch(f"Model {name} is not loaded; ask an administrator to load it.")
    if not loaded.model.info.has_tokenizer:
        raise ExecTokenizationFailed(f"Model {name} has no tokenizer.")
    return loaded


async def _on_model(call: Call, loaded: LoadedModel, size: int, work: Callable[[], T]) -> T:
    """Do `work` on the model; beside the loop when it is long. The model stays meanwhile."""
    if size <= INLINE:
        return work()
    daemon = call.daemon
    quota = daemon.quotas_for(loaded.model).of(call.user)
    taken = 0.0

    def measured() -> T:
        nonlocal taken
        began = thread_time()
        try:
            return work()
        finally:
            taken = thread_time() - began

    async def begin() -> T:
        if call.connection.closed or call.session.ended:
            raise InfSessionTokenMismatch("The session was ended meanwhile.")
        if _tokenizing_model(call) is not loaded:
            raise InfModelNameMismatch(f"Model {loaded.name} was unloaded meanwhile.")
        hold = loaded.reserve(0, user="", user_is_super=True, sharers=0)
        try:
            return await asyncio.get_running_loop().run_in_executor(daemon.tokenizing, measured)
        finally:
            hold.release()

    def charge() -> float:
        loaded.scheduler.charge(quota.share, taken)
        return taken

    return await quota.preparing.take(begin, charge)


@handler("inf_tokenize")
async def tokenize(call: Call) -> Result:
    loaded = _tokenizing_model(call)
    text, special = call.data or "", call.keys.get("SPECIAL", False)
    tokens = await _on_model(
        call,
        loaded,
        len(text.encode()),
        lambda: loaded.model.tokenize(text, special=special, bos=False),
    )
    if len(tokens) > MAX_VALUES:
        # Nobody could send them back, and to pack millions would hold up everybody else.
        raise InfInvalidParams(
            f"The text has {len(tokens)} tokens; at most {MAX_VALUES} are told: send it in parts."
        )
    return Result({"TOKENS": tokens})


@handler("inf_detokenize")
async def detokenize(call: Call) -> Result:
    loaded = _tokenizing_model(call)
    tokens, model = call.keys["TOKENS"], loaded.model
    if (largest := max(tokens, default=0)) >= model.info.n_vocab:
        raise InfInvalidParams(f"TOKENS holds {largest}; the model has {model.info.n_vocab}.")
    text = await _on_model(
        call,
        loaded,
        len(tokens),
        lambda: b"".join(model.piece(token, special=True) for token in tokens),
    )
    return Result(data=text.decode("utf-8", "replace"))
