"""Users as a whole: create, delete, show; superusers, flags and tokens.

What changes one setting of a user stands in `user_changes.py`.
"""

from __future__ import annotations

from typing import Any

from infd.accounts import authority
from infd.accounts.user import LIMITS, USER_FLAGS, User, check_flags, sampling_of
from infd.dispatch import Call, Result, handler
from infd.operations.targets import authorised, confirm, end_sessions, modify, saving


@handler("inf_create_new_user")
async def create_new_user(call: Call) -> Result:
    keys = call.keys
    new = User(
        keys["USERNAME"],
        acclimit=keys["ACCLIMIT"],
        ctxlength=keys["CTXLENGTH"],
        batch_set=keys["BATCH_SET"],
        max_proc_threads=keys["MAX_PROC_THREADS"],
        proc_threads=keys["PROC_THREADS"],
        flags=check_flags(keys["AUTHFLAGS"]),
        is_super=keys.get("ISSUPER", False),
        is_static=keys.get("ISSTATIC", False),
        sampling=sampling_of(keys),
        system_prompt=call.data or "",
    )
    with saving(call):
        token = await call.daemon.accounts.create(
            new,
            keys.get("ACCTOK"),
            connection=call.connection,
            check=lambda: authority.check_new_user(authorised(call), new),
        )
    return Result({"ACCTOK": token})


@handler("inf_delete_user")
async def delete_user(call: Call) -> Result:
    accounts = call.daemon.accounts
    name = call.keys["USERNAME"]
    await confirm(call, before=authority.check_not_self)

    def check(target: User) -> None:
        caller = authorised(call)
        authority.check_target(caller, target, name)
        authority.check_not_self(caller, target)
        authority.check_not_last(target, accounts.superusers())

    with saving(call):
        await accounts.delete(name, check=check)
    # A session that was opened while the deletion was written ends like the others.
    await end_sessions(call, call.daemon.sessions.of_user(name), "The user was deleted.")
    # Those that ended with the deletion have given back their memory too.
    await call.daemon.sessions.freed(name)
    return Result()


@handler("inf_modify_user_make_superuser")
async def make_superuser(call: Call) -> Result:
    await confirm(call)
    await modify(call, lambda caller, target: authority.promoted(target))
    return Result()


@handler("inf_modify_user_unmake_superuser")
async def unmake_superuser(call: Call) -> Result:
    accounts = call.daemon.accounts
    await confirm(call)
    await modify(call, lambda caller, target: authority.demoted(target, accounts.superusers()))
    return Result()


@handler("inf_modify_user_set_authority_flags")
async def set_authority_flags(call: Call) -> Result:
    flags = check_flags(call.keys["AUTHFLAGS"])
    await confirm(call)
    await modify(call, lambda caller, target: authority.flagged(target, flags))
    return Result()


def _oneself_or_superuser(call: Call) -> User:
    caller = authorised(call)
    if call.keys["USERNAME"] != caller.username:
        authority.check_superuser(caller)
    return caller


@handler("inf_modify_user_access_token")
async def modify_access_token(call: Call) -> Result:
    name = call.keys["USERNAME"]
    await confirm(call, authorise=_oneself_or_superuser)

    def check(target: User) -> None:
        authority.check_target(_oneself_or_superuser(call), target, name)

    with saving(call):
        token = await call.daemon.accounts.set_token(
            name, call.keys.get("NEW_ACCTOK"), connection=call.connection, check=check
        )
    others = [s for s in call.daemon.sessions.of_user(name) if s is not call.session]
    await end_sessions(call, others, "The user's access token was changed.")
    return Result({"ACCTOK": token})


@handler("inf_get_users")
async def get_users(call: Call) -> Result:
    await call.daemon.accounts.settled()
    _check_may_look(authorised(call))
    return Result({"USERNAME": [user.username for user in call.daemon.accounts.users()]})


@handler("inf_get_user")
async def get_user(call: Call) -> Result:
    await call.daemon.accounts.settled()
    name, caller = call.keys["USERNAME"], authorised(call)
    if name != caller.username:
        _check_may_look(caller)
    user = authority.check_exists(call.daemon.accounts.user(name), name)
    return Result(_shown(user), data=user.system_prompt)


def _check_may_look(caller: User) -> None:
    authority.check_any_flag(caller, USER_FLAGS, "one of the authority flags USER_*")


def _shown(user: User) -> dict[str, Any]:
    return {
        "USERNAME": user.username,
        **{key: getattr(user, attribute) for key, attribute in LIMITS.items()},
        "AUTHFLAGS": sorted(user.flags),
        "ISSUPER": int(user.is_super),
        "ISSTATIC": int(user.is_static),
        "MODEL": list(user.models),
        **user.sampling,
    }
