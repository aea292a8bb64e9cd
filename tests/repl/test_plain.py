"""What a model says is shown and never obeyed."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infd_client import InfdError, PktOverloaded
from infd_repl.plain import one_line, plain
from infd_repl.problems import explain
from infd_repl.view import shown


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_nothing_that_a_terminal_obeys_is_left(text):
    for character in plain(text):
        assert character in "\n\t" or unicodedata.category(character) != "Cc"
        assert character not in "\u202e\u2066\u2028\ufeff"


@given(st.text(st.characters(categories=["L", "N", "P", "S", "Zs"])))
def test_ordinary_text_stays_as_it_is(text):
    assert plain(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("\x9b2J", "\\x9b2J"),
        ("a\rb", "a\\x0db"),
        ("\u202eevil", "\\u202eevil"),
        ("two\nlines\tand a tab", "two\nlines\tand a tab"),
        ("[bold]no markup[/bold]", "[bold]no markup[/bold]"),
        ("👩‍👩‍👧 é", "👩‍👩‍👧 é"),
    ],
)
def test_examples(text, expected):
    assert plain(text) == expected


@given(st.text())
def test_one_line_is_one_line(text):
    assert len(one_line(text).splitlines()) <= 1


def test_values_of_keys_are_harmless_too():
    assert "\x1b" not in shown({"a\x1b": ["b\x1b", True, {"c": "\x1b"}]})


def test_failures_are_one_line_with_name_code_and_detail():
    error = InfdError("line\none \x1b[2J")
    error.code = 2008
    assert explain(error) == "INF_AUTHORIZATION_FAILED (2008): line one \\x1b[2J"
    assert explain(PktOverloaded("Slow down.", RETRY_AFTER=4)).endswith("Try again in 4 s.")
    assert explain(OSError(28, "No space left on device")) == "No space left on device"
    assert explain(FileNotFoundError(2, "No such file", "here")) == "here: No such file"
    told = explain(PktOverloaded("Too many; try again in 4 s.", RETRY_AFTER=4))
    assert told.count("again in") == 1
    assert explain(ValueError()) == "ValueError"
