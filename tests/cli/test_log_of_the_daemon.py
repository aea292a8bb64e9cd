"""The daemon serves on when nobody can be told how it does."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from support import daemon as daemons
from support.daemon import PATIENCE

from infd.wire import Address, Wire


@pytest.mark.parametrize("kind", ["full disk", "reader gone", "reader stalled"])
def test_a_broken_standard_error(tmp_path: Path, kind: str) -> None:
    import shutil

    state = tmp_path / "state"
    template, token = daemons.initialised()
    shutil.copytree(template, state)
    reading, writing = os.pipe()
    errors = os.open("/dev/full", os.O_WRONLY) if kind == "full disk" else writing
    ready, told = os.pipe()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "infd", "serve", "--state", str(state), "--ready-fd", str(told),
            "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug",
        ],
        stderr=errors, pass_fds=(told,),
    )  # fmt: skip
    os.close(told)
    os.close(writing)
    if kind == "reader gone":
        os.close(reading)
    with os.fdopen(ready) as pipe, Wire(Address.parse(pipe.readline().strip())) as wire:
        wire.login("admin", token)
        for _ in range(2000):  # some 250 KiB of log; a pipe holds 64
            wire.call("inf_get_context_ids")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    if kind != "reader gone":
        os.close(reading)
    if kind == "full disk":
        os.close(errors)
