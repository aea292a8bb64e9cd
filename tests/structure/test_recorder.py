"""The recorder itself: it finds what it is there to find."""

from __future__ import annotations

from typing import Any

import pytest
from support import recorder

from infd_protocol.operations import resolve

DETAIL = {"DETAIL": "A sentence."}
GOOD: list[tuple[str, int, int, dict[str, Any], Any]] = [
    ("inf_access_request", 1, 2000, {"STOK": "x"}, None),
    ("inf_access_request", 1, 2008, DETAIL, None),
    ("inf_destroy_dession", 1, 2000, {}, None),
    ("inf_get_user", 1, 2021, DETAIL, None),
    ("exec_next", 1, 3000, {"OFFSET": 0}, "text"),
    ("exec_next", 1, 2012, DETAIL, None),
    ("inf_get_context_status", 1, 2012, {"MODEL": "m", "CTXSIZE": 1, "TOKENS_USED": 0}, None),
    ("exec_execute_input", 1, 3005, {**DETAIL, "TOKENS": 9, "LIMIT": 8}, None),
    ("inf_hello", 1, 1022, {**DETAIL, "RETRY_AFTER": 1}, None),
    ("inf_hello", 1, 1099, {**DETAIL, "INCIDENT": "x"}, None),
    ("inf_hello", 1, 1021, DETAIL, None),
    ("no_such", 1, 1002, DETAIL, None),
    ("", 0, 1007, DETAIL, None),
]
BAD: list[tuple[str, int, int, dict[str, Any], Any]] = [
    ("inf_access_request", 1, 2000, {}, None),
    ("inf_access_request", 1, 2000, {"STOK": 5}, None),
    ("inf_access_request", 1, 2000, {"STOK": "x", "MORE": 1}, None),
    ("inf_access_request", 1, 2000, {"STOK": "x"}, "data"),
    ("inf_access_request", 1, 2021, DETAIL, None),
    ("inf_access_request", 1, 2008, {}, None),
    ("inf_access_request", 1, 2008, {"DETAIL": ""}, None),
    ("inf_access_request", 1, 2008, {"DETAIL": "Two\nlines."}, None),
    ("inf_access_request", 1, 2008, DETAIL, "data"),
    ("inf_access_request", 1, 2008, {**DETAIL, "UNKNOWN": []}, None),
    ("exec_next", 1, 2000, {"OFFSET": 0}, "text"),
    ("exec_next", 1, 3000, {}, "text"),
    ("exec_execute_input", 1, 3005, DETAIL, None),
    ("inf_hello", 1, 1022, DETAIL, None),
    ("inf_hello", 1, 1099, DETAIL, None),
    ("no_such", 1, 2000, {}, None),
    ("", 0, 2000, {}, None),
    ("", 0, 1007, {}, None),
]


@pytest.mark.parametrize("answer", GOOD)
def test_what_the_table_says_passes(answer: tuple[str, int, int, dict[str, Any], Any]) -> None:
    op, *rest = answer
    assert recorder.disagreement(resolve(op), op, *rest) == ""


@pytest.mark.parametrize("answer", BAD)
def test_what_it_does_not_say_is_found(answer: tuple[str, int, int, dict[str, Any], Any]) -> None:
    op, *rest = answer
    assert recorder.disagreement(resolve(op), op, *rest) != ""


def test_what_was_never_seen_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recorder, "_seen", set())
    everything = recorder.missing()
    assert "inf_create_context: 2019" in everything
    assert "exec_execute_input: 3004" in everything
    assert "seq 0: 1007" in everything
    assert "any operation: 1099" in everything
    monkeypatch.setattr(recorder, "_seen", {("inf_create_context", 2019)})
    assert set(everything) - set(recorder.missing()) == {"inf_create_context: 2019"}
