"""The comparison itself, tiny: infd alone on the bundled model, one round, really run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bench import build_llama
from bench.build_llama import BuildError

ROOT = Path(__file__).parents[2]


def compare(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "tests/bench/compare", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, str]:
    """What a comparison of infd with nothing found and said."""
    folder = tmp_path_factory.mktemp("compare")
    ended = compare(
        "--quick", "--model", "bundled", "--contender", "infd dedicated", "--only", "single",
        "--only", "2 at once", "--json", str(folder / "found.json"), "--llama", str(folder),
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return json.loads((folder / "found.json").read_text()), ended.stdout, ended.stderr


def test_it_measures(done: tuple[dict[str, Any], str, str]) -> None:
    found, _, _ = done
    assert found["notes"] == []
    sides = found["values"]["bundled"]
    assert set(sides) == {"single", "2 at once"}
    for scenario, values in (("single", {"decode", "first", "client"}),
                             ("2 at once", {"decode", "requests", "last"})):  # fmt: skip
        measured = sides[scenario]["infd dedicated"]
        assert set(measured) == values
        assert all(len(rounds) == 1 and rounds[0] > 0 for rounds in measured.values())


def test_it_says_what_it_ran_on(done: tuple[dict[str, Any], str, str]) -> None:
    found, said, _ = done
    assert found["kernels"]
    assert "llama-cpp-python" in found["library"]
    assert "placement = dedicated" in found["contenders"]["infd dedicated"]
    assert "infd dedicated" in said


def test_it_goes_on_without_llama_server_and_says_so(
    done: tuple[dict[str, Any], str, str],
) -> None:
    _, said, complaint = done
    lines = [line for line in complaint.splitlines() if "without llama-server" in line]
    assert len(lines) == 1
    assert "build_llama.py" in lines[0]
    assert "not measured" in said


def test_wrong_usage_is_told() -> None:
    ended = compare("--only", "nothing")
    assert ended.returncode == 2
    assert "--only" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_build_that_cannot_be_made_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(BuildError, match="cmake is not installed"):
        build_llama.build(tmp_path, None, 1)


def test_a_wrong_sdist_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="not of the installed version"):
        build_llama.build(tmp_path, tmp_path / "llama_cpp_python-0.0.1.tar.gz", 1)


def test_programs_that_do_not_run_are_not_taken(tmp_path: Path) -> None:
    place = tmp_path / "build" / "bin"
    place.mkdir(parents=True)
    for name in build_llama.NAMES:
        (place / name).write_text("#!/bin/sh\necho it is broken >&2\nexit 3\n")
        (place / name).chmod(0o755)
    with pytest.raises(BuildError, match="does not run: it is broken"):
        build_llama.find(tmp_path)
