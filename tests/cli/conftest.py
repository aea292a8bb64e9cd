"""Running `infd` as a person does: a process, its two outputs and its exit status."""

from __future__ import annotations

import ctypes
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

_PR_CAPBSET_DROP = 24  # <linux/prctl.h>
_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH = 1, 2  # <linux/capability.h>


def _bound_by_modes() -> None:
    """In a child, before it runs a program: the modes of files hold for it, also if it is root."""
    prctl = ctypes.CDLL(None).prctl
    for capability in (_CAP_DAC_OVERRIDE, _CAP_DAC_READ_SEARCH):
        prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)


@pytest.fixture
def infd(tmp_path: Path) -> Infd:
    """`infd("user", "list", INFD_TOKEN="…")`: nothing of this machine's user is seen. `bound`: the
    modes of files hold for it, also where tests run as root."""

    def run(*arguments: object, stdin: str = "", bound: bool = False, **environ: str) -> Ran:
        clean = {name: value for name, value in os.environ.items() if "INFD" not in name}
        clean.pop("STATE_DIRECTORY", None)
        done = subprocess.run(
            [sys.executable, "-m", "infd", *map(str, arguments)],
            input=stdin, capture_output=True, text=True, timeout=PATIENCE, check=False,
            env={**clean, "XDG_STATE_HOME": str(tmp_path / "home"), **environ},
            preexec_fn=_bound_by_modes if bound else None,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        return Ran(done.returncode, done.stdout, done.stderr)

    return run
