"""Models: list, describe, load, unload; and their tokenizers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from infd.dispatch import Call, Result, handler
from infd.models.service import LoadedModel, Reservation
from infd_protocol.errors import (
    ExecTokenizationFailed,
    InfInvalidParams,
    InfModelIsNotAccessible,
    InfModelNameMismatch,
)

T = TypeVar("T")

INLINE = 4096
"""Characters or tokens that are handled on the loop's thread: well under a millisecond."""


@handler("inf_get_accessible_models")
def get_accessible_models(call: Call) -> Result:
    names = call.daemon.models.names()
    return Result({"MODEL": [name for name in names if call.user.reaches(name)]})


@handler("inf_get_program_models")
def get_program_models(call: Call) -> Result:
    return Result({"MODELS": call.daemon.models.names()})


@handler("inf_load_model")
async def load_model(call: Call) -> Result:
    if call.keys["CTXSIZE"] == 0:
        raise InfInvalidParams("CTXSIZE must be above 0: it is the model's budget in tokens.")
    await call.daemon.models.load(call.keys["MODEL"], call.keys["CTXSIZE"])
    return Result()


@handler("inf_unload_model")
async def unload_model(call: Call) -> Result:
    await call.daemon.models.unload(call.keys["MODEL"])
    return Result()


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


async def _on_model(loaded: LoadedModel, size: int, work: Callable[[], T]) -> T:
    """Do `work` on the model; beside the loop when it is long. The model stays meanwhile."""
    if size <= INLINE:
        return work()
    hold = loaded.reserve(0, user="", user_is_super=True, sharers=0)
    return await asyncio.shield(asyncio.ensure_future(_in_thread(work, hold)))


async def _in_thread(work: Callable[[], T], hold: Reservation) -> T:
    try:
        return await asyncio.to_thread(work)
    finally:
        hold.release()


@handler("inf_tokenize")
async def tokenize(call: Call) -> Result:
    loaded = _tokenizing_model(call)
    text, special = call.data or "", call.keys.get("SPECIAL", False)
    tokens = await _on_model(
        loaded, len(text), lambda: loaded.model.tokenize(text, special=special, bos=False)
    )
    return Result({"TOKENS": tokens})


@handler("inf_detokenize")
async def detokenize(call: Call) -> Result:
    loaded = _tokenizing_model(call)
    tokens, model = call.keys["TOKENS"], loaded.model
    if (largest := max(tokens, default=0)) >= model.info.n_vocab:
        raise InfInvalidParams(f"TOKENS holds {largest}; the model has {model.info.n_vocab}.")
    text = await _on_model(
        loaded, len(tokens), lambda: b"".join(model.piece(token, special=True) for token in tokens)
    )
    return Result(data=text.decode("utf-8", "replace"))


@handler("inf_get_model_info")
async def get_model_info(call: Call) -> Result:
    return Result(await call.daemon.models.info(call.keys["MODEL"]))
