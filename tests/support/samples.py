"""Values that keys take, one for each kind, for tests that go through the operations table."""

from __future__ import annotations

from typing import Any

from infd_protocol.operations import Key, Operation
from infd_protocol.values import Kind

SAMPLES: dict[Kind, Any] = {
    Kind.STR: "text",
    Kind.UINT32: 5,
    Kind.F32: 0.5,
    Kind.BOOL: True,
    Kind.BIT: 1,
    Kind.STR_LIST: ["a", "b"],
    Kind.UINT32_LIST: [1, 2],
    Kind.BOOL_LIST: [True],
    Kind.ID: 1,
    Kind.ID_LIST: [1],
    Kind.USERNAME: "ada",
    Kind.NEW_ACCTOK: "correct-horse",
    Kind.MAP: {},
    Kind.MAP_LIST: [{}],
}

WRONG: dict[Kind, tuple[Any, ...]] = {
    Kind.STR: (5, True, ["x"], b"x"),
    Kind.UINT32: (-1, 2**32, 1.0, "1", True, False),
    Kind.F32: ("0.5", True, float("nan"), float("inf"), 1e39),
    Kind.BOOL: (2, "true", 1.0),
    Kind.BIT: (True, False, 2, "1"),
    Kind.STR_LIST: ("a", [1], {}),
    Kind.UINT32_LIST: (1, ["1"], [True]),
    Kind.BOOL_LIST: ([2], True),
    Kind.ID: (True, -1, "x", 1.0),
    Kind.ID_LIST: (1, ["x"], [True], "1"),
    Kind.USERNAME: ("", "a b", "x" * 65, 5),
    Kind.NEW_ACCTOK: ("short", "x" * 769, 5),
    Kind.MAP: ([], 1),
    Kind.MAP_LIST: ({}, [1]),
}
"""Values that a key of each kind refuses with 2016."""


def sample(key: Key) -> Any:
    """A value that the key takes."""
    return key.choices[0] if key.choices else SAMPLES[key.kind]


def complete(row: Operation) -> dict[str, Any]:
    """Every key that the operation takes."""
    return {key.name: sample(key) for key in row.takes}


def least(row: Operation) -> dict[str, Any]:
    """The keys that the operation needs."""
    return {key.name: sample(key) for key in row.takes if not key.optional}
