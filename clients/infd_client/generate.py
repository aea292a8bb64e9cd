"""Writes `_methods.py` and `_results.py` from the operations table.

    python -m infd_client.generate           writes them
    python -m infd_client.generate --check   writes nothing; exit status 1 if they differ

The files are committed, so that editors and type checkers see every method. A test compares
them whole with what this module makes.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

from infd_protocol.codes import BY_NUMBER
from infd_protocol.errors import class_for
from infd_protocol.operations import OPERATIONS, SUPERUSER, Key, Operation
from infd_protocol.values import PYTHON_TYPES, Kind

WIDTH = 100
HEAD = "Made by `python -m infd_client.generate` from the operations table; changes here are lost."

_TAKEN: dict[Kind, str] = {
    Kind.F32: "float",
    Kind.BIT: "bool | int",
    Kind.ID: "int | str",
    Kind.STR_LIST: "Sequence[str]",
    Kind.UINT32_LIST: "Sequence[int]",
    Kind.BOOL_LIST: "Sequence[bool]",
    Kind.ID_LIST: "Sequence[int | str]",
}
"""Types of arguments, where they are wider than those of results."""

_SHELL_KEYS = frozenset({"STOK", "STREAM"})
"""In keys that are no arguments like the others: STOK is remembered, STREAM is `stream()`."""


def result_name(row: Operation) -> str:
    """The result class of an operation."""
    return "".join(part.capitalize() for part in row.name.split("_")) + "Result"


def _wrapped(text: str, indent: int, hang: str = "") -> list[str]:
    return textwrap.wrap(
        text, WIDTH, initial_indent=" " * indent, subsequent_indent=" " * indent + hang,
        break_long_words=False, break_on_hyphens=False,
    )  # fmt: skip


def _arguments(row: Operation) -> list[tuple[str, Key]]:
    """The keys that are arguments, required ones first."""
    keys = [key for key in row.takes if key.name not in _SHELL_KEYS]
    keys.sort(key=lambda key: key.optional)
    return [(key.name.lower(), key) for key in keys]


def _described(name: str, key: Key) -> str:
    notes = [key.doc]
    if key.range is not None:
        notes.append(str(key.range))
    return f"{name}: {'; '.join(note for note in notes if note)}" + (
        " (optional)." if key.optional else "."
    )


def _docstring(row: Operation, indent: int) -> Iterator[str]:
    pad = " " * indent
    yield f'{pad}"""{row.doc}'
    lines: list[str] = []
    for name, key in _arguments(row):
        lines += _wrapped(_described(name, key), indent, "    ")
    if row.data_in:
        optional = "" if row.data_required else " (optional)"
        lines += _wrapped(f"data: {row.data_in}{optional}.", indent, "    ")
    if lines:
        yield ""
        yield from lines
    gives = [f"`{key.name.lower()}`" for key in row.gives]
    if row.data_out:
        gives.append("`data`")
    if row.success - {2000, 3000}:
        names = [BY_NUMBER[code].name for code in sorted(row.success)]
        gives.insert(0, f"`code` ({', '.join(names)})")
    if gives:
        yield ""
        yield from _wrapped(f"Returns: {', '.join(gives)}.", indent, "    ")
    if row.flag:
        needs = "a superuser" if row.flag == SUPERUSER else f"the authority flag {row.flag}"
        yield ""
        yield from _wrapped(f"Needs: {needs}.", indent)
    if row.streaming:
        yield ""
        yield from _wrapped(
            "Without `offset` it goes on after the last byte that this client returned, so "
            "nothing is lost with a connection or an interrupted call; calls in one context "
            "are made one after another. `stream()` reads a whole reply.", indent,
        )  # fmt: skip
    yield ""
    refusing = sorted(row.may_answer - row.success)
    names = [f"{class_for(code).__name__} ({code})" for code in refusing]
    yield from _wrapped(f"Raises: {', '.join(names)}.", indent, "    ")
    yield f'{pad}"""'


def _method(row: Operation, asynchronous: bool) -> Iterator[str]:
    result = result_name(row)
    yield f"    {'async ' if asynchronous else ''}def {row.name}("
    yield "        self,"
    yield "        *,"
    sent: list[str] = []
    if row.session:
        sent.append('"STOK": stok')
    for name, key in _arguments(row):
        kind = _TAKEN.get(key.kind, PYTHON_TYPES[key.kind])
        yield f"        {name}: {kind}{' | None = None' if key.optional else ''},"
        sent.append(f'"{key.name}": ' + (f"bit({name})" if key.kind is Kind.BIT else name))
    if row.data_in:
        yield f"        data: str{'' if row.data_required else ' | None = None'},"
    if row.session:
        yield "        stok: str | None = None,"
    yield "        timeout: Timeout = UNSET,"
    yield f"    ) -> {result}:"
    yield from _docstring(row, 8)
    keys = "{" + ", ".join(sent) + "}"
    if len(keys) > 70:
        yield "        keys = {"
        for entry in sent:
            yield f"            {entry},"
        yield "        }"
        keys = "keys"
    call = "await self" if asynchronous else "self"
    constant = f"_ROWS[{row.name!r}]".replace("'", '"')
    parts = [constant, keys, "data" if row.data_in else "None", "timeout", result]
    if row.streaming:
        parts.remove("None")
    method = "_next" if row.streaming else "_call"
    line = f"        return {call}.{method}({', '.join(parts)})"
    if len(line) <= WIDTH:
        yield line
        return
    yield f"        return {call}.{method}("
    for part in parts:
        yield f"            {part},"
    yield "        )"


_BASE = """    @abstractmethod
    {async_}def _call(
        self,
        row: Operation | str,
        keys: Mapping[str, Any],
        data: str | None,
        timeout: Timeout,
        result: type[R],
    ) -> R:
        \"\"\"Make the call and give its answer as a `result`.\"\"\"

    @abstractmethod
    {async_}def _next(
        self, row: Operation, keys: Mapping[str, Any], timeout: Timeout, result: type[R]
    ) -> R:
        \"\"\"As `_call`, for exec_next: the position in the reply is filled in.\"\"\"
"""


def methods() -> str:
    """The text of `_methods.py`."""
    lines = [
        '"""The methods of both clients.',
        "",
        HEAD,
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from abc import ABC, abstractmethod",
        "from collections.abc import Mapping, Sequence",
        "from typing import Any, TypeVar",
        "",
        "from infd_client._results import (",
        *(f"    {name}," for name in sorted(map(result_name, OPERATIONS.values()), key=str.lower)),
        ")",
        "from infd_client.options import UNSET, Timeout, bit",
        "from infd_client.results import Result",
        "from infd_protocol.operations import OPERATIONS as _ROWS",
        "from infd_protocol.operations import Operation",
        "",
        'R = TypeVar("R", bound=Result)',
    ]
    for name, doc, asynchronous in (
        ("BlockingMethods", "A blocking method for every operation.", False),
        ("AsyncMethods", "A coroutine for every operation.", True),
    ):
        lines += ["", "", f"class {name}(ABC):", f'    """{doc}"""', "", "    __slots__ = ()", ""]
        lines += _BASE.format(async_="async " if asynchronous else "").rstrip().splitlines()
        for row in OPERATIONS.values():
            lines.append("")
            lines += _method(row, asynchronous)
    return "\n".join(lines) + "\n"


def results() -> str:
    """The text of `_results.py`."""
    lines = [
        '"""The results of all operations.',
        "",
        HEAD,
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "from typing import Any",
        "",
        "from infd_client.results import Given, Maybe, Result, TextResult",
    ]
    for row in OPERATIONS.values():
        base = "TextResult" if row.data_out else "Result"
        lines += ["", "", f"class {result_name(row)}({base}):", f'    """{row.doc}']
        described: list[str] = []
        for key in row.gives:
            described += _wrapped(_described(key.name.lower(), key), 4, "    ")
        if row.data_out:
            described += _wrapped(f"data: {row.data_out}.", 4)
        if described:
            lines += ["", *described, '    """']
        else:
            lines[-1] += '"""'
        lines += ["", "    __slots__ = ()"]
        if row.gives:
            lines.append("")
        for key in row.gives:
            kind = "Maybe" if key.optional else "Given"
            lines.append(f'    {key.name.lower()} = {kind}[{PYTHON_TYPES[key.kind]}]("{key.name}")')
    return "\n".join(lines) + "\n"


def files() -> dict[Path, str]:
    """Every generated file and what belongs into it."""
    here = Path(__file__).parent
    return {here / "_methods.py": methods(), here / "_results.py": results()}


def main(arguments: list[str] | None = None) -> int:
    """Write the files, or check them; the exit status."""
    check = "--check" in (sys.argv[1:] if arguments is None else arguments)
    stale = 0
    for path, text in files().items():
        if path.exists() and path.read_text("utf-8") == text:
            continue
        if check:
            print(f"{path.name} is out of date: python -m infd_client.generate", file=sys.stderr)
            stale = 1
        else:
            path.write_text(text, "utf-8")
    return stale


if __name__ == "__main__":
    raise SystemExit(main())
