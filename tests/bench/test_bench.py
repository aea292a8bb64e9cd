"""`infd bench --quick`: every part runs against a real daemon; its figures mean nothing."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from support.gguf_factory import BUNDLED

from infd import children
from infd.bench.choices import LOOKUP
from infd.engine.options import FLASH_ATTENTION, PLACEMENTS


def bench(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-P", "-m", "infd", "bench", *arguments],
        env=children.environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    cache = tmp_path_factory.mktemp("cache")
    done = bench("--quick", "--json", "--cache", str(cache))
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    result["stderr"] = done.stderr
    return result


def test_every_measurement_gives_a_row(found: dict[str, Any]) -> None:
    names = [row["name"] for row in found["rows"]]
    assert names == [
        "contexts_memory",
        "calls_raw",
        "calls_library_asyncio",
        "calls_library_uvloop",
        "call_p50",
        "call_p99",
        "decode_llama-tiny-q8_0_1t",
        "first_token_llama-tiny-q8_0",
        "idle_connections",
        "together_dedicated_1",
        "together_batched_1",
        "together_dedicated_2",
        "together_batched_2",
        "lookup_quoting",
        "lookup_ordinary",
        "flash_attention",
    ]


def test_rows_have_a_target_samples_and_a_verdict(found: dict[str, Any]) -> None:
    for row in found["rows"]:
        assert row["bound"] in ("at least", "at most")
        # Some twenty connections may find all that they need in memory that was free already.
        above = -1 if row["name"] == "idle_connections" else 0
        assert above < row["least"] <= row["value"] <= row["most"], row
        if row["name"].startswith(("together", "lookup", "flash")):
            assert (row["target"], row["passed"]) == (None, None)
            continue
        assert row["target"] > 0
        assert row["passed"] is (
            row["value"] >= row["target"]
            if row["bound"] == "at least"
            else row["value"] <= row["target"]
        )
    turn = next(row for row in found["rows"] if row["name"].startswith("first_token"))
    assert turn["beside"]["tokens held"] > 9 * 40
    assert 40 <= turn["beside"]["tokens new"] < 100


def test_toys_give_no_advice(found: dict[str, Any]) -> None:
    assert "advice" not in found
    assert "no advice is given" in found["stderr"]
    assert "In infd.toml:" not in found["stderr"]


def test_the_circumstances_are_stated(found: dict[str, Any]) -> None:
    assert found["quick"] is True
    assert found["kernels"]
    assert "llama-cpp-python" in found["library"]
    assert "measured" in found["stderr"]


def test_only_runs_what_is_asked(tmp_path: Path) -> None:
    done = bench("--quick", "--only", "connections", "--cache", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "idle connections" in done.stdout
    assert "decode" not in done.stdout


def test_what_an_owner_can_choose_for_a_model_is_advised_on(tmp_path: Path) -> None:
    only = [word for name in ("placement", "lookup", "flash") for word in ("--only", name)]
    where = ("--model", str(BUNDLED), "--cache", str(tmp_path))
    done = bench("--rounds", "1", "--json", *only, *where)
    assert done.returncode == 0, done.stderr
    advice = json.loads(done.stdout)["advice"]
    assert [sentence.partition(":")[0] for sentence in advice["sentences"]] == ["demo"] * 3
    assert "quoting replies, given-demo" in done.stderr
    assert advice["sentences"][0] in done.stderr
    lines = done.stderr.partition("In infd.toml:")[2]
    table = tomllib.loads(lines)["models"]["demo"]
    assert tomllib.loads(advice["toml"])["models"]["demo"] == table
    assert table["path"] == str(BUNDLED)
    assert table["lookup"] in (0, LOOKUP)
    assert table["placement"] in PLACEMENTS
    assert table["flash_attention"] in FLASH_ATTENTION


def test_wrong_usage_is_one_line(tmp_path: Path) -> None:
    rounds = bench("--quick", "--rounds", "0")
    assert (rounds.returncode, rounds.stderr.count("\n")) == (2, 1)
    assert "--rounds" in rounds.stderr
    model = bench("--quick", "--model", str(tmp_path / "none.gguf"), "--cache", str(tmp_path))
    assert (model.returncode, model.stderr.count("\n")) == (1, 1)
    assert "--model" in model.stderr
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"GGUF" + bytes(64))
    refused = bench("--quick", "--model", str(broken), "--cache", str(tmp_path))
    assert refused.returncode == 1
    assert "infd: broken.gguf: " in refused.stderr
    assert "without the daemon" not in refused.stderr
    assert "Traceback" not in refused.stderr
