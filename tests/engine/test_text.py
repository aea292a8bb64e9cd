"""Whole characters and stop strings, however the input is cut."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from infd.engine.text import StopMatcher, Utf8Joiner


def cut(data: Sequence[str] | bytes, places: list[int]) -> list[str] | list[bytes]:
    at = sorted({0, len(data), *(p % (len(data) + 1) for p in places)})
    return [data[a:b] for a, b in pairwise(at)]  # type: ignore[misc]


@given(data=st.binary() | st.text().map(str.encode), places=st.lists(st.integers(0)))
def test_bytes_become_the_same_text_in_any_pieces(data: bytes, places: list[int]) -> None:
    joiner = Utf8Joiner()
    parts = [joiner.feed(piece) for piece in cut(data, places)]  # type: ignore[arg-type]
    assert "".join(parts) + joiner.flush() == data.decode("utf-8", "replace")


def test_half_a_character_waits_for_the_rest() -> None:
    joiner = Utf8Joiner()
    euro = "€".encode()
    assert [joiner.feed(bytes([b])) for b in euro] == ["", "", "€"]
    assert joiner.feed(euro[:2]) == ""
    assert joiner.flush() == "\ufffd"


def first_stop(text: str, stops: list[str]) -> str | None:
    """The slow way: the shortest beginning of the text that ends with a stop string."""
    for end in range(len(text) + 1):
        ending = [s for s in stops if s and text[:end].endswith(s)]
        if ending:
            return text[: end - max(map(len, ending))]
    return None


@given(
    text=st.text("abc", max_size=40),
    stops=st.lists(st.text("abc", max_size=5), max_size=4),
    places=st.lists(st.integers(0)),
)
def test_stops_are_found_in_any_pieces(text: str, stops: list[str], places: list[int]) -> None:
    matcher = StopMatcher(stops)
    out, met = "", False
    for piece in cut(text, places):
        assert isinstance(piece, str)
        shown, met = matcher.feed(piece)
        out += shown
        if met:
            break
    expected = first_stop(text, stops)
    assert met == (expected is not None)
    assert out + ("" if met else matcher.flush()) == (text if expected is None else expected)


def test_text_is_held_back_only_while_it_may_stop() -> None:
    matcher = StopMatcher(["STOP"])
    assert matcher.feed("a S") == ("a ", False)
    assert matcher.feed("T") == ("", False)
    assert matcher.feed("x") == ("STx", False)
    assert matcher.feed("yST") == ("y", False)
    assert matcher.feed("OP z") == ("", True)
