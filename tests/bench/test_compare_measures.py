"""The comparison's arithmetic: rates, gaps, percentiles, fairness, ratios, who goes first."""

from __future__ import annotations

import math
import statistics
from itertools import pairwise

import pytest
from bench.compare.measures import (
    Reply,
    decode_rate,
    jain,
    middle,
    order,
    percentile,
    rate_together,
    ratios,
)
from hypothesis import given
from hypothesis import strategies as st

shares = st.lists(st.floats(0, 1e6), min_size=1, max_size=8)
samples = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=300)


def reply(sent: float, times: list[float], tokens: int) -> Reply:
    """A reply of pieces of equal size."""
    made = Reply(sent, tokens=tokens)
    for time in times:
        made.add(time, "abcd")
    return made


def test_a_reply_knows_its_times() -> None:
    made = reply(1.0, [1.5, 1.75, 2.75], 3)
    made.add(9.0, "")
    assert (made.first, made.seconds, made.gaps) == (0.5, 1.75, [0.25, 1.0])
    assert made.text == "abcd" * 3


def test_tokens_are_spread_by_bytes() -> None:
    made = Reply(0.0, tokens=6)
    made.add(1.0, "aé")  # three bytes
    made.add(2.0, "b" * 9)
    assert [made.made_by(at) for at in (0.5, 1.0, 1.5, 2.0, 3.0)] == [0, 1.5, 1.5, 6, 6]
    assert made.decoded == (4.5, 1.0)


def test_the_first_piece_is_not_counted() -> None:
    assert decode_rate([reply(0.0, [5.0, 6.0, 7.0], 3)]) == pytest.approx(1.0)
    several = [reply(0.0, [1.0, 2.0, 3.0], 3), reply(10.0, [20.0, 20.5, 21.0], 3)]
    assert decode_rate(several) == pytest.approx(4 / 3)


def test_streams_are_counted_while_all_of_them_come() -> None:
    """Two of a token a second each, one begun four seconds later."""
    early = reply(0.0, [float(n) for n in range(1, 11)], 10)
    late = reply(0.0, [float(n) for n in range(5, 15)], 10)
    assert rate_together([early, late]) == pytest.approx(2.0)


def test_streams_that_come_one_after_another_are_counted_over_all() -> None:
    first = reply(0.0, [1.0, 2.0, 3.0, 4.0], 4)
    second = reply(0.0, [5.0, 6.0, 7.0, 8.0], 4)
    assert rate_together([first, second]) == pytest.approx(7 / 7)


@given(samples, st.floats(0.001, 1))
def test_a_percentile_is_a_value_that_so_many_are_not_above(
    values: list[float], part: float
) -> None:
    found = percentile(values, part)
    assert found in values
    assert sum(value <= found for value in values) >= math.floor(part * len(values))
    assert sum(value < found for value in values) <= part * len(values)


def test_the_99th_of_a_hundred_is_not_the_longest() -> None:
    assert percentile(range(1, 101), 0.99) == 99
    assert percentile([1.0, 2.0], 0.99) == 2.0
    with pytest.raises(ValueError):
        percentile([], 0.99)


@given(shares)
def test_jains_index_is_between_one_of_all_and_all_alike(values: list[float]) -> None:
    assert 1 / len(values) - 1e-9 <= jain(values) <= 1 + 1e-9


def test_jains_index() -> None:
    assert jain([3.0, 3.0]) == 1.0
    assert jain([1.0, 0.0]) == 0.5
    assert jain([0.0, 0.0]) == 1.0
    assert jain([1.0, 2.0]) == pytest.approx(0.9)


def test_ratios_are_taken_within_a_round() -> None:
    assert ratios([2.0, None, 6.0, 8.0], [1.0, 1.0, 2.0]) == (2.0, 3.0)
    assert ratios([1.0], [0.0]) == ratios([], [1.0]) == ()


@given(st.lists(st.one_of(st.none(), st.floats(-10, 10)), max_size=9))
def test_the_middle_is_that_of_what_is_there(values: list[float | None]) -> None:
    there = [value for value in values if value is not None]
    assert middle(values) == (statistics.median(there) if there else None)


@given(st.integers(1, 7), st.integers(0, 100))
def test_everybody_takes_part_in_every_round(count: int, number: int) -> None:
    assert sorted(order(range(count), number)) == list(range(count))


@given(st.integers(2, 7))
def test_everybody_goes_first_equally_often(count: int) -> None:
    first = [order(range(count), number)[0] for number in range(2 * count)]
    assert {first.count(at) for at in range(count)} == {2}


@given(st.integers(3, 7))
def test_nobody_follows_always_the_same(count: int) -> None:
    before: dict[int, set[int]] = {}
    for number in range(2 * count):
        turned = order(range(count), number)
        for a, b in pairwise(turned):
            before.setdefault(b, set()).add(a)
    assert all(len(others) > 1 for others in before.values())
    assert order([], 3) == []
