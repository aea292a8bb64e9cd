"""Processes that infd starts: what they inherit, and that none outlives its parent."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support.daemon import PATIENCE

from infd import children


def test_secrets_and_what_is_the_parents_are_not_inherited(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in children.PRIVATE:
        monkeypatch.setenv(name, "secret")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "json.py").write_text("raise SystemExit('the working folder was trusted')\n")
    code = "import json, os, infd, infd_protocol; print(json.dumps(dict(os.environ)))"
    module = tmp_path / "elsewhere" / "shows_environment.py"
    module.parent.mkdir()
    module.write_text(code)
    monkeypatch.syspath_prepend(str(module.parent))
    shown = subprocess.run(
        children.command("shows_environment"),
        env=children.environment(INFD_URL="infd://x"),
        capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    environ = json.loads(shown.stdout)
    assert not set(environ) & set(children.PRIVATE)
    assert environ["INFD_URL"] == "infd://x"


def test_a_child_ends_with_its_parent() -> None:
    waits = (
        "import signal, sys; from infd import children; "
        "children.end_with_parent(int(sys.argv[1])); print('ready', flush=True); signal.pause()"
    )
    starts = (
        "import os, subprocess, sys, signal\n"
        f"child = subprocess.Popen([sys.executable, '-c', {waits!r}, str(os.getpid())],\n"
        "    stdout=subprocess.PIPE, text=True)\n"
        "child.stdout.readline(); print(child.pid, flush=True); signal.pause()\n"
    )
    parent = subprocess.Popen(
        [sys.executable, "-c", starts], stdout=subprocess.PIPE, text=True,
        env=children.environment(),
    )  # fmt: skip
    with parent:
        assert parent.stdout is not None
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        assert select.select([child], [], [], PATIENCE)[0]
        os.close(child)


def test_a_child_whose_parent_is_gone_already_ends() -> None:
    code = "from infd import children; children.end_with_parent(1)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=children.environment(), timeout=PATIENCE, check=False
    )
    assert done.returncode == 1
