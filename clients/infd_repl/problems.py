"""Failures in one line: name, code, what is wrong, what to do. Never a traceback."""

from __future__ import annotations

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

_HINTS: dict[type[InfdError], str] = {
    InfModelIsNotAccessible: "see /models, or ask an administrator for access",
    InfModelNameMismatch: "/models lists them, and which are loaded",
    InfModelContextFull: "/context lists yours here, /context drop ID frees one",
    ExecTokenLimitExceeded: "/clear begins anew, /context new SIZE makes a larger one",
    ExecAlreadyProcessing: "/stop ends the run",
    InfContextHalted: "/regenerate tries again, /clear makes the context anew",
}


def explain(error: BaseException, *, hints: bool = False) -> str:
    """The failure as one line; `hints`: with what to do about it in the REPL."""
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
    if not hints:
        return text
    hint = next((text for kind, text in _HINTS.items() if isinstance(error, kind)), "")
    return f"{text} ({hint})" if hint else text
