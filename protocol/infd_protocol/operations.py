"""THE table: one row an operation.

Dispatch, argument checks, the client's methods, the REPL's help and completion, the tables of
SPEC.md and the tests' parameters all come from it. `rows` says what a row is, `table` holds
them; this module is where everybody else finds one.
"""

from __future__ import annotations

from infd_protocol.rows import STOK, SUPERUSER, Key, Operation
from infd_protocol.table import ROWS, SAMPLING

__all__ = ["OPERATIONS", "SAMPLING", "STOK", "SUPERUSER", "Key", "Operation", "resolve"]


def _read_table() -> tuple[dict[str, Operation], dict[str, Operation]]:
    by_name: dict[str, Operation] = {}
    by_any: dict[str, Operation] = {}
    for row in ROWS:
        by_name[row.name] = row
        for name in (row.name, *row.aliases):
            if name in by_any:
                raise ImportError(f"table.py: operation {name} stands twice in the table")
            by_any[name] = row
    return by_name, by_any


OPERATIONS, _BY_ANY_NAME = _read_table()


def resolve(name: str) -> Operation | None:
    """The operation of this name or alias, or None."""
    return _BY_ANY_NAME.get(name)
