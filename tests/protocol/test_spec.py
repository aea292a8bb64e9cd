"""SPEC.md: its generated sections are the code's, whole; its prose names what exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from infd_protocol import codes, spec
from infd_protocol.operations import OPERATIONS

PATH = Path(__file__).parents[2] / "protocol" / "SPEC.md"
TEXT = PATH.read_text(encoding="utf-8")


def section(name: str, text: str = TEXT) -> str:
    start, end = spec.marks(name)
    assert text.count(start) == text.count(end) == 1
    return text.partition(start)[2].partition(end)[0]


@pytest.mark.parametrize("name", list(spec.SECTIONS))
def test_a_section_is_what_the_code_says(name: str) -> None:
    """Compared whole, first to last line, so that a missing tail shows too."""
    assert section(name) == f"\n{spec.SECTIONS[name]()}\n"


def test_the_sections_tell_every_row() -> None:
    for row in codes.ROWS:
        assert f"| {row.number} | {row.name} |" in section("codes")
    for operation in OPERATIONS.values():
        assert f"\n### {operation.name}\n" in section("operations")
        assert f"| [`{operation.name}`](#{operation.name}) |" in section("overview")
        for key in (*operation.takes, *operation.gives):
            assert f"`{key.name}" in section("operations")


def test_the_prose_names_only_operations_and_codes_that_exist() -> None:
    prose = TEXT
    for name in spec.SECTIONS:
        prose = prose.replace(section(name), "")
    for word in re.findall(r"\b(?:inf|exec)_\w+[a-z]\b", prose):
        assert word in OPERATIONS, word
    for number in re.findall(r"\b[123]0\d\d\b(?! bytes)", prose):
        assert int(number) in {*codes.BY_NUMBER, 1000, 1024}, number


def test_check_says_when_a_section_differs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "SPEC.md"
    copy.write_text(TEXT, encoding="utf-8")
    assert spec.main(["--check", str(copy)]) == 0
    for spoilt in (
        TEXT.replace("| 2002 |", "| 2003 |"),
        TEXT.replace(section("operations")[-200:], "\n"),
    ):
        copy.write_text(spoilt, encoding="utf-8")
        assert spec.main(["--check", str(copy)]) == 1
        assert "run without --check" in capsys.readouterr().err
        assert copy.read_text(encoding="utf-8") == spoilt
        assert spec.main([str(copy)]) == 0
        assert copy.read_text(encoding="utf-8") == TEXT


def test_a_document_without_marks_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "SPEC.md"
    copy.write_text(TEXT.replace(spec.marks("codes")[1], ""), encoding="utf-8")
    assert spec.main([str(copy)]) == 2
    assert "section codes" in capsys.readouterr().err
    assert spec.main([str(tmp_path / "missing.md")]) == 2
