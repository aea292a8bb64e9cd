"""What the values of keys may be: types, ranges, and the check of one value.

A check returns the value in its one canonical form (ids as int, flags as bool, reals as
float) or raises ValueError with half a sentence that follows the key's name. Booleans are not
integers here, and a real must be finite as a 32-bit float.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

UINT32_MAX = 0xFFFF_FFFF

_USERNAME = re.compile(r"[A-Za-z0-9._@-]{1,64}")
_DECIMAL = re.compile(r"[0-9]{1,10}")

ACCTOK_MIN_BYTES = 8
ACCTOK_MAX_BYTES = 768


class Kind(StrEnum):
    """The type of a key, spelled as in the protocol's documents."""

    STR = "str"
    UINT32 = "uint32"
    F32 = "f32"
    BOOL = "bool"
    BIT = "bit"
    STR_LIST = "list<str>"
    UINT32_LIST = "list<uint32>"
    BOOL_LIST = "list<bool>"
    ID = "id"
    ID_LIST = "list<id>"
    USERNAME = "username"
    NEW_ACCTOK = "access token"
    MAP = "map"
    MAP_LIST = "list<map>"


@dataclass(frozen=True, slots=True)
class Range:
    """An interval of reals; `open_low` leaves `low` itself out."""

    low: float
    high: float = float("inf")
    open_low: bool = False

    def __contains__(self, value: float) -> bool:
        above = value > self.low if self.open_low else value >= self.low
        return above and value <= self.high

    def __str__(self) -> str:
        if self.high == float("inf"):
            return f"{'above' if self.open_low else 'at least'} {self.low:g}"
        return f"between {self.low:g} and {self.high:g}"


def _str(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("must be a string")
    return value


def _uint32(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= UINT32_MAX:
        raise ValueError("must be an integer from 0 to 4294967295")
    return value


def _f32(value: Any) -> float:
    if type(value) is int:
        try:
            value = float(value)
        except OverflowError:
            raise ValueError("must be a finite 32-bit float") from None
    if type(value) is not float or not as_f32_is_finite(value):
        raise ValueError("must be a finite 32-bit float")
    return value


def as_f32_is_finite(value: float) -> bool:
    """Whether the value, rounded to 32 bits, is neither infinite nor NaN."""
    return value == value and abs(value) < 3.4028235677973366e38  # FLT_MAX and half a step


def to_f32(value: float) -> float:
    """The nearest 32-bit float, which is what a model computes with."""
    rounded: float = struct.unpack("<f", struct.pack("<f", value))[0]
    return rounded


def _bool(value: Any) -> bool:
    if type(value) is bool:
        return value
    if type(value) is int and value in (0, 1):
        return bool(value)
    raise ValueError("must be true or false (or 1 or 0)")


def _bit(value: Any) -> bool:
    if type(value) is not int or value not in (0, 1):
        raise ValueError("must be the integer 1 or 0, not a boolean")
    return bool(value)


def _list_of(
    item: Callable[[Any], Any], what: str, *, numbers: bool = False
) -> Callable[[Any], list[Any]]:
    """`numbers`: every uint32 is such an item as it is."""

    def check(value: Any) -> list[Any]:
        if type(value) is not list:
            raise ValueError(f"must be a list of {what}")
        # Looked through in C: a quarter of a million would hold up everybody else.
        ints = numbers and set(map(type, value)) == {int}
        if ints and min(value) >= 0 and max(value) <= UINT32_MAX:
            return value
        try:
            return [item(element) for element in value]
        except ValueError as error:
            raise ValueError(f"must be a list of {what}; an element {error}") from None

    return check


def _id(value: Any) -> int:
    if type(value) is str and _DECIMAL.fullmatch(value):
        value = int(value)
    if type(value) is not int or not 0 <= value <= UINT32_MAX:
        raise ValueError("must be an id: an integer from 0 to 4294967295, or its decimal string")
    return value


def _username(value: Any) -> str:
    if type(value) is not str or not _USERNAME.fullmatch(value):
        raise ValueError("must be 1 to 64 letters, digits or . _ - @")
    return value


def _new_acctok(value: Any) -> str:
    if type(value) is not str:
        raise ValueError("must be a string")
    if not ACCTOK_MIN_BYTES <= len(value.encode()) <= ACCTOK_MAX_BYTES:
        raise ValueError(f"must be {ACCTOK_MIN_BYTES} to {ACCTOK_MAX_BYTES} bytes long")
    return value


def _map(value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise ValueError("must be a map")
    return value


CHECKS: dict[Kind, Callable[[Any], Any]] = {
    Kind.STR: _str,
    Kind.UINT32: _uint32,
    Kind.F32: _f32,
    Kind.BOOL: _bool,
    Kind.BIT: _bit,
    Kind.STR_LIST: _list_of(_str, "strings"),
    Kind.UINT32_LIST: _list_of(_uint32, "integers", numbers=True),
    Kind.BOOL_LIST: _list_of(_bool, "booleans"),
    Kind.ID: _id,
    Kind.ID_LIST: _list_of(_id, "ids", numbers=True),
    Kind.USERNAME: _username,
    Kind.NEW_ACCTOK: _new_acctok,
    Kind.MAP: _map,
    Kind.MAP_LIST: _list_of(_map, "maps"),
}

PYTHON_TYPES: dict[Kind, str] = {
    Kind.STR: "str",
    Kind.UINT32: "int",
    Kind.F32: "float",
    Kind.BOOL: "bool",
    Kind.BIT: "bool",
    Kind.STR_LIST: "list[str]",
    Kind.UINT32_LIST: "list[int]",
    Kind.BOOL_LIST: "list[bool]",
    Kind.ID: "int",
    Kind.ID_LIST: "list[int]",
    Kind.USERNAME: "str",
    Kind.NEW_ACCTOK: "str",
    Kind.MAP: "dict[str, Any]",
    Kind.MAP_LIST: "list[dict[str, Any]]",
}
"""How a client in Python annotates a key of each kind."""
