"""How one configuration value is read: a kind checks a TOML value and gives the Python one.

Pure. Every kind raises ValueError with what the value must be, to stand behind the key's name
("max_frame must be ..."); `config.py` adds the file and the key.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_UNITS = {"": 1, "b": 1, "k": 2**10, "m": 2**20, "g": 2**30, "t": 2**40}
_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?\s*\Z", re.IGNORECASE)
_PERCENT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*%\s*\Z")
_MEMORY = 'must be a fraction in (0, 1], a percentage such as "90%", or a size such as "16MiB"'
UINT32 = 2**32 - 1


@dataclass(frozen=True, slots=True)
class Kind:
    """What a value of a key may be: a word for people, and the check."""

    word: str
    read: Callable[[Any], Any]


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise ValueError("must be true or false")
    return value


def _size(value: Any) -> int:
    if type(value) is str and (match := _SIZE.match(value)):
        return int(float(match[1]) * _UNITS[match[2].lower()])
    if type(value) is int and value >= 0:
        return value
    raise ValueError('must be a number of bytes or a size such as "16MiB"')


def _room(value: Any) -> int | float:
    if type(value) in (int, float) and value == 0:
        return 0
    try:
        return _memory(value)
    except ValueError as error:
        raise ValueError(f"{error}; 0 for none") from None


def _memory(value: Any) -> int | float:
    if type(value) is str and (match := _PERCENT.match(value)):
        value = float(match[1]) / 100
    if type(value) is float:
        if not 0 < value <= 1:
            raise ValueError(_MEMORY)
        return value
    try:
        size = _size(value)
    except ValueError:
        raise ValueError(_MEMORY) from None
    if size == 0:
        raise ValueError("must be more than 0 bytes")
    return size


def _share(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value <= 1:
        raise ValueError("must be a fraction in (0, 1]")
    return float(value)


def _seconds(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value < float("inf"):
        raise ValueError("must be a number of seconds, 0 or more")
    return float(value)


def _path(value: Any) -> Path:
    if type(value) is not str or not value or "\0" in value:
        raise ValueError("must be a path in quotes")
    try:
        return Path(value).expanduser()
    except RuntimeError:
        raise ValueError("names the home of a user that there is not") from None


def _address(value: Any) -> str:
    if type(value) is not str:
        raise ValueError('must be "HOST:PORT"')
    split_address(value)
    return value


def integer(least: int) -> Kind:
    """A whole number from `least` on, which may be below 0; an int32."""
    return count(least, 2**31 - 1)


def count(least: int, most: int = UINT32) -> Kind:
    """A whole number in [least, most]."""

    def read(value: Any) -> int:
        if type(value) is not int or not least <= value <= most:
            too_large = type(value) is int and value > most
            bound = f"{least} to {most}" if too_large or most != UINT32 else f"{least} or more"
            raise ValueError(f"must be a whole number, {bound}")
        return value

    return Kind("number", read)


def size(least: int, most: int) -> Kind:
    """A number of bytes in [least, most]."""

    def read(value: Any) -> int:
        number = _size(value)
        if not least <= number <= most:
            raise ValueError(f"must be {least} to {most} bytes")
        return number

    return Kind("size", read)


def choice(*words: str) -> Kind:
    """One of the words."""

    def read(value: Any) -> str:
        if value not in words:
            raise ValueError(f"must be one of {', '.join(words)}")
        return str(value)

    return Kind(" | ".join(words), read)


BOOLEAN = Kind("true | false", _boolean)
MEMORY = Kind("fraction or size", _memory)
ROOM = Kind("fraction or size, 0 for none", _room)
SHARE = Kind("fraction", _share)
SECONDS = Kind("seconds", _seconds)
PATH = Kind("path", _path)
ADDRESS = Kind("HOST:PORT", _address)


def setting(kind: Kind, default: Any, doc: str, *, shown: str | None = None) -> Any:
    """A dataclass field that is a documented key.

    `doc` is one sentence. `shown` is the default as the documents write it, when the value itself
    depends on the machine.
    """
    metadata = {"kind": kind, "doc": doc, "shown": shown}
    return field(default=default, metadata=metadata)


def split_address(address: str) -> tuple[str, int]:
    """`("127.0.0.1", 4633)` of "127.0.0.1:4633"; IPv6 in brackets. Raises ValueError."""
    host, colon, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if bracketed:
        host = host[1:-1]
    digits = port.isascii() and port.isdigit() and int(port) <= 65535
    if not colon or not digits or (":" in host) != bracketed:
        raise ValueError(
            'must be "HOST:PORT" with a port of 0 to 65535 and IPv6 in brackets, '
            'for example "127.0.0.1:4633" or "[::1]:4633"'
        )
    return host, int(port)


def how_exposed(host: str) -> str:
    """Why the host may be reached from other machines, a clause; "" where only this one does.

    Names other than localhost are not looked up: what they mean may change.
    """
    if host == "localhost":
        return ""
    try:
        local = bool(host) and ipaddress.ip_address(host).is_loopback
    except ValueError:
        return "names a host that is not localhost, so other machines may reach it"
    return "" if local else "can be reached from other machines"
