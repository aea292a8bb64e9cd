"""The bench's rows: medians, targets, the table and the JSON."""

from __future__ import annotations

import json

from infd.bench.report import Row, as_json, as_text, circumstances

FAST = Row("fast", "a fast thing", (3.0, 1.0, 2.0), "/s", 2.0)
SLOW = Row("slow", "a slow thing", (0.5, 2.0, 1.5), "ms", 1.0, at_least=False)
TOLD = Row("told", "a thing", (12345.6,), "", beside={"size": 7})


def test_a_value_is_the_median_and_meets_its_target_or_not() -> None:
    assert (FAST.value, FAST.passed) == (2.0, True)
    assert (SLOW.value, SLOW.passed) == (1.5, False)
    assert (TOLD.value, TOLD.passed) == (12345.6, None)


def test_json_has_the_circumstances_and_every_row() -> None:
    found = json.loads(as_json(circumstances("llama", ["AVX2"]), [FAST, SLOW, TOLD]))
    assert found["kernels"] == ["AVX2"]
    assert found["cores"] >= 1
    assert {"date", "infd", "python", "library", "system", "processor", "memory", "load"} <= set(
        found
    )
    assert [row["passed"] for row in found["rows"]] == [True, False, None]
    assert [row["bound"] for row in found["rows"]] == ["at least", "at most", "at least"]
    assert found["rows"][0]["samples"] == [3.0, 1.0, 2.0]
    assert (found["rows"][0]["least"], found["rows"][0]["most"]) == (1.0, 3.0)
    assert found["rows"][2]["beside"] == {"size": 7}


def test_the_table_says_target_value_and_verdict() -> None:
    lines = as_text(circumstances("llama", ["AVX2"]), [FAST, SLOW, TOLD]).splitlines()
    fast, slow, told = (next(line for line in lines if what in line) for what in (
        FAST.what, SLOW.what, "12,346"
    ))  # fmt: skip
    assert fast.startswith("pass")
    assert ">= 2" in fast
    assert "2 /s" in fast
    assert slow.startswith("MISS")
    assert "<= 1" in slow
    assert told.startswith("    ")
    assert any("size 7" in line for line in lines)
