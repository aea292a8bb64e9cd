"""What each kind of value takes, what it makes of it, and what it refuses."""

from __future__ import annotations

import math
import struct
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infd_protocol.values import CHECKS, PYTHON_TYPES, Kind, Range, as_f32_is_finite, to_f32

U32 = 2**32 - 1
FLT_MAX = struct.unpack(">f", bytes.fromhex("7f7fffff"))[0]

TAKEN: dict[Kind, list[tuple[Any, Any]]] = {
    Kind.STR: [("", ""), ("x", "x"), ("\0é\N{GRINNING FACE}", "\0é\N{GRINNING FACE}")],
    Kind.UINT32: [(0, 0), (U32, U32)],
    Kind.F32: [(0, 0.0), (1, 1.0), (-0.5, -0.5), (FLT_MAX, FLT_MAX), (2**64 - 1, 2.0**64)],
    Kind.BOOL: [(True, True), (False, False), (1, True), (0, False)],
    Kind.BIT: [(1, True), (0, False)],
    Kind.STR_LIST: [([], []), (["a", ""], ["a", ""])],
    Kind.UINT32_LIST: [([], []), ([0, U32], [0, U32])],
    Kind.BOOL_LIST: [([], []), ([1, False], [True, False])],
    Kind.ID: [(0, 0), (U32, U32), ("0", 0), (str(U32), U32), ("0000000007", 7)],
    Kind.ID_LIST: [([], []), ([1, "2"], [1, 2])],
    Kind.USERNAME: [("a", "a"), ("A.b_c-d@e9", "A.b_c-d@e9"), ("x" * 64, "x" * 64)],
    Kind.NEW_ACCTOK: [("x" * 8, "x" * 8), ("é" * 4, "é" * 4), ("x" * 768, "x" * 768)],
    Kind.MAP: [({}, {}), ({"a": [1]}, {"a": [1]})],
    Kind.MAP_LIST: [([], []), ([{}, {"a": 1}], [{}, {"a": 1}])],
}

REFUSED: dict[Kind, list[Any]] = {
    Kind.STR: [None, 1, b"x", ["x"], True],
    Kind.UINT32: [None, True, False, -1, U32 + 1, 1.0, "1", [1]],
    Kind.F32: [None, True, False, "1", math.nan, math.inf, -math.inf, 3.5e38, -3.5e38, [1.0]],
    Kind.BOOL: [None, 2, -1, 1.0, "true", []],
    Kind.BIT: [None, True, False, 2, -1, 1.0, "1"],
    Kind.STR_LIST: [None, "a", [1], ["a", None], {"a": 1}, [b"a"]],
    Kind.UINT32_LIST: [None, 1, [True], [-1], ["1"], [1.0], [U32 + 1]],
    Kind.BOOL_LIST: [None, True, [2], ["x"], [None]],
    Kind.ID: [None, True, -1, U32 + 1, str(U32 + 1), "", "-1", "+1", " 1", "1 ", "1.0", "0x1",
              "\u0661", "\u00b2", 1.0, b"1", "99999999999", "1\n"],
    Kind.ID_LIST: [None, 1, "1", [True], ["x"], [[1]], [None]],
    Kind.USERNAME: [None, "", "x" * 65, "a b", "é", "a/b", "a\n", 1, b"a", "a\0", "Ⅷ"],
    Kind.NEW_ACCTOK: [None, "", "x" * 7, "x" * 769, "é" * 385, 12345678, b"x" * 8],
    Kind.MAP: [None, [], "x", 1],
    Kind.MAP_LIST: [None, {}, [1], [[]]],
}  # fmt: skip


def test_every_kind_is_checked_annotated_and_tried() -> None:
    kinds = set(Kind)
    assert set(CHECKS) == set(PYTHON_TYPES) == set(TAKEN) == set(REFUSED) == kinds


@pytest.mark.parametrize(
    ("kind", "value", "canonical"),
    [(kind, value, canonical) for kind, rows in TAKEN.items() for value, canonical in rows],
)
def test_taken(kind: Kind, value: Any, canonical: Any) -> None:
    made = CHECKS[kind](value)
    assert made == canonical
    assert type(made) is type(canonical)


@pytest.mark.parametrize(
    ("kind", "value"), [(kind, value) for kind, values in REFUSED.items() for value in values]
)
def test_refused_with_half_a_sentence(kind: Kind, value: Any) -> None:
    with pytest.raises(ValueError, match=r"^must be ") as caught:
        CHECKS[kind](value)
    assert type(caught.value) is ValueError


@given(st.floats() | st.integers(-(2**63), 2**64 - 1))
def test_a_real_is_taken_exactly_when_it_is_finite_in_32_bits(value: float) -> None:
    try:
        struct.pack("<f", value)
        finite = math.isfinite(value)
    except OverflowError:
        finite = False
    assert as_f32_is_finite(float(value)) == finite
    if finite:
        assert CHECKS[Kind.F32](value) == float(value)
        assert math.isfinite(to_f32(float(value)))
    else:
        with pytest.raises(ValueError):
            CHECKS[Kind.F32](value)


def test_the_tie_above_the_largest_float_is_infinite() -> None:
    """Half a step above FLT_MAX rounds to even, which is infinity; just below it does not."""
    tie = FLT_MAX + 2.0**103
    assert not as_f32_is_finite(tie)
    assert as_f32_is_finite(math.nextafter(tie, 0))
    assert to_f32(math.nextafter(tie, 0)) == FLT_MAX


@given(st.integers(0, U32))
def test_an_id_and_its_decimal_string_are_one(number: int) -> None:
    assert CHECKS[Kind.ID](str(number)) == CHECKS[Kind.ID](number) == number


@pytest.mark.parametrize(
    ("range_", "inside", "outside", "text"),
    [
        (Range(0.0, 1.0), [0.0, 0.5, 1.0], [-1e-9, 1.0000001], "between 0 and 1"),
        (Range(-2.0, 2.0), [-2.0, 2.0], [-2.1, 2.1], "between -2 and 2"),
        (Range(0.0), [0.0, 1e30], [-0.1], "at least 0"),
        (Range(0.0, open_low=True), [1e-30], [0.0, -1.0], "above 0"),
    ],
)
def test_ranges(range_: Range, inside: list[float], outside: list[float], text: str) -> None:
    assert all(value in range_ for value in inside)
    assert not any(value in range_ for value in outside)
    assert str(range_) == text
