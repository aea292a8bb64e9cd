"""`infd demo`: a daemon with the bundled model and a throw-away state folder, and a talk with it.

It needs nothing and leaves nothing: the daemon listens on a free loopback port, and daemon and
folder are gone after every way out (also when this process is killed, but for the folder then).

On a terminal the REPL opens, a process of its own. Otherwise every line of standard input is one
message of one conversation, and every reply is one line of standard output.
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
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select
from types import FrameType
from typing import Any

from infd import children
from infd.demo import MODEL_PATH
from infd.failures import CommandError
from infd.reach import ADMIN
from infd.wire import Address, Wire
from infd_protocol.errors import ExecTokenLimitExceeded

MODEL = "demo"
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
        "to it. With standard input not a terminal: one message a line, one reply a line.",
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    if not MODEL_PATH.is_file():
        raise CommandError(f"the bundled model is missing: {MODEL_PATH}; reinstall infd")
    try:
        with _signals(), _state_folder() as (state, token), _daemon(state) as (daemon, address):
            if sys.stdin.isatty():
                return _open_repl(daemon, address, token)
            return _converse(address, token)
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
def _daemon(state: Path) -> Iterator[tuple[subprocess.Popen[bytes], Address]]:
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
        yield daemon, Address.parse(line)
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


def _open_repl(daemon: subprocess.Popen[bytes], address: Address, token: str) -> int:
    """Run the REPL until it ends, or the daemon does. Gives the exit status."""
    # The terminal sends Ctrl-C to both; it means the REPL, which knows what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    repl = subprocess.Popen(
        children.command("infd_repl"),
        env=children.environment(INFD_URL=f"infd://{ADMIN}@{address}", INFD_TOKEN=token),
        # An ignored signal stays ignored in a child.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        _wait_for_either(repl, daemon)
        if repl.poll() is None:
            raise CommandError(f"the daemon ended unexpectedly (status {daemon.returncode})")
        return int(abs(repl.returncode))
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


def _converse(address: Address, token: str) -> int:
    with Wire(address) as wire:
        wire.login(ADMIN, token)
        size = wire.call("inf_get_model_info", MODEL=MODEL).keys["TRAINING_CONTEXT"]
        context = wire.call("inf_create_context", MODEL=MODEL, CTXSIZE=size).keys["CTXID"]
        for line in sys.stdin:
            if line.strip():
                print(" ".join(_reply(wire, context, line.strip()).split()), flush=True)
    return 0


def _reply(wire: Wire, context: int, text: str) -> str:
    """The reply to a message. A conversation that has become too long is begun anew."""

    def execute() -> None:
        said = wire.call("exec_set_input", text, CTXID=context, ROLE="user")
        wire.call("exec_execute_input", CTXID=context, MSGID=[said.keys["MSGID"]])

    _retry_once(execute, lambda: _begin_anew(wire, context))
    parts: list[str] = []
    while True:
        answer = wire.call("exec_next", CTXID=context)
        parts.append(answer.data or "")
        if answer.keys.get("IS_SPECIAL"):
            return "".join(parts)


def _retry_once(act: Callable[[], None], make_room: Callable[[], None]) -> None:
    try:
        act()
    except ExecTokenLimitExceeded:
        make_room()
        act()


def _begin_anew(wire: Wire, context: int) -> None:
    print("infd: the conversation has filled the context and begins anew", file=sys.stderr)
    wire.call("inf_clear_context_history", CTXID=context)
