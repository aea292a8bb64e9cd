"""Which model a person means."""

from __future__ import annotations

import pytest

from infd_repl.models import picked


@pytest.mark.parametrize(
    ("answer", "model"),
    [("demo", "demo"), ("1", "3"), ("2", "demo"), ("3", "3"), ("4", None), ("0", None),
     ("-1", None), ("", None), ("9" * 99, None), ("twin", None)],
)  # fmt: skip
def test_a_name_or_a_number_of_the_list(answer, model):
    assert picked(answer, ["3", "demo"]) == model
