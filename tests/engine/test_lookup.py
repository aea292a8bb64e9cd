"""Guesses from the tokens so far, against a search that knows no index; and how many to guess."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infd.engine.lookup import (
    CANDIDATES,
    LEAST,
    LONGEST,
    LONGEST_PAUSE,
    QUOTED,
    Pace,
    TokenIndex,
)

# Few different tokens, so that passages come again.
TOKENS = st.lists(st.integers(0, 3), max_size=120)


def filled(tokens: list[int]) -> TokenIndex:
    index = TokenIndex()
    for token in tokens:
        index.add(token)
    return index


def common_suffix(tokens: list[int], end: int) -> int:
    """How many tokens before `end` are those before the end of all, up to LONGEST."""
    n = 0
    while n < min(LONGEST, end) and tokens[end - 1 - n] == tokens[-1 - n]:
        n += 1
    return n


def naive(tokens: list[int]) -> tuple[int, int]:
    places = [
        (end, same)
        for end in range(len(tokens) - 1, 0, -1)
        if (same := common_suffix(tokens, end)) >= LEAST
    ][:CANDIDATES]
    return max(places, key=lambda place: (place[1], place[0]), default=(0, 0))


@given(TOKENS)
def test_the_longest_then_latest_place_is_found(tokens: list[int]) -> None:
    assert filled(tokens).find() == naive(tokens)


@given(TOKENS, st.integers(0, 120), TOKENS)
def test_cutting_is_as_if_the_rest_had_never_been(
    tokens: list[int], n: int, more: list[int]
) -> None:
    index = filled(tokens)
    index.cut(n)
    assert index.tokens == tokens[:n]
    assert index.find() == naive(tokens[:n])
    for token in more:
        index.add(token)
    assert index.find() == naive(tokens[:n] + more)
    index.cut(0)
    assert (index.tokens, index._latest, index._before) == ([], {}, [])


@given(TOKENS, TOKENS, st.data())
def test_becoming_another_text(first: list[int], second: list[int], data: st.DataObject) -> None:
    same = 0
    while same < min(len(first), len(second)) and first[same] == second[same]:
        same += 1
    index = filled(first)
    index.become(second, data.draw(st.integers(0, same)))
    assert index.tokens == second
    assert index.find() == naive(second)


@given(st.lists(st.integers(0, 3), min_size=1, max_size=40), st.data())
def test_what_follows_goes_on_periodically(tokens: list[int], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(tokens) - 1))
    n = data.draw(st.integers(0, 60))
    written = list(tokens)
    for at in range(start, start + n):
        written.append(written[at])
    assert filled(tokens).following(start, n) == written[len(tokens) :]


def test_a_quote_is_guessed() -> None:
    text = list(range(50))
    index = filled([*text, 99, *text[10:14]])
    start, same = index.find()
    assert same == 4
    assert index.following(start, 5) == [14, 15, 16, 17, 18]
    assert filled([7] * 3).following(2, 4) == [7] * 4


@pytest.mark.parametrize(
    ("most", "grown"),
    [(16, [3, 7, 15, 15]), (12, [3, 7, 11, 11]), (8, [3, 7, 7]), (3, [3, 3]), (2, [2, 2])],
)
def test_right_guesses_grow_by_whole_groups_of_rows(most: int, grown: list[int]) -> None:
    pace = Pace(most)
    widths = []
    for _ in grown:
        widths.append(width := pace.width(LEAST))
        pace.learn(width, width)
    assert widths == grown
    assert pace.drafted == pace.accepted == sum(grown)


def test_wrong_guesses_all_but_end() -> None:
    pace = Pace(8)
    tried = 0
    for _ in range(1000):
        if width := pace.width(LEAST):
            tried += 1
            pace.learn(width, 0)
    assert 0 < tried < 1000 / LONGEST_PAUSE + 10
    # A passage that is being quoted ends the pause, and right guesses end pausing.
    assert pace.width(LEAST) == 0
    assert pace.width(QUOTED) == 3
    for _ in range(8):
        pace.learn(3, 3)
    pace.learn(7, 2)
    assert [pace.width(LEAST) for _ in range(3)] == [0, 3, 3]


@given(
    st.integers(1, 16),
    st.lists(st.tuples(st.integers(0, LONGEST), st.integers(0, 16)), max_size=200),
)
def test_the_width_is_always_allowed(most: int, steps: list[tuple[int, int]]) -> None:
    pace = Pace(most)
    for same, right in steps:
        width = pace.width(same)
        assert 0 <= width <= (most if same else 0)
        pace.learn(width, min(right, width))
    assert pace.accepted <= pace.drafted
