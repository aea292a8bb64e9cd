"""What is printed: streamed replies, results as tables, notices. Everything through `plain`.

Standard output is looked up anew for each write, because prompt_toolkit replaces it while a
prompt is open. Notices of the connection come from another thread, hence the lock.
"""

from __future__ import annotations

import shutil
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from infd_client import Result, codes
from infd_protocol.operations import OPERATIONS, Key, Operation
from infd_repl.plain import one_line, plain
from infd_repl.wrapping import Wrapper


class View:
    """The terminal, for output."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._mid_line = False
        self._wrapper = Wrapper()
        self._resumed = False

    def _console(self) -> Console:
        return Console(highlight=False, markup=False, emoji=False, soft_wrap=True)

    def piece(self, text: str) -> None:
        """A piece of a reply, as it comes."""
        with self._lock:
            if self._resumed:
                self._resumed = False
                self._wrapper.at_margin()
            sys.stdout.write(self._wrapper.feed(plain(text), _columns()))
            sys.stdout.flush()
            if text:
                self._mid_line = not text.endswith("\n")

    def resumed(self) -> None:
        """The terminal was the shell's in between, which leaves the cursor at the margin. This may
        be called within any of the others, as by a signal handler."""
        self._resumed = True

    def end_line(self) -> None:
        """Be at the beginning of a line."""
        with self._lock:
            if self._mid_line:
                sys.stdout.write(self._wrapper.rest(_columns()) + "\n")
                sys.stdout.flush()
                self._mid_line = False
            self._wrapper = Wrapper()

    def line(self, text: str, style: str = "") -> None:
        """A line of our own."""
        with self._lock:
            self.end_line()
            self._console().print(Text(one_line(text), style=style), soft_wrap=False)

    def notice(self, text: str) -> None:
        """A line about what goes on."""
        self.line(text, "dim")

    def problem(self, text: str) -> None:
        """A line about what went wrong."""
        self.line(text, "red")

    def table(self, titles: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
        """Rows under titles."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
        for at, title in enumerate(titles):
            # Names stand first: whole, so that they can be copied.
            table.add_column(Text(plain(title)), overflow="fold", no_wrap=at == 0)
        for row in rows:
            table.add_row(*(Text(shown(cell)) for cell in row))
        with self._lock:
            self.end_line()
            self._console().print(table, soft_wrap=False)

    def pairs(self, pairs: Sequence[tuple[str, object]]) -> None:
        """Names and values in two columns."""
        grid = Table.grid(padding=(0, 2, 0, 0))
        for name, value in pairs:
            grid.add_row(Text(plain(name), style="cyan"), Text(shown(value)))
        with self._lock:
            self.end_line()
            self._console().print(grid, soft_wrap=False)

    def result(self, row: Operation, result: Result) -> None:
        """What an operation answered."""
        known = codes.BY_NUMBER.get(result.code)
        self.notice(f"{known.name if known else 'code'} ({result.code})")
        rest = dict(result.keys)
        lists = {name: rest[name] for name in _parallel(row, rest)}
        for name in lists:
            del rest[name]
        maps = {name: rest.pop(name) for name in list(rest) if _is_table(rest[name])}
        if rest:
            self.pairs(list(rest.items()))
        if lists:
            self.table(list(lists), list(zip(*lists.values(), strict=True)))
        for table in maps.values():
            titles = list(dict.fromkeys(name for entry in table for name in entry))
            self.table(titles, [[entry.get(name, "") for name in titles] for entry in table])
        if result.data:
            self.piece(result.data)
            self.end_line()

    def operation(self, row: Operation) -> None:
        """The help on an operation, from its row in the table."""
        self.line(f"{row.name}: {row.doc}", "bold")
        for title, keys in (("in", row.takes), ("out", row.gives)):
            entries = [_described(key) for key in keys]
            payload = row.data_in if title == "in" else row.data_out
            if payload:
                needed = row.data_required or title == "out"
                entries.append(("DATA", "str", payload + ("" if needed else "; optional")))
            if entries:
                self.table((title, "type", ""), entries)
        if row.flag:
            self.notice(f"needs {row.flag}")
        names = [codes.BY_NUMBER[code] for code in sorted(row.may_answer)]
        self.table(("code", "", ""), [(code.number, code.name, code.sentence) for code in names])

    def code(self, row: codes.Code) -> None:
        """The help on a code, from its row in the table."""
        self.line(f"{row.name} ({row.number}): {row.sentence}", "bold")
        if row.refuses:
            again = "may succeed later" if row.retryable else "is refused until something changes"
            self.notice(f"Nothing was carried out. The same call {again}.")
        ops = [op.name for op in OPERATIONS.values() if row.number in op.may_answer]
        if len(ops) == len(OPERATIONS):
            ops = ["every operation"]
        if ops:
            self.notice(f"Answered by {', '.join(ops)}.")


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _described(key: Key) -> tuple[str, str, str]:
    notes = [key.doc, str(key.range) if key.range else "", "optional" if key.optional else ""]
    return key.name, str(key.kind), "; ".join(note for note in notes if note)


def _parallel(row: Operation, keys: Mapping[str, Any]) -> list[str]:
    """The out keys that are columns of one table: several lists of the same length."""
    lists = [key.name for key in row.gives if isinstance(keys.get(key.name), list)]
    names = [name for name in lists if not _is_table(keys[name])]
    lengths = {len(keys[name]) for name in names}
    return names if len(names) > 1 and len(lengths) == 1 and lengths != {0} else []


def _is_table(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(v, dict) for v in value)


def shown(value: object) -> str:
    """A value of a key, for a person."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return "\n".join(f"{plain(name)}: {shown(item)}" for name, item in value.items())
    if isinstance(value, list):
        return ", ".join(shown(item) for item in value) or "(none)"
    return plain(value)
