"""Who may do what to whom: the rules of the contract's section 4, and nothing else.

Pure functions. Each checks one thing and raises the error of its code, or computes the user
that a change makes. The daemon's handlers and the offline commands call them in the order that
the contract fixes:

    caller's authority 2008 → parameters 2016 → target exists 2021 → target static 2008
    → target superuser 2008 → self 2017 → ACCTOK 2008 → last superuser 2008 → own rules

`check_target` is the run from 2021 to the second 2008; the functions that return a `User` are
the own rules. Whoever calls them for a change calls them under the lock of that change.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from infd.accounts.user import LIMITS, Flag, Sampling, User, effective
from infd_protocol.errors import (
    InfAuthorizationFailed,
    InfCantDeleteSelf,
    InfInvalidParams,
    InfModelNameMismatch,
    InfUserNotFound,
)

# Who edits the store offline: the machine's operator, no user of the table.
OPERATOR = User("", is_super=True)

ACCEPT_MODES = ("replace", "add", "remove")


def check_flag(caller: User, flag: str) -> None:
    """The caller holds this authority flag."""
    if not caller.holds(flag):
        raise InfAuthorizationFailed(f"This needs the authority flag {flag}.")


def check_any_flag(caller: User, flags: frozenset[str], what: str) -> None:
    """The caller holds at least one of these flags; `what` names them for people."""
    if not caller.holds_any(flags):
        raise InfAuthorizationFailed(f"This needs {what}.")


def check_superuser(caller: User) -> None:
    """The caller is a superuser."""
    if not caller.is_super:
        raise InfAuthorizationFailed("Only a superuser may do this.")


def check_exists(target: User | None, name: str) -> User:
    """The target itself; InfUserNotFound if there is none."""
    if target is None:
        raise InfUserNotFound(f"USERNAME: there is no user {name!r}.")
    return target


def check_target(caller: User, target: User | None, name: str) -> User:
    """The target exists and is not above the caller; in that order: none, static, superuser."""
    target = check_exists(target, name)
    if caller.is_super:
        return target
    if target.is_static:
        raise InfAuthorizationFailed(
            f"USERNAME: {target.username!r} is static; only a superuser may change it."
        )
    if target.is_super:
        raise InfAuthorizationFailed(
            f"USERNAME: {target.username!r} is a superuser; only a superuser may change it."
        )
    return target


def check_not_self(caller: User, target: User) -> None:
    """Nobody deletes themselves."""
    if caller.username == target.username:
        raise InfCantDeleteSelf("USERNAME: you cannot delete yourself.")


def check_not_last(target: User, superusers: int) -> None:
    """One superuser always remains; `superusers` is how many there are now."""
    if target.is_super and superusers <= 1:
        raise InfAuthorizationFailed(
            f"USERNAME: {target.username!r} is the last superuser; make another one first."
        )


def check_limit(caller: User, key: str, value: int) -> None:
    """Nobody sets a limit above their own; limits are compared as they bind (0 may be 512)."""
    own = caller.limit(key)
    if not caller.is_super and effective(key, value) > own:
        raise InfAuthorizationFailed(f"{key} must not exceed your own, which is {own}.")


def check_new_user(caller: User, new: User) -> None:
    """The grants of a new user: the caller gives only what it has."""
    if caller.is_super:
        return
    if new.is_super:
        raise InfAuthorizationFailed("ISSUPER: only a superuser may create a superuser.")
    if new.is_static:
        raise InfAuthorizationFailed("ISSTATIC: only a superuser may create a static user.")
    beyond = sorted(flag for flag in new.flags if not caller.holds(flag))
    if beyond:
        raise InfAuthorizationFailed(
            f"AUTHFLAGS: you do not hold {', '.join(beyond)}, so you cannot grant it."
        )
    for key, attribute in LIMITS.items():
        check_limit(caller, key, getattr(new, attribute))
    if new.system_prompt and not caller.holds(Flag.USER_SYS_PROMPT_MODIFICATION):
        raise InfAuthorizationFailed(
            f"A system prompt needs the authority flag {Flag.USER_SYS_PROMPT_MODIFICATION}."
        )
    if new.sampling and not caller.holds(Flag.USER_SAMPLER_MODIFICATION):
        raise InfAuthorizationFailed(
            f"Sampling keys need the authority flag {Flag.USER_SAMPLER_MODIFICATION}."
        )
    _check_models(caller, new.models)


def limited(caller: User, target: User, key: str, value: int) -> User:
    """The target with another limit of this key (`BATCH_SET`, …)."""
    check_limit(caller, key, value)
    if key == "ACCLIMIT" and value < len(target.models):
        raise InfInvalidParams(
            f"ACCLIMIT: {target.username!r} may use {len(target.models)} models now; "
            f"shorten that list first or set at least that many."
        )
    return target.with_limit(key, value)


def accepting(
    caller: User, target: User, names: Collection[str], mode: str, registered: Collection[str]
) -> User:
    """The target with another list of models; `registered` are the names that exist.

    A model that has left the registry can still be removed from a list. A caller that is no
    superuser adds only models that it reaches itself; what the target had already may stay.
    """
    if mode not in ACCEPT_MODES:
        raise InfInvalidParams(f"MODE must be one of {', '.join(ACCEPT_MODES)}.")
    wanted = tuple(dict.fromkeys(names))
    known = {*registered, *target.models} if mode == "remove" else set(registered)
    missing = [name for name in wanted if name not in known]
    if missing:
        raise InfModelNameMismatch(
            f"MODEL: there is no model named {', '.join(map(repr, missing))}.", MISSING=missing
        )
    if mode == "add":
        models = tuple(dict.fromkeys((*target.models, *wanted)))
    elif mode == "remove":
        models = tuple(name for name in target.models if name not in wanted)
    else:
        models = wanted
    if len(models) > target.acclimit:
        raise InfAuthorizationFailed(
            f"MODEL: {target.username!r} may use {target.acclimit} models at most (ACCLIMIT), "
            f"and this makes {len(models)}."
        )
    _check_models(caller, [name for name in models if name not in target.models])
    return replace(target, models=models)


def _check_models(caller: User, added: Collection[str]) -> None:
    beyond = [name for name in added if not caller.reaches(name)]
    if beyond:
        raise InfAuthorizationFailed(
            f"MODEL: you may not use {', '.join(map(repr, beyond))} yourself, "
            f"so you cannot grant it."
        )


def flagged(target: User, flags: frozenset[str]) -> User:
    """The target with these flags in place of its own; for superusers to do."""
    return replace(target, flags=flags)


def promoted(target: User) -> User:
    """The target as a superuser; for superusers to do."""
    return replace(target, is_super=True)


def demoted(target: User, superusers: int) -> User:
    """The target as no superuser any more; it keeps the flags that it had before."""
    check_not_last(target, superusers)
    return replace(target, is_super=False)


def sampled(target: User, sampling: Sampling) -> User:
    """The target with this sampling set in place of its own."""
    return replace(target, sampling=sampling)


def prompted(target: User, text: str) -> User:
    """The target with this system prompt; empty text takes it away."""
    return replace(target, system_prompt=text)
