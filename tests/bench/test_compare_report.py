"""What the comparison makes of its figures: verdicts, tables, JSON, the README's section."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bench.compare import plot, report
from bench.compare.rounds import Found
from bench.compare.targets import LARGE, TARGETS, judge, verdict

from infd.bench.report import Row

ABOUT: dict[str, Any] = {
    "infd": "0.1.0", "commit": "abc1234", "library": "llama-cpp-python 0", "python": "3.11.0",
    "date": "2026-01-02T03:04:05+00:00", "processor": "a processor", "cores": 2,
    "memory": "25165824 kB", "system": "Linux", "load": 0.0, "rounds": 3, "kernels": ["AVX2"],
    "contenders": {"infd dedicated": "infd serve"}, "same_library": True,
    "libraries": {"libllama.so.0": "llama_cpp/lib/libllama.so.0"},
}  # fmt: skip


def found_with(
    scenario: str, **sides: dict[str, list[float | None]]
) -> Found:
    """Figures of one scenario on the large model, by contender ("_" for a space) and value."""
    found = Found()
    for name, values in sides.items():
        for value, row in values.items():
            for number, sample in enumerate(row):
                if sample is not None:
                    side = name.replace("__", "-").replace("_", " ")
                    found.add(LARGE, scenario, side, number, {value: sample})
    return found


@pytest.fixture
def found() -> Found:
    single = {"decode": [20.0, 22.0, 21.0]}
    return found_with(
        "single", infd_dedicated=single, llama__server={"decode": [20.0, 20.0, 20.0]},
        llama__bench={"decode": [20.0, None, 42.0]},
    )  # fmt: skip


def rows(found: Found) -> dict[str, Row | None]:
    return {target.name: row for target, row in judge(found)}


def test_a_target_is_the_median_of_the_rounds_ratios(found: Found) -> None:
    row = rows(found)["single / llama-server, dedicated"]
    assert row is not None
    assert row.samples == (1.0, 1.1, 1.05)
    assert (row.value, row.passed) == (1.05, True)
    assert row.beside == {"infd dedicated decode": 21.0, "llama-server decode": 20.0}


def test_a_round_that_one_missed_has_no_ratio(found: Found) -> None:
    row = rows(found)["single / llama-bench, dedicated"]
    assert row is not None
    assert row.samples == (1.0, 0.5)
    assert row.passed is False


def test_what_was_not_measured_is_neither_met_nor_missed(found: Found) -> None:
    judged = judge(found)
    all_rows = {target.name: row for target, row in judged}
    verdicts = {target.name: verdict(target, all_rows) for target, _ in judged}
    assert len(verdicts) == len(TARGETS)
    assert {name for name, met in verdicts.items() if met is not None} == {
        "single / llama-server, dedicated", "single / llama-bench, dedicated"
    }  # fmt: skip
    assert sum(line[-1] == "not measured" for line in report.results(found)) == len(TARGETS) - 2


def test_either_of_two_targets_is_enough() -> None:
    found = found_with(
        "system prompt", infd_dedicated={"first": [0.3]}, llama__server={"cold": [2.0]},
    )  # fmt: skip
    found.add(LARGE, "system prompt", "llama.cpp alone", 0, {"first": 0.25})
    all_rows = rows(found)
    cold, own = (
        next(target for target in TARGETS if target.name == f"system prompt / {name}, dedicated")
        for name in ("cold", "own tokens")
    )
    assert all_rows[cold.name].passed is False  # type: ignore[union-attr]
    assert all_rows[own.name].passed is True  # type: ignore[union-attr]
    assert verdict(cold, all_rows) is verdict(own, all_rows) is True
    line = next(line for line in report.results(found) if line[0] == cold.what)
    assert line[-1] == "the other is met"


def test_every_target_has_a_name_of_its_own() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS)


def test_missed_rounds_keep_their_places() -> None:
    found = Found()
    found.add(LARGE, "single", "x", 2, {"decode": 3.0})
    assert found.of(LARGE, "single", "x", "decode") == [None, None, 3.0]
    assert found.of(LARGE, "single", "y", "decode") == []


def test_text_and_json_tell_everything(found: Found) -> None:
    found.notes.append("large, single, llama-cpp-python: it left")
    text = report.as_text(ABOUT, found)
    for word in ("abc1234", "a processor", "1.05", "met", "MISSED", "it left", "same libllama"):
        assert word in text
    told = json.loads(report.as_json(ABOUT, found))
    assert told["values"][LARGE]["single"]["llama-bench"]["decode"] == [20.0, None, 42.0]
    assert told["notes"] == found.notes
    assert {row["name"]: row["met"] for row in told["targets"]} == {
        "single / llama-bench, dedicated": False, "single / llama-server, dedicated": True
    }  # fmt: skip


def test_the_table_of_figures_has_a_column_for_each_contender(found: Found) -> None:
    head, decode = report.figures(found, LARGE)
    assert head == ("measured", "infd dedicated", "llama-server", "llama-bench")
    assert decode == ("single: tok/s", "21", "20", "31")


def test_the_readme_gets_the_section_between_its_marks(found: Found) -> None:
    found.notes.append("large, turn 10, llama-server: it left")
    section = report.section(ABOUT, found, {LARGE: "A model"}, "tests/bench/comparison.png")
    for word in ("2026-01-02", "24 GiB", "- large, turn 10, llama-server: it left"):
        assert word in section
    assert "](tests/bench/comparison.png)" in section
    before = f"# infd\n\n{report.BEGIN}\nyesteryear\n{report.END}\n\n## More\n"
    after = report.put(before, section)
    assert after.startswith("# infd\n")
    assert after.endswith("## More\n")
    assert "yesteryear" not in after
    assert report.put(after, section) == after


@pytest.mark.parametrize("text", [
    "", report.BEGIN, f"{report.END}{report.BEGIN}", f"{report.BEGIN}{report.END}{report.END}",
])  # fmt: skip
def test_a_readme_without_marks_is_left_alone(text: str) -> None:
    with pytest.raises(ValueError, match="README"):
        report.put(text, "x")


def test_the_picture_is_drawn(found: Found, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib", reason="without matplotlib no picture is drawn")
    plot.draw(found, tmp_path / "x.png", "what and when")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
