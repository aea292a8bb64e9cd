"""How many prompt tokens a call may carry."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infd.engine.pace import ALONE, FIRST, LEAST, LEAST_ALONE, Pace

SECONDS = st.floats(1e-5, 0.1)
"""Of one token."""


@given(
    per_token=SECONDS, slice_s=st.floats(0.001, 1.0), threads=st.integers(1, 8),
    contended=st.booleans(), first=SECONDS, tokens=st.integers(LEAST, 512),
)  # fmt: skip
def test_a_piece_takes_a_slice_or_is_the_least(
    per_token: float, slice_s: float, threads: int, contended: bool, first: float, tokens: int
) -> None:
    """Whatever the first call took: a cold one may take hundreds of times as long."""
    pace = Pace()
    pace.learn(tokens, threads, first * tokens)
    for _ in range(30):
        pace.learn(tokens, threads, per_token * tokens)
    piece = pace.piece(threads, slice_s, contended=contended)
    most = slice_s * (1 if contended else ALONE)
    least = LEAST if contended else LEAST_ALONE
    assert piece >= least
    assert piece % least == 0
    assert piece == least or piece * per_token <= most * 1.01
    assert (piece + 2 * least) * per_token >= most * 0.99


def test_before_anything_is_known() -> None:
    pace = Pace()
    assert pace.per_token(1) == 0
    assert pace.piece(1, 0.15, contended=True) == FIRST
    assert pace.piece(2, 0.15, contended=False) == LEAST_ALONE
    # Too little to measure by, and what cannot be.
    pace.learn(LEAST - 1, 1, 1.0)
    pace.learn(512, 0, 1.0)
    pace.learn(512, 1, 0.0)
    assert pace.per_token(1) == 0


def test_other_numbers_of_threads_are_reckoned_from_the_nearest() -> None:
    pace = Pace()
    pace.learn(100, 1, 1.0)
    assert pace.per_token(2) == pytest.approx(0.005)
    pace.learn(100, 4, 0.4)
    assert pace.per_token(8) == pytest.approx(0.002)
    pace.learn(100, 8, 0.3)
    assert pace.per_token(8) == pytest.approx(0.003)
    assert pace.per_token(1) == pytest.approx(0.01)
