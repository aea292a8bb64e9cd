"""The rules of history, against a model of them written the other way round."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infd.contexts.messages import Messages, with_system_prompt
from infd_protocol.errors import ExecMessageIdMismatch, InfInvalidParams


def stored(count: int) -> Messages:
    messages = Messages(ctxsize=128)
    for number in range(count):
        assert messages.store("user", f"message {number}") == number + 1
    return messages


def reference_plan(history: list[int], listed: list[int]) -> list[int]:
    """Drop from the end until no listed message is left, then append."""
    kept = list(history)
    while set(kept) & set(listed):
        kept.pop()
    return kept + listed


@given(st.lists(st.lists(st.integers(1, 12), unique=True, min_size=1, max_size=4), max_size=8))
def test_history_is_cut_before_the_earliest_listed_message(runs: list[list[int]]) -> None:
    messages = stored(12)
    expected: list[int] = []
    for listed in runs:
        expected = reference_plan(expected, listed)
        planned = messages.plan(listed)
        assert planned == expected
        messages.history = planned
        expected = [*expected, messages.store_reply("a reply")]
        assert messages.history == expected


@given(st.lists(st.integers(0, 6), max_size=5))
def test_a_refused_plan_changes_nothing(listed: list[int]) -> None:
    messages = stored(4)
    messages.history = [1, 2]
    wrong = not listed or len(set(listed)) < len(listed) or not set(listed) <= {1, 2, 3, 4}
    if wrong:
        with pytest.raises((InfInvalidParams, ExecMessageIdMismatch)):
            messages.plan(listed)
    else:
        messages.plan(listed)
    assert messages.history == [1, 2]


def test_the_store_is_bounded_in_bytes() -> None:
    messages = Messages(ctxsize=32)
    assert messages.max_stored == 64 * 1024
    messages.store("user", "ä" * (32 * 1024))
    with pytest.raises(InfInvalidParams, match="65536 bytes in all; clear it first"):
        messages.store("user", "b")
    messages.clear()
    assert messages.store("user", "b") == 1


def test_a_message_too_long_for_an_empty_context_asks_for_a_larger_one() -> None:
    with pytest.raises(InfInvalidParams, match="CTXSIZE 32 may hold 65536") as raised:
        Messages(ctxsize=32).store("user", "b" * 65537)
    assert "larger CTXSIZE" in raised.value.detail
    assert "clear" not in raised.value.detail


def test_larger_contexts_store_64_bytes_a_token() -> None:
    assert Messages(ctxsize=4096).max_stored == 64 * 4096


def test_a_leading_system_message_is_joined_to_the_users_own() -> None:
    rest = (("user", "hello"),)
    assert with_system_prompt("", rest) == rest
    assert with_system_prompt("Be kind.", rest) == (("system", "Be kind."), *rest)
    joined = with_system_prompt("Be kind.", (("system", "Be short."), *rest))
    assert joined == (("system", "Be kind.\n\nBe short."), *rest)


def test_messages_are_limited_in_number_too() -> None:
    messages = Messages(ctxsize=1)
    for _ in range(messages.max_stored // 16):
        messages.store("user", "a")
    with pytest.raises(InfInvalidParams, match="messages in all"):
        messages.store("user", "a")
    messages.clear()
    assert messages.store("user", "a") == 1
