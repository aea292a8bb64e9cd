"""A daemon for the bench alone: its own state folder, a free loopback port, its usual settings.

Logging is as in everyday use (JSON lines at level info), to a file in the folder.
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from infd import children
from infd.accounts import offline
from infd.bench.wire import Wire
from infd.closing import Closing
from infd.wire import Address

ADMIN = "bench"
STOP_SECONDS = 30.0
"""How long the daemon may take to end in order before it is killed."""
BUDGET = 1 << 20
"""Tokens of all contexts of a model together: more than any measurement takes."""


class ThrowawayError(Exception):
    """The daemon did not start; one line for people."""


class Throwaway(Closing):
    """The running daemon. A context manager; afterwards nothing of it is left."""

    def __init__(self, models: Mapping[str, Path], *, threads: int) -> None:
        """Start it with these files as models by name. Raises ThrowawayError."""
        self._folder = Path(tempfile.mkdtemp(prefix="infd-bench-"))
        self._process: subprocess.Popen[bytes] | None = None
        try:
            (self._folder / "models").mkdir()
            for name, path in models.items():
                (self._folder / "models" / f"{name}.gguf").symlink_to(path.resolve())
            self.acctok = offline.init(self._folder / "state", ADMIN, cores=threads)
            self.address = self._start()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Stop it and remove its folder."""
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            self._process = None
        shutil.rmtree(self._folder, ignore_errors=True)

    def log_in(self) -> Wire:
        """A connection of its own with a session of its own."""
        wire = Wire(self.address)
        try:
            wire.login(ADMIN, self.acctok)
        except BaseException:
            wire.close()
            raise
        return wire

    def load(self, wire: Wire, model: str) -> None:
        """Load a model, with room for every measurement."""
        wire.call("inf_load_model", MODEL=model, CTXSIZE=BUDGET)

    def set_threads(self, wire: Wire, threads: int) -> None:
        """What one context computes with from now on."""
        wire.call("inf_modify_user_processor_thread_count", USERNAME=ADMIN, PROC_THREADS=threads)

    def resident(self) -> int:
        """Bytes of memory that are the daemon's own or in use by it now (RSS)."""
        assert self._process is not None
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    def _start(self) -> Address:
        folder = self._folder
        reading, writing = os.pipe()
        try:
            with (folder / "log").open("wb") as log:
                self._process = subprocess.Popen(
                    children.command(
                        "infd", "serve", "--state", str(folder / "state"),
                        "--models", str(folder / "models"), "--listen", "127.0.0.1:0",
                        "--ready-fd", str(writing),
                    ),
                    env=children.environment(), pass_fds=(writing,),
                    preexec_fn=partial(_prepare, os.getpid()),
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log,
                )  # fmt: skip
        finally:
            os.close(writing)
        with os.fdopen(reading) as pipe:
            address = pipe.readline().strip()
        if not address:
            said = (folder / "log").read_text(errors="replace").strip().splitlines()
            raise ThrowawayError(
                "the bench's daemon did not start: " + (said[-1] if said else "it said nothing")
            )
        host, _, port = address.rpartition(":")
        return Address(host, int(port))


def _prepare(parent: int) -> None:
    """In the new process: end with the bench, and have more descriptors than the usual soft
    limit of 1,024, for a thousand connections."""
    children.end_with_parent(parent)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
