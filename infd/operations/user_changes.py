"""Changing one setting of a user: limits, models, system prompt, sampling.

Each is durable and in force before it is answered; later requests of the same connection wait
for that (`ordered` in the table).
"""

from __future__ import annotations

from infd.accounts import authority
from infd.accounts.user import User, sampling_of
from infd.dispatch import Call, Result, handler
from infd.operations.targets import modify


async def _set_limit(call: Call, key: str) -> Result:
    value = call.keys[key]
    await modify(call, lambda caller, target: authority.limited(caller, target, key, value))
    return Result()


@handler("inf_modify_user_model_access_limit")
async def modify_model_access_limit(call: Call) -> Result:
    return await _set_limit(call, "ACCLIMIT")


@handler("inf_modify_user_maximum_context_length")
async def modify_maximum_context_length(call: Call) -> Result:
    return await _set_limit(call, "CTXLENGTH")


@handler("inf_modify_user_batch_size")
async def modify_batch_size(call: Call) -> Result:
    return await _set_limit(call, "BATCH_SET")


@handler("inf_modify_user_processor_thread_count")
async def modify_processor_thread_count(call: Call) -> Result:
    return await _set_limit(call, "PROC_THREADS")


@handler("inf_modify_user_max_processor_thread_count")
async def modify_max_processor_thread_count(call: Call) -> Result:
    return await _set_limit(call, "MAX_PROC_THREADS")


@handler("inf_modify_user_accept_models")
async def modify_accept_models(call: Call) -> Result:
    wanted, mode = call.keys["MODEL"], call.keys.get("MODE", "replace")

    def decide(caller: User, target: User) -> User:
        registered = call.daemon.models.names()
        return authority.accepting(caller, target, wanted, mode, registered)

    user = await modify(call, decide)
    # The contexts that it ended have given back their budget, as after an unload.
    await call.daemon.changes_done()
    return Result({"MODEL": list(user.models)})


@handler("inf_modify_user_system_prompt")
async def modify_system_prompt(call: Call) -> Result:
    text = call.data or ""
    await modify(call, lambda caller, target: authority.prompted(target, text))
    return Result()


@handler("inf_modify_user_sampling_set")
async def modify_sampling_set(call: Call) -> Result:
    sampling = sampling_of(call.keys)
    await modify(call, lambda caller, target: authority.sampled(target, sampling))
    return Result()
