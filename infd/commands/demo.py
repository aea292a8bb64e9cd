"""`infd demo`: a daemon with the bundled model and a throw-away state folder, and a talk with it.

It needs nothing and leaves nothing: the daemon listens on a free loopback port, and daemon and
folder are gone after every way out (also when this process is killed, but for the folder then).

The REPL (a process of its own) talks: on a terminal as on every day; else every line of standard
input is one message of one conversation, and every reply is one line of standard output.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from types import FrameType
from typing import Any

from infd import children
from infd.demo import MODEL_PATH
from infd.failures import CommandError
from infd.reach import ADMIN

MODEL = "demo"
ABOUT = (
    "The bundled model is tiny: it remembers what you tell it, counts, adds, spells,\n"
    "and answers questions about infd; of anything else it says that it does not\n"
    'know. Try "My name is Ada."'
)
STOP_SECONDS = 10.0
"""A daemon that has not stopped by then is killed."""


class _Ended(BaseException):
    """A signal told us to end; no Exception, so that nothing on the way swallows it."""

    def __init__(self, number: int) -> None:
        self.status = 128 + number


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "demo",
        help="try infd out with the bundled model",
        description="Start a daemon with the bundled model and a throw-away state folder, and talk "
        "to it. With standard input not a terminal: one message a line, one reply a line; empty "
        "lines are passed over.",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    if not MODEL_PATH.is_file():
        raise CommandError(f"the bundled model is missing: {MODEL_PATH}; reinstall infd")
    try:
        with _signals(), _state_folder() as (state, token), _daemon(state) as (daemon, address):
            return _talk(daemon, address, token)
    except _Ended as ended:
        return ended.status


@contextmanager
def _signals() -> Iterator[None]:
    """End in order when told to: whoever waits is woken by an exception, once."""

    def end(number: int, frame: FrameType | None) -> None:
        for each in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(each, signal.SIG_IGN)
        raise _Ended(number)

    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
        signal.signal(number, end)
    yield


@contextmanager
def _state_folder() -> Iterator[tuple[Path, str]]:
    """A state folder with a superuser, and its access token."""
    from infd.accounts import offline

    state = Path(tempfile.mkdtemp(prefix="infd-demo-"))
    try:
        # One thread: for so small a model a second one only waits for the first.
        token = offline.init(state, ADMIN, cores=1)
        (state / "models").mkdir()
        (state / "infd.toml").write_text(
            f"drain = 0\n[models.{MODEL}]\npath = {json.dumps(str(MODEL_PATH))}\nload = true\n"
        )
        yield state, token
    finally:
        shutil.rmtree(state, ignore_errors=True)


@contextmanager
def _daemon(state: Path) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """A daemon that serves. Raises CommandError if it does not come to that."""
    log = state / "log"
    ready, tell = os.pipe()
    parent = os.getpid()
    try:
        with log.open("wb") as errors:
            daemon = subprocess.Popen(
                children.command(
                    "infd", "serve", "--state", str(state), "--listen", "127.0.0.1:0",
                    "--log-format", "console", "--ready-fd", str(tell),
                ),
                stdin=subprocess.DEVNULL, stdout=errors, stderr=errors, pass_fds=(tell,),
                env=children.environment(),
                # Ctrl-C is the REPL's: the daemon is in no group that the terminal speaks to.
                process_group=0,
                preexec_fn=lambda: children.end_with_parent(parent),
            )  # fmt: skip
    finally:
        os.close(tell)
    try:
        with open(ready) as pipe:
            line = pipe.readline().strip()
        if not line:
            raise CommandError(f"the daemon did not start: {_last_line(log)}")
        yield daemon, line
    finally:
        _stop(daemon)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _last_line(log: Path) -> str:
    with suppress(OSError):
        lines = log.read_text(errors="replace").split("\n")
        return next((line for line in reversed(lines) if line.strip()), "it said nothing")
    return "it said nothing"


def _talk(daemon: subprocess.Popen[bytes], address: str, token: str) -> int:
    """Run the REPL until it ends, or the daemon does. Gives the exit status."""
    if sys.stdin.isatty() and sys.stdout.isatty():
        print(ABOUT, flush=True)
    if sys.stdin.isatty():
        # The terminal sends Ctrl-C to both; it means the REPL, which knows what to do.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = os.getpid()

    def in_child() -> None:
        # What this process ignores, a child would ignore too.
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        children.end_with_parent(parent, signal.SIGTERM)

    repl = subprocess.Popen(
        children.command("infd_repl"),
        env=children.environment(
            INFD_URL=f"infd://{ADMIN}@{address}", INFD_TOKEN=token, INFD_MODEL=MODEL
        ),
        preexec_fn=in_child,
    )
    try:
        _wait_for_either(repl, daemon)
        if repl.poll() is None:
            raise CommandError(f"the daemon ended unexpectedly (status {daemon.returncode})")
        status: int = repl.returncode
        return status if status >= 0 else 128 - status
    finally:
        if repl.poll() is None:
            _stop(repl)


def _wait_for_either(*processes: subprocess.Popen[bytes]) -> None:
    descriptors = [os.pidfd_open(process.pid) for process in processes]
    try:
        select(descriptors, [], [])
    finally:
        for descriptor in descriptors:
            os.close(descriptor)
    for process in processes:
        process.poll()
