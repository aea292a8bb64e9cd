"""Models: list, describe, load, unload; and their tokenizers."""

from __future__ import annotations

from infd.dispatch import Call, Result, handler
from infd.models.service import LoadedModel
from infd_protocol.errors import (
    ExecTokenizationFailed,
    InfInvalidParams,
    InfModelIsNotAccessible,
    InfModelNameMismatch,
)


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


@handler("inf_tokenize")
def tokenize(call: Call) -> Result:
    model = _tokenizing_model(call).model
    special = call.keys.get("SPECIAL", False)
    return Result({"TOKENS": model.tokenize(call.data or "", special=special, bos=False)})


@handler("inf_detokenize")
def detokenize(call: Call) -> Result:
    model = _tokenizing_model(call).model
    tokens = call.keys["TOKENS"]
    for token in tokens:
        if token >= model.info.n_vocab:
            raise InfInvalidParams(f"TOKENS holds {token}; the model has {model.info.n_vocab}.")
    text = b"".join(model.piece(token, special=True) for token in tokens)
    return Result(data=text.decode("utf-8", "replace"))
