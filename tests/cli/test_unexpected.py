"""What nobody foresaw: one line for the person, the rest in the log."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import daemon as daemons

from infd import children, cli
from infd.commands import version

Infd = Callable[..., Any]


def fails(*_: object, **__: object) -> int:
    raise LookupError("a fault\nof a test")


def test_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(version, "run", fails)
    assert cli.main(["version"]) == 1
    said = capsys.readouterr().err
    assert said.startswith("infd: unexpected failure: LookupError: a fault of a test")
    assert said.count("\n") == 1
    monkeypatch.setenv("INFD_TRACEBACK", "1")
    assert cli.main(["version"]) == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_keyboard_and_a_missing_part(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    def lacks(_: object) -> int:
        raise ModuleNotFoundError("No module named 'llama_cpp'", name="llama_cpp")

    monkeypatch.setattr(version, "run", interrupted)
    assert cli.main(["version"]) == 130
    monkeypatch.setattr(version, "run", lacks)
    assert cli.main(["version"]) == 1
    assert "pip install '.[server]'" in capsys.readouterr().err


def test_where_only_the_client_is_installed(infd: Infd, tmp_path: Path) -> None:
    """What needs nothing of the daemon's runs, and does not ask for its parts."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        f"sys.modules.update(dict.fromkeys({cli.SERVER_EXTRAS!r}))\n"  # none can be imported
    )
    path = {"PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    usual = tmp_path / "home" / "infd"
    usual.mkdir(parents=True)
    (usual / "infd.toml").write_text(nobody := "listen = '127.0.0.1:1'\n")
    said = infd("user", "list", **path).complaint
    assert "no daemon answers on 127.0.0.1:1" in said
    assert "--url infd://" in said
    shutil.copytree(daemons.initialised()[0], usual, dirs_exist_ok=True)
    (usual / "infd.toml").write_text(nobody)
    told = infd("doctor", **path).out
    assert f"state folder {usual}: 1 users" in told
    assert "127.0.0.1:1 is free" in told


def test_the_daemons_log_names_the_incident(tmp_path: Path) -> None:
    state = tmp_path / "state"
    shutil.copytree(daemons.initialised()[0], state)
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "if 'serve' in sys.orig_argv:\n"
        "    import infd.server\n"
        "    def serve(*_, **__): raise LookupError('a fault of a test')\n"
        "    infd.server.serve = serve\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "infd", "serve", "--state", str(state), "--log-format", "json"],
        capture_output=True, text=True, timeout=daemons.PATIENCE, check=False,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )  # fmt: skip
    logged, said = done.stderr.splitlines()
    line = json.loads(logged)
    assert "LookupError: a fault of a test" in line["exception"]
    assert said == f"infd: unexpected failure; the log tells of incident {line['incident']}"
    assert done.returncode == 1


@pytest.mark.parametrize("package", ["infd", "infd_repl"])
def test_ctrl_c_while_a_command_is_loaded_ends_it_in_silence(package: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(
        "import signal, sys\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == '{package}.cli':\n"
        "            signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
    )
    environ = children.environment()
    environ["PYTHONPATH"] = os.pathsep.join([str(tmp_path), environ["PYTHONPATH"]])
    ran = subprocess.run(
        [sys.executable, "-m", package, "--help"],
        env=environ, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (ran.returncode, ran.stdout, ran.stderr) == (130, "", "")
