"""A user as the daemon knows it: limits, flags, models, sampling and system prompt.

Rules: a `User` never changes; a change makes a new one with a higher `revision`. Limits are
kept as given and read through `effective` (section 5: some zeros stand for a default). The
access token is no part of a user: its hash lives in the store beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from infd_protocol.errors import InfInvalidParams
from infd_protocol.operations import SAMPLING
from infd_protocol.values import CHECKS, Kind

Sampling = Mapping[str, int | float | bool]


class Flag(StrEnum):
    """The authority flags, spelled as in AUTHFLAGS."""

    MODEL_LOAD_UNLOAD = "MODEL_LOAD_UNLOAD"
    ADAPTER_LOAD_UNLOAD = "ADAPTER_LOAD_UNLOAD"
    USER_CREATE_DELETE = "USER_CREATE_DELETE"
    USER_MODIFICATION = "USER_MODIFICATION"
    USER_CONTEXT_LENGTH_MODIFICATION = "USER_CONTEXT_LENGTH_MODIFICATION"
    USER_ACCESS_MODIFICATION = "USER_ACCESS_MODIFICATION"
    USER_SYS_PROMPT_MODIFICATION = "USER_SYS_PROMPT_MODIFICATION"
    USER_SAMPLER_MODIFICATION = "USER_SAMPLER_MODIFICATION"
    USER_MAX_PROCESSOR_THREAD_COUNT_MODIFICATION = "USER_MAX_PROCESSOR_THREAD_COUNT_MODIFICATION"
    USER_PROCESSOR_THREAD_COUNT_MODIFICATION = "USER_PROCESSOR_THREAD_COUNT_MODIFICATION"
    USER_BATCH_LENGTH_MODIFICATION = "USER_BATCH_LENGTH_MODIFICATION"


ALL_FLAGS: frozenset[str] = frozenset(str(flag) for flag in Flag)
USER_FLAGS: frozenset[str] = frozenset(flag for flag in ALL_FLAGS if flag.startswith("USER_"))

# The limits by key name and by attribute of User.
LIMITS: Mapping[str, str] = MappingProxyType(
    {
        "ACCLIMIT": "acclimit",
        "CTXLENGTH": "ctxlength",
        "BATCH_SET": "batch_set",
        "MAX_PROC_THREADS": "max_proc_threads",
        "PROC_THREADS": "proc_threads",
    }
)

# What a stored 0 stands for (section 5 of the contract); other limits mean their 0.
_ZERO_READS_AS: Mapping[str, int] = {"BATCH_SET": 512, "MAX_PROC_THREADS": 1, "PROC_THREADS": 1}

_KEPT_AS: Mapping[Kind, type[int] | type[float] | type[bool]] = {
    Kind.UINT32: int,
    Kind.F32: float,
    Kind.BOOL: bool,
}

# The sampling keys with the type that they are kept in.
SAMPLING_KEYS: Mapping[str, type[int] | type[float] | type[bool]] = MappingProxyType(
    {key.name: _KEPT_AS[key.kind] for key in SAMPLING}
)


@dataclass(frozen=True, slots=True)
class User:
    """One account. `sampling` maps upper-case key names to values; `models` are distinct."""

    username: str
    acclimit: int = 0
    ctxlength: int = 0
    batch_set: int = 0
    max_proc_threads: int = 0
    proc_threads: int = 0
    flags: frozenset[str] = frozenset()
    is_super: bool = False
    is_static: bool = False
    models: tuple[str, ...] = ()
    sampling: Sampling = field(default_factory=dict, hash=False)
    system_prompt: str = ""
    revision: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "sampling", MappingProxyType(dict(self.sampling)))

    def holds(self, flag: str) -> bool:
        """Whether the user has this authority flag; a superuser has every one."""
        return self.is_super or flag in self.flags

    def holds_any(self, flags: frozenset[str]) -> bool:
        """Whether the user has at least one of these flags."""
        return self.is_super or not self.flags.isdisjoint(flags)

    def reaches(self, model: str) -> bool:
        """Whether the user may use this model; a superuser may use every one."""
        return self.is_super or model in self.models

    def limit(self, key: str) -> int:
        """The limit of this key (`CTXLENGTH`, …) as it binds."""
        value: int = getattr(self, LIMITS[key])
        return effective(key, value)

    def with_limit(self, key: str, value: int) -> User:
        """The user with another limit of this key, kept as given."""
        change: dict[str, Any] = {LIMITS[key]: value}
        return replace(self, **change)


def effective(key: str, value: int) -> int:
    """What a stored limit stands for: 0 is 512 for BATCH_SET and 1 for the thread counts."""
    return value or _ZERO_READS_AS.get(key, 0)


def is_username(name: str) -> bool:
    """Whether this is 1 to 64 of ASCII letters, digits, `.`, `_`, `-`, `@`."""
    try:
        check_username(name)
    except InfInvalidParams:
        return False
    return True


def check_username(name: str) -> str:
    """The name itself; InfInvalidParams if it breaks the rule."""
    try:
        CHECKS[Kind.USERNAME](name)
    except ValueError as error:
        raise InfInvalidParams(f"USERNAME {error}.") from None
    return name


def check_flags(names: list[str] | tuple[str, ...] | frozenset[str]) -> frozenset[str]:
    """The flags as a set; InfInvalidParams naming those that do not exist."""
    wrong = sorted(set(names) - ALL_FLAGS)
    if wrong:
        raise InfInvalidParams(
            f"AUTHFLAGS holds names that are no flag: {', '.join(wrong)}. There are "
            f"{', '.join(Flag)}."
        )
    return frozenset(names)


def sampling_of(keys: Mapping[str, object]) -> dict[str, int | float | bool]:
    """The sampling keys among `keys`, each in the type that it is kept in (ranges unchecked)."""
    chosen: dict[str, int | float | bool] = {}
    for key, kept_as in SAMPLING_KEYS.items():
        value = keys.get(key)
        if value is not None:
            if not isinstance(value, int | float):
                raise InfInvalidParams(f"{key} must be a number.")
            chosen[key] = kept_as(value)
    return chosen
