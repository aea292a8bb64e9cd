"""Running `infd` as a person does: a process, its two outputs and its exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.daemon import PATIENCE


@dataclass
class Ran:
    status: int
    out: str
    err: str

    @property
    def complaint(self) -> str:
        """The one line on standard error of a command that failed."""
        assert self.status == 1, self
        assert self.err.startswith("infd: "), self.err
        assert self.err.count("\n") == 1, self.err
        return self.err


Infd = Callable[..., Ran]


@pytest.fixture
def infd(tmp_path: Path) -> Infd:
    """`infd("user", "list", INFD_TOKEN="…")`: nothing of this machine's user is seen."""

    def run(*arguments: object, stdin: str = "", **environ: str) -> Ran:
        clean = {name: value for name, value in os.environ.items() if "INFD" not in name}
        clean.pop("STATE_DIRECTORY", None)
        done = subprocess.run(
            [sys.executable, "-m", "infd", *map(str, arguments)],
            input=stdin, capture_output=True, text=True, timeout=PATIENCE, check=False,
            env={**clean, "XDG_STATE_HOME": str(tmp_path / "home"), **environ},
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
