"""Failures in one line: name, code, what is wrong, what to do. Never a traceback."""

from __future__ import annotations

from collections.abc import Mapping

from infd_client import (
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
)
from infd_repl.plain import one_line

REPORTED = (InfdError, ClientError, ProtocolError, ValueError, OSError)
"""What a person may bring about, or meet; anything else is a fault of this program."""

CUT = "The reply was cut: the context or max_tokens is used up."

Hints = Mapping[type[InfdError], str]
"""What to do about a refusal, in the words of the place where it is told."""

COMMAND: Hints = {
    InfModelContextFull: "--context N with a smaller N takes less",
}
"""In a command that talks: ask, chat."""

REPL: Hints = {
    InfModelIsNotAccessible: "see /models, or ask an administrator for access",
    InfModelNameMismatch: "/models lists them, and which are loaded",
    InfModelContextFull: "/context lists yours here, /context drop ID frees one, "
    "/context new SIZE with a smaller SIZE takes less",
    ExecTokenLimitExceeded: "/clear begins anew, /context new SIZE makes a larger one",
    ExecAlreadyProcessing: "/stop ends the run",
    InfContextHalted: "/regenerate tries again, /clear makes the context anew",
}


def explain(error: BaseException, hints: Hints | None = None) -> str:
    """The failure as one line; with what `hints` say to do about it."""
    if isinstance(error, OSError) and type(error).__str__ is OSError.__str__ and error.strerror:
        where = f"{error.filename}: " if error.filename else ""
        return one_line(f"{where}{error.strerror}")
    if not isinstance(error, InfdError):
        return one_line(str(error) or type(error).__name__)
    text = one_line(f"{error.name} ({error.code}): {error.detail}")
    after = error.keys.get("RETRY_AFTER")
    if isinstance(error, PktOverloaded) and isinstance(after, int | float):
        # The daemon's own sentence often says it already.
        return text if "again in" in text else f"{text} Try again in {after:g} s."
    hint = next((text for kind, text in (hints or {}).items() if isinstance(error, kind)), "")
    return f"{text} ({hint})" if hint else text
