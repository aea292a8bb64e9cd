"""`infc` as a process, in pipes."""

from __future__ import annotations

import os
import subprocess
import sys


def runner(url, token, tmp_path):
    def infc(*arguments, stdin="", **variables):
        environ = {
            **os.environ, "INFD_URL": url, "INFD_TOKEN": token,
            "XDG_CONFIG_HOME": str(tmp_path), **variables,
        }  # fmt: skip
        return subprocess.run(
            [sys.executable, "-W", "error", "-m", "infd_repl", *arguments],
            input=stdin, capture_output=True, text=True, errors="surrogateescape", timeout=120,
            env=environ, check=False,
        )  # fmt: skip

    return infc


def answered(done):
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def refused(done, *words):
    """One line on standard error, nothing on standard output."""
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("infc: ")
    assert done.stderr.count("\n") == 1
    for word in words:
        assert word in done.stderr
