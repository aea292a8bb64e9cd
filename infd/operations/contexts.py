"""Contexts: make, list, look at, clear, destroy."""

from __future__ import annotations

from infd.contexts.context import Context
from infd.dispatch import Call, Result, handler
from infd.engine.options import MIN_CTXSIZE
from infd.engine.worker import Finished, Worker
from infd.models.budget import UserShareFull, how_to_free
from infd.models.service import LoadedModel, Reservation
from infd.operations.targets import authorised
from infd.quotas import DEFAULT_BATCH
from infd_protocol.errors import (
    InfFailedToCreateContext,
    InfInvalidParams,
    InfInvalidTokenLimit,
    InfModelContextFull,
    InfModelIsNotAccessible,
    InfModelNameMismatch,
    InfSessionTokenMismatch,
    InfUserContextLengthExceeded,
)


@handler("inf_get_context_ids")
def get_context_ids(call: Call) -> Result:
    return Result({"CTXID": list(call.session.contexts)})


@handler("inf_create_context")
async def create_context(call: Call) -> Result:
    """Sessions that nobody is connected to give way before this is refused for want of room."""
    while True:
        loaded = _check(call)
        try:
            context = await _create(call, loaded)
            return Result({"CTXID": context.ctxid})
        except (InfModelContextFull, InfFailedToCreateContext) as error:
            if isinstance(error, InfFailedToCreateContext) and await _press(call, loaded):
                continue
            if not await _make_room(call, loaded, own_only=isinstance(error, UserShareFull)):
                raise


def _check(call: Call) -> LoadedModel:
    """The model, if this may be tried now. Making room waits: what was right may be so no more."""
    if call.session.ended:
        raise InfSessionTokenMismatch("The session was ended meanwhile.")
    call.user_or_none = authorised(call)
    name, ctxsize, user = call.keys["MODEL"], call.keys["CTXSIZE"], call.user
    if not user.reaches(name):
        raise InfModelIsNotAccessible(f"User {user.username} may not use the model {name}.")
    if ctxsize < MIN_CTXSIZE:
        raise InfInvalidTokenLimit(f"CTXSIZE must be at least {MIN_CTXSIZE} tokens.")
    loaded = call.daemon.models.loaded(name)
    if loaded is None:
        what = "not loaded" if call.daemon.models.known(name) else "not registered"
        raise InfModelNameMismatch(f"Model {name} is {what}; ask an administrator to load it.")
    if loaded.model.info.cannot_generate:
        raise InfInvalidParams(f"Model {name}: {loaded.model.info.cannot_generate}.")
    if ctxsize > user.ctxlength:
        raise InfUserContextLengthExceeded(
            f"CTXSIZE {ctxsize} is above the user's limit CTXLENGTH {user.ctxlength}.",
            LIMIT=user.ctxlength,
        )
    return loaded


def _reserve(call: Call, loaded: LoadedModel) -> Reservation:
    user, daemon = call.user, call.daemon
    limit = daemon.config.max_contexts_per_user
    if len(daemon.sessions.contexts_of(user.username)) >= limit:
        raise UserShareFull(
            f"User {user.username} has {limit} contexts in all of its sessions together, the most "
            f"that max_contexts_per_user allows: {how_to_free(user.username)}.",
            LIMIT=0,
        )
    sharers = sum(
        not other.is_super and other.reaches(loaded.name) for other in daemon.accounts.users()
    )
    return loaded.reserve(
        call.keys["CTXSIZE"], user=user.username, user_is_super=user.is_super, sharers=sharers
    )


async def _create(call: Call, loaded: LoadedModel) -> Context:
    daemon, session, user = call.daemon, call.session, call.user
    reservation = _reserve(call, loaded)
    quota = daemon.quotas_for(loaded.model).of(user)
    ctxid = session.next_ctxid()
    ctxsize = call.keys["CTXSIZE"]

    def finished(event: Finished) -> None:
        evaluated = event.tokens_in - event.tokens_cached
        daemon.metrics.run_ended(session.username, evaluated, event.tokens_out)

    worker = Worker(
        loaded.model,
        loaded.scheduler,
        quota.share,
        quota.limits,
        ctxsize=ctxsize,
        renderer=loaded.renderer,
        run_ahead=daemon.config.run_ahead,
        name=f"infd-{session.label}-{ctxid}",
        batch=loaded.batch,
        shelf=daemon.prefixes.shelf(user.username, loaded.name),
        swap=daemon.swap,
        preparing=quota.preparing,
    )
    context = Context(
        ctxid,
        loaded.name,
        ctxsize,
        worker,
        user=lambda: daemon.accounts.user(session.username) or user,
        release=reservation.release,
        residence=daemon.residence,
        run_timeout=daemon.config.run_timeout or None,
        on_finish=finished,
        embedding_only=loaded.model.info.is_embedding_only,
    )
    session.contexts[ctxid] = context
    try:
        await context.start()
    except BaseException:
        session.contexts.pop(ctxid, None)
        await context.close()
        if session.ended:
            raise InfSessionTokenMismatch("The session was ended meanwhile.") from None
        raise
    return context


async def _press(call: Call, loaded: LoadedModel) -> bool:
    """Save idle contexts of about the size that was refused; False: there are none."""
    if loaded.batch is not None:
        return False
    call.user_or_none = authorised(call)  # the limits as they are now
    batch = call.daemon.quotas_for(loaded.model).of(call.user).limits.batch
    model, ctxsize = loaded.model, call.keys["CTXSIZE"]
    n_ubatch = model.micro_batch(ctxsize, min(batch, DEFAULT_BATCH))
    need = model.bytes_for_context(ctxsize, n_ubatch)
    return await call.daemon.residence.press(need)


async def _make_room(call: Call, loaded: LoadedModel, *, own_only: bool) -> bool:
    """End one session that nobody is connected to: the caller's user's own, or another's that has
    contexts on this model, after `orphan_grace`; the longest alone first. False: there is none."""
    daemon = call.daemon
    now = daemon.now()
    own, others = [], []
    for session in daemon.sessions.detached():
        if session.username == call.user.username:
            if session.contexts:
                own.append(session)
        elif own_only or now - (session.detached_at or now) < daemon.config.orphan_grace:
            continue
        elif any(context.model == loaded.name for context in session.contexts.values()):
            others.append(session)
    for session in (*own, *others):
        await daemon.sessions.end(session, "The session gave way to one that is in use.")
        return True
    return False


@handler("inf_get_context_status")
def get_context_status(call: Call) -> Result:
    code, keys = call.session.context(call.keys["CTXID"]).status()
    return Result(keys, code=code)


@handler("inf_clear_context_history")
async def clear_context_history(call: Call) -> Result:
    await call.session.context(call.keys["CTXID"]).clear()
    return Result()


@handler("inf_destroy_context")
async def destroy_context(call: Call) -> Result:
    context = call.session.context(call.keys["CTXID"])
    del call.session.contexts[context.ctxid]
    await context.close()
    return Result()
