"""`infd doctor`: a good machine, and what it says of a bad library, folder or port."""

from __future__ import annotations

import json
import shutil
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import daemon as daemons

from infd import children, cli, doctor
from infd.config import Config

Infd = Callable[..., Any]


def levels(findings: list[doctor.Finding]) -> list[str]:
    return [finding.level for finding in findings]


def test_on_this_machine(infd: Infd, tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.copytree(daemons.initialised()[0], state)
    (state / "infd.toml").write_text("listen = '127.0.0.1:0'\n")
    ran = infd("doctor", "--state", state, "--json")
    told = json.loads(ran.out)
    texts = " ".join(finding["text"] for finding in told["findings"])
    assert told["ok"] is (ran.status == 0)
    assert "kernels: " in texts
    assert "tokens/s" in texts
    assert "1 users" in texts


def commands_that(code: str) -> Callable[..., list[str]]:
    return lambda module, *arguments: [sys.executable, "-c", code, *arguments]


DIES = f"import os; os.kill(os.getpid(), {int(signal.SIGILL)})"
DIES_REPACKED = f"import sys; sys.argv[2] == '0' or exec({DIES!r}); print('{{}}')"


def test_a_library_that_crashes_is_told_with_the_way_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(children, "command", commands_that(DIES))
    found = list(doctor._library())
    assert levels(found) == ["bad"]
    assert "SIGILL" in found[0].text
    monkeypatch.setattr(children, "command", commands_that(DIES_REPACKED))
    found = list(doctor._library())
    assert levels(found) == ["bad", "note"]
    assert "without repacked weights it works" in found[1].text


def test_a_library_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(children, "command", commands_that("raise OSError('no such symbol')"))
    (found,) = doctor._library()
    assert "no such symbol" in found.text
    monkeypatch.setattr(children, "command", commands_that("import signal; signal.pause()"))
    monkeypatch.setattr(doctor, "CHECKUP_SECONDS", 0.1)
    (found,) = doctor._library()
    assert "takes longer" in found.text


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({"prompt": 7800.0, "decode": 420.0, "kernels": ["AVX2", "AVX512"]}, ["ok", "ok"]),
        ({"prompt": 7800.0, "decode": 420.0, "kernels": ["AVX2"]}, ["ok", "bad", "ok"]),
        ({"prompt": 7800.0, "decode": 4.0, "kernels": ["AVX2", "AVX512"]}, ["ok", "bad"]),
    ],
)
def test_what_is_slow_is_bad(
    monkeypatch: pytest.MonkeyPatch, measured: dict[str, Any], expected: list[str]
) -> None:
    monkeypatch.setattr(doctor, "processor_flags", lambda: frozenset({"avx2", "avx512f"}))
    assert levels(list(doctor._judge({"version": "x", **measured}))) == expected


def test_building_anew_is_advised_only_where_the_build_is_at_fault(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "users.db").write_bytes(b"junk" * 4096)
    monkeypatch.setattr(doctor, "uses_openmp", lambda folder: False)

    def said(code: str) -> str:
        monkeypatch.setattr(children, "command", commands_that(code))
        assert cli.main(["doctor", "--state", str(tmp_path)]) == 1
        return capsys.readouterr().out

    good = {"version": "x", "prompt": 9e9, "decode": 9e9, "kernels": [*doctor.ESSENTIAL.values()]}
    fine = said(f"print({json.dumps(json.dumps(good))})")
    assert "damaged" in fine
    assert "pip install" not in fine
    assert doctor.REINSTALL in said(DIES)


def test_openmp_is_seen_in_the_libraries(tmp_path: Path) -> None:
    library = tmp_path / "libggml-cpu.so"
    library.write_bytes(b"\x7fELF\0ggml_compute\0")
    assert not doctor.uses_openmp(tmp_path)
    library.write_bytes(b"\x7fELF\0GOMP_parallel\0")
    assert doctor.uses_openmp(tmp_path)
    assert not doctor.uses_openmp(None)


def test_folders(tmp_path: Path) -> None:
    missing = list(doctor._state(Config(state=tmp_path / "none")))
    assert levels(missing) == ["note"]
    assert "infd init" in missing[0].text
    (tmp_path / "users.db").write_bytes(b"junk" * 4096)
    assert levels(list(doctor._state(Config(state=tmp_path)))) == ["bad"]


def test_ports() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    free = doctor._port(Config(listen=f"127.0.0.1:{port}"))
    assert (free.level, "is free" in free.text) == ("ok", True)


def test_a_daemon_is_recognised(infd: Infd) -> None:
    with daemons.run(demo=False) as daemon:
        found = doctor._port(Config(listen=f"{daemon.host}:{daemon.port}"))
        held = next(doctor._state(Config(state=daemon.state)))
    assert (found.level, "answers" in found.text) == ("ok", True)
    assert (held.level, "in use" in held.text) == ("ok", True)
