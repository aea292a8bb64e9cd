"""Failures in one line: name, code, what is wrong, what to do. Never a traceback.

What to do is told in the words of the place where it is read: a command of the REPL, an option of
a command. The operations that a daemon's sentence names are spelled so that they can be typed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from infd_client import (
    OPERATIONS,
    ClientError,
    ExecAlreadyProcessing,
    ExecTokenLimitExceeded,
    InfContextHalted,
    InfdError,
    InfModelContextFull,
    InfModelIsNotAccessible,
    InfModelNameMismatch,
    PktOverloaded,
    ProtocolError,
    Result,
)
from infd_client.turns import ACCEPTED
from infd_repl.plain import one_line

REPORTED = (InfdError, ClientError, ProtocolError, ValueError, OSError)
"""What a person may bring about, or meet; anything else is a fault of this program."""

Hint = Callable[[InfdError], str]
"""What to do about a refusal; "" if there is nothing."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a failure is told: what to do there, how operations are called there, and what helps
    when the context, or max_tokens, was too small."""

    hints: Mapping[type[InfdError], Hint]
    called: Callable[[str], str]
    larger: str
    longer: str
    useless: frozenset[str] = frozenset()
    """Operations that cannot help there, so what is said of them is left out."""


_OPERATION = re.compile(r"(?<![\w/])(?:inf|exec)_\w+")


def _says(text: str, *unless: str) -> Hint:
    """This text, but not where the daemon's own sentence names one of these operations."""

    def says(error: InfdError) -> str:
        return "" if set(unless) & set(_OPERATION.findall(error.detail)) else text

    return says


def _room(error: InfdError) -> int:
    """Tokens that a smaller context may have; 0 if none fits, or an older daemon does not say."""
    left = error.keys.get("LIMIT")
    return left if type(left) is int and left >= ACCEPTED else 0


def _smaller(error: InfdError) -> str:
    room = _room(error)
    if room:
        return f"--context N fits with N from {ACCEPTED} to {room}"
    own = "inf_end_sessions" in error.detail
    return "or wait until another program of yours has ended" if own else ""


def _free_or_smaller(error: InfdError) -> str:
    room = _room(error)
    fits = f", /context new SIZE fits with SIZE from {ACCEPTED} to {room}" if room else ""
    frees = _says(", /context drop ID frees one", "inf_destroy_context")(error)
    return f"/context lists yours here{frees}{fits}"


COMMAND = Place(
    {
        InfModelContextFull: _smaller,
        ExecTokenLimitExceeded: _says("--context N makes a larger context"),
    },
    lambda op: f"`infc call {op}`",
    larger="--context N makes a larger context",
    longer="--max-tokens N allows more",
    # A command has a session of its own, and with it contexts of its own.
    useless=frozenset({"inf_destroy_context"}),
)
"""A command that talks: ask, chat."""

_COMMANDS = {
    "inf_get_program_models": "/models",
    "inf_get_accessible_models": "/models",
    "inf_destroy_context": "/context drop ID",
}
"""What the REPL has a short command for."""

_LISTING = ("inf_get_program_models", "inf_get_accessible_models")
_WAYS_OUT = "/clear begins anew; /context new SIZE, or infc --context SIZE, in a larger context"

REPL = Place(
    {
        InfModelIsNotAccessible: _says("see /models, or ask an administrator for access"),
        InfModelNameMismatch: _says("/models lists them, and which are loaded", *_LISTING),
        InfModelContextFull: _free_or_smaller,
        ExecTokenLimitExceeded: _says(_WAYS_OUT),
        ExecAlreadyProcessing: _says("/stop ends the run"),
        InfContextHalted: _says("/regenerate tries again, /clear makes the context anew"),
    },
    lambda op: _COMMANDS.get(op, f"/{op}"),
    larger=_WAYS_OUT,
    longer="/set max_tokens=N allows more",
)


def detail(error: InfdError, place: Place) -> str:
    """What the daemon said, as one line, with its operations as they are called in this place."""

    def called(found: re.Match[str]) -> str:
        return place.called(found[0]) if found[0] in OPERATIONS else found[0]

    said = one_line(error.detail)
    for op in place.useless:
        said = re.sub(rf"{op} [^,:;.]*, ", "", said)
    return _OPERATION.sub(called, said)


def explain(error: BaseException, place: Place | None = None) -> str:
    """The failure as one line; with what is to be done about it, if the place is given."""
    if isinstance(error, OSError) and type(error).__str__ is OSError.__str__ and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return one_line(f"{where}{error.strerror}")
    if isinstance(error, UnicodeEncodeError):
        return "A text that was given is not UTF-8."
    if not isinstance(error, InfdError):
        return one_line(str(error) or type(error).__name__)
    said = detail(error, place) if place else one_line(error.detail)
    text = f"{error.name} ({error.code}): {said}"
    after = error.keys.get("RETRY_AFTER")
    if isinstance(error, PktOverloaded) and isinstance(after, int | float):
        # The daemon's own sentence often says it already.
        return text if "again in" in text else f"{text} Try again in {after:g} s."
    hints = place.hints.items() if place else ()
    hint = next((hint(error) for kind, hint in hints if isinstance(error, kind)), "")
    return f"{text} ({hint})" if hint else text


def why_small(size: int | None, wanted: int | None) -> str:
    """Why a context of nobody's choosing has only so many tokens; "" if it has what was wanted."""
    if wanted is None:
        return ""
    return (
        f"The context has only {size} tokens, not {wanted}: you can have no more of the model's "
        "budget now."
    )


def why_cut(
    result: Result | None, place: Place, *, size: int | None = None, most: int | None = None
) -> str:
    """Why a reply that has ended with this result was cut, and what helps; "" if it was not.

    `size`: of its context, in tokens; `most`: max_tokens; None: not known, or no limit.
    """
    keys = result.keys if result is not None else {}
    if keys.get("FINISH_REASON") != "length":
        return ""
    came, went = keys.get("TOKENS_IN") or 0, keys.get("TOKENS_OUT") or 0
    if size is not None and came + went >= size:
        return f"The reply was cut: the context of {size} tokens is full. {place.larger}."
    if most is not None and went >= most:
        return f"The reply was cut at {most} tokens, which is max_tokens. {place.longer}."
    return "The reply was cut: the context or max_tokens is used up."
