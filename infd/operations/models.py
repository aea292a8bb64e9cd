"""Models: list, describe, load, unload."""

from __future__ import annotations

from infd.dispatch import Call, Result, handler
from infd_protocol.errors import InfInvalidParams


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


@handler("inf_get_model_info")
async def get_model_info(call: Call) -> Result:
    return Result(await call.daemon.models.info(call.keys["MODEL"]))
