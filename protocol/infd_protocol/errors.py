"""The exceptions of the refusing codes, registered by number.

The daemon's handlers raise them, the client raises them again where the call was made.
A duplicate registration or a row without a class fails at import. A number that the table
does not know becomes an instance of its group's class, which carries the number: nothing is
ever matched on text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from infd_protocol import codes
from infd_protocol.codes import Group

_REGISTRY: dict[int, type[InfdError]] = {}


class InfdError(Exception):
    """A refused call.

    `code` is the response code, `name` its name, `detail` one sentence that says what to do,
    `keys` whatever else the response carried (for example RETRY_AFTER, UNKNOWN, LIMIT).
    """

    CODE: ClassVar[int] = 0

    def __init__(self, detail: str = "", /, **keys: object) -> None:
        self.code: int = self.CODE
        row = codes.BY_NUMBER.get(self.CODE)
        self.detail = detail or (row.sentence if row else "")
        self.keys: dict[str, object] = keys
        super().__init__(self.detail)

    def __init_subclass__(cls, code: int | None = None) -> None:
        super().__init_subclass__()
        if code is None:
            return
        if code in _REGISTRY:
            raise ImportError(f"errors.py: two classes for code {code}")
        if code not in codes.BY_NUMBER:
            raise ImportError(f"errors.py: code {code} is not in the table")
        cls.CODE = code
        _REGISTRY[code] = cls

    @property
    def name(self) -> str:
        """The code's name, or `CODE_<number>` for one this version does not know."""
        row = codes.BY_NUMBER.get(self.code)
        return row.name if row else f"CODE_{self.code}"

    @property
    def retryable(self) -> bool:
        """Whether the same request may succeed later."""
        row = codes.BY_NUMBER.get(self.code)
        return bool(row and row.retryable)

    def __str__(self) -> str:
        return f"{self.name} ({self.code}): {self.detail}"


class PktError(InfdError):
    """The frame was refused."""


class InfError(InfdError):
    """An INF operation was refused."""


class ExecError(InfdError):
    """An EXEC operation was refused."""


# fmt: off
class PktUndefinedOperation(PktError, code=1002): ...
class PktTimedOut(PktError, code=1007): ...
class PktTooLarge(PktError, code=1016): ...
class PktInvalidFormat(PktError, code=1021): ...
class PktOverloaded(PktError, code=1022): ...
class PktInternalError(PktError, code=1099): ...
class InfMaximumClients(InfError, code=2001): ...
class InfSessionTokenMismatch(InfError, code=2002): ...
class InfModelNameMismatch(InfError, code=2004): ...
class InfContextIdMismatch(InfError, code=2005): ...
class InfInvalidTokenLimit(InfError, code=2006): ...
class InfFailedToCreateContext(InfError, code=2007): ...
class InfAuthorizationFailed(InfError, code=2008): ...
class InfContextInitializing(InfError, code=2012): ...
class InfContextHalted(InfError, code=2013): ...
class InfModelIsNotAccessible(InfError, code=2014): ...
class InfUserAlreadyExists(InfError, code=2015): ...
class InfInvalidParams(InfError, code=2016): ...
class InfCantDeleteSelf(InfError, code=2017): ...
class InfModelContextFull(InfError, code=2019): ...
class InfUserContextLengthExceeded(InfError, code=2020): ...
class InfUserNotFound(InfError, code=2021): ...
class InfNotEnoughMemory(InfError, code=2023): ...
class InfUnableToOpenModelFile(InfError, code=2026): ...
class ExecAlreadyProcessing(ExecError, code=3001): ...
class ExecMessageIdMismatch(ExecError, code=3002): ...
class ExecMissingMessage(ExecError, code=3003): ...
class ExecTokenizationFailed(ExecError, code=3004): ...
class ExecTokenLimitExceeded(ExecError, code=3005): ...
class ExecProcessHalted(ExecError, code=3009): ...
# fmt: on


_GROUPS: dict[Group, type[InfdError]] = {
    Group.PKT: PktError,
    Group.INF: InfError,
    Group.EXEC: ExecError,
}

_unregistered = [row.name for row in codes.refusing() if row.number not in _REGISTRY]
if _unregistered:
    raise ImportError(f"errors.py: no exception class for {', '.join(_unregistered)}")


def class_for(code: int) -> type[InfdError]:
    """The exception class of a code; its group's class if the code is not known."""
    return _REGISTRY.get(code) or _GROUPS[codes.group_of(code)]


def error_for(code: int, keys: Mapping[str, object]) -> InfdError:
    """The exception that a refusing response stands for, with its keys and its number."""
    rest = dict(keys)
    detail = rest.pop("DETAIL", "")
    error = class_for(code)(detail if isinstance(detail, str) else "")
    error.keys = rest
    error.code = code
    return error


def registered() -> Mapping[int, type[InfdError]]:
    """Every registered class by code."""
    return dict(_REGISTRY)
