r"""`KEY=VALUE` words as the keys of a request, by the kinds in the operations table.

Lists are comma-separated, or JSON when they begin with `[`. In STOP, separated by commas, `\n` is a
newline, `\t` a tab and `\\` a backslash. Key names may be in lower case.
`DATA=TEXT` is the payload. `KEY=@FILE` reads a secret (ACCTOK, NEW_ACCTOK, STOK) from a file, and
`standard_input` what is given as `-`.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
import sys
import termios
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from infd_protocol.operations import Key, Operation
from infd_protocol.values import Kind

SECRET = frozenset({"ACCTOK", "NEW_ACCTOK", "STOK"})
"""Keys that are kept out of histories and off command lines."""

_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\"}

_TRUE, _FALSE = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


def _boolean(text: str) -> bool:
    if text.lower() in _TRUE | _FALSE:
        return text.lower() in _TRUE
    raise ValueError("must be true or false")


def _integer(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError("must be an integer") from None


def _real(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError("must be a number") from None


def _json(text: str, kind: type) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):  # the latter for brackets without end
        value = None
    if not isinstance(value, kind):
        what = 'list, such as ["a", "b"]' if kind is list else "object"
        raise ValueError(f"must be a JSON {what}")
    return value


def _unescaped(text: str) -> str:
    return re.sub(r"\\([nt\\])", lambda match: _ESCAPES[match[1]], text)


def _list_of(item: Callable[[str], Any]) -> Callable[[str], list[Any]]:
    def parse(text: str) -> list[Any]:
        if text.lstrip().startswith("["):
            return list(_json(text, list))
        return [item(part.strip()) for part in text.split(",")] if text.strip() else []

    return parse


_PARSERS: dict[Kind, Callable[[str], Any]] = {
    Kind.UINT32: _integer,
    Kind.F32: _real,
    Kind.BOOL: _boolean,
    Kind.BIT: lambda text: int(_boolean(text)),
    Kind.STR_LIST: _list_of(str),
    Kind.UINT32_LIST: _list_of(_integer),
    Kind.BOOL_LIST: _list_of(_boolean),
    Kind.ID: _integer,
    Kind.ID_LIST: _list_of(_integer),
    Kind.MAP: lambda text: _json(text, dict),
    Kind.MAP_LIST: lambda text: _json(text, list),
}


_TEXTS = _list_of(_unescaped)


def parse_value(key: Key, text: str) -> Any:
    """The value that `text` spells for a key. Raises ValueError, naming the key."""
    parse = _TEXTS if key.name == "STOP" else _PARSERS.get(key.kind, str)
    try:
        return parse(text)
    except ValueError as error:
        # As it was typed: repr() would double its backslashes.
        raise ValueError(f"{key.name} {error}, not '{text}'.") from None


def parse_words(row: Operation, words: Iterable[str]) -> tuple[dict[str, Any], str | None]:
    """`(keys, data)` of `KEY=VALUE` words. Raises ValueError, naming the word at fault."""
    keys: dict[str, Any] = {}
    data: str | None = None
    for word in words:
        name, equals, text = word.partition("=")
        name = name.upper()
        if not equals:
            raise ValueError(f"{word!r} is not of the form KEY=VALUE.")
        if name == "DATA" and name not in row.by_name:
            data = text
            continue
        key = row.by_name.get(name)
        if key is None:
            known = ", ".join(row.by_name) or "no keys"
            raise ValueError(f"{row.name} takes no key {name}; it takes {known}.")
        if name in keys:
            raise ValueError(f"{name} is given twice.")
        if name in SECRET and text.startswith("@"):
            text = _read(name, Path(text[1:]))
        keys[name] = parse_value(key, text)
    return keys, data


def _read(name: str, path: Path) -> str:
    try:
        return path.read_text("utf-8").partition("\n")[0].strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise ValueError(f"{name} cannot be read from {path}: {reason}.") from None


def unread_input() -> bool:
    """Whether something waits on standard input now, in a pipe or a file; never waits for it."""
    try:
        kind = os.fstat(sys.stdin.fileno())
        if stat.S_ISREG(kind.st_mode):
            return kind.st_size > os.lseek(sys.stdin.fileno(), 0, os.SEEK_CUR)
        if stat.S_ISFIFO(kind.st_mode):
            waiting = fcntl.ioctl(sys.stdin.fileno(), termios.FIONREAD, b"\0" * 4)
            return int.from_bytes(waiting, sys.byteorder) > 0
    except (ValueError, OSError):  # closed, or none
        pass
    return False


def standard_input() -> str:
    """All of it. Raises ValueError for what is no text in UTF-8."""
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError:
        raise ValueError("Standard input is not UTF-8.") from None
