"""Replies break at blanks, lose nothing, and are not held back for long."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from infd_repl.view import View
from infd_repl.wrapping import Wrapper


def wrapped(pieces: list[str], width: int) -> str:
    wrapper = Wrapper()
    return "".join(wrapper.feed(piece, width) for piece in pieces) + wrapper.rest(width)


def test_lines_break_at_blanks() -> None:
    text = "one two three four five"
    assert wrapped([text], 9).split("\n") == ["one two ", "three ", "four five"]
    assert wrapped(list(text), 9) == wrapped([text], 9)
    assert wrapped(["a line\n  of code\n"], 40) == "a line\n  of code\n"
    assert wrapped(["exactly 9 more"], 9) == "exactly 9\nmore"


def test_a_word_longer_than_a_line_is_left_whole() -> None:
    address = "https://example.org/" + "x" * 50
    assert wrapped([*("see " + address + " there")], 20) == f"see \n{address} there"


def test_wide_characters_are_not_held_back() -> None:
    wrapper = Wrapper()
    assert wrapper.feed("日本", 6) == "日本"
    assert wrapper.feed("語の", 6) == "語\nの"
    assert wrapper.feed(" word", 6) == " "
    assert wrapper.rest(6) == "\nword"


@given(st.lists(st.text(alphabet="ab \n\t日", max_size=12)), st.integers(4, 20))
def test_nothing_is_lost(pieces: list[str], width: int) -> None:
    text = "".join(pieces)
    out = wrapped(pieces, width)
    assert "".join(out.split()) == "".join(text.split())
    # The pieces' borders make no difference, and the text's own line ends stay.
    assert out == wrapped([text], width)
    assert out.count("\n") >= text.count("\n")


@given(st.lists(st.text(alphabet="abc日", min_size=1, max_size=4)), st.integers(8, 20))
def test_no_line_is_longer_than_the_terminal(words: list[str], width: int) -> None:
    for line in wrapped([" ".join(words)], width).split("\n"):
        assert cell_len(line) <= width


def test_after_the_shell_had_the_terminal_the_line_begins_at_the_margin(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "20")
    view = View()
    view.piece("twelve long ")
    view.resumed()
    view.piece("words fit here. ")
    assert capsys.readouterr().out == "twelve long words fit here. "
