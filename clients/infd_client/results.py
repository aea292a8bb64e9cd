"""What a call returns: the response, with its out keys as attributes in lower case.

A result keeps the response's map as it came, so keys that this version does not know are in
`.keys`. An attribute of a key that the daemon may leave out is None when it is absent; a key
that it must send and did not raises ProtocolError. Tokens are left out of `repr()`.
"""

from __future__ import annotations

from typing import Any, Generic, Self, TypeVar, overload

from infd_protocol.connection import ProtocolError

T = TypeVar("T")

SECRET = frozenset({"STOK", "ACCTOK", "NEW_ACCTOK"})
"""Keys whose values are never shown by accident."""


class Result:
    """A call that was carried out.

    `code`: the response code. `keys`: the out keys as sent. `data`: the payload, or None.
    """

    __slots__ = ("code", "data", "keys")

    def __init__(self, code: int, keys: dict[str, Any], data: str | None) -> None:
        self.code = code
        self.keys = keys
        self.data = data

    def __repr__(self) -> str:
        shown = [f"code={self.code}"]
        for name, value in self.keys.items():
            shown.append(f"{name.lower()}={'…' if name in SECRET else repr(value)}")
        if self.data is not None:
            shown.append(f"data={self.data!r}")
        return f"{type(self).__name__}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Result):
            return NotImplemented
        return (self.code, self.keys, self.data) == (other.code, other.keys, other.data)

    __hash__ = None  # type: ignore[assignment]  # the keys may change


class TextResult(Result):
    """The result of an operation that answers with text."""

    __slots__ = ()

    @property
    def text(self) -> str:
        """The payload, "" if there is none."""
        return self.data or ""


class Given(Generic[T]):
    """An out key that is always sent."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, result: None, owner: type) -> Self: ...
    @overload
    def __get__(self, result: Result, owner: type) -> T: ...
    def __get__(self, result: Result | None, owner: type) -> Self | T:
        if result is None:
            return self
        try:
            value: T = result.keys[self.name]
        except KeyError:
            raise ProtocolError(f"the daemon's answer lacks the key {self.name}") from None
        return value


class Maybe(Generic[T]):
    """An out key that may be absent: then None."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    @overload
    def __get__(self, result: None, owner: type) -> Self: ...
    @overload
    def __get__(self, result: Result, owner: type) -> T | None: ...
    def __get__(self, result: Result | None, owner: type) -> Self | T | None:
        return self if result is None else result.keys.get(self.name)
