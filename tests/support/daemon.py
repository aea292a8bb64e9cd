"""A real daemon for tests: started on a free port, watched, and ended.

`run()` starts `python -m infd serve` on a state folder of its own, waits until the daemon tells
that it is ready, and at the end stops it with SIGTERM and checks that it ended cleanly: exit
status 0 and no error in its log. What it wrote to standard error is quoted when it does not.

The bundled model is there under two names, "demo" (loaded at start) and "twin". The superuser
"admin" has the access token `ADMIN_TOKEN`.
"""

from __future__ import annotations

import atexit
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from infd.demo import MODEL_PATH

PATIENCE = 60.0
"""Seconds after which a test gives a daemon up: a guard against hanging, not a measurement."""
BUDGET = 16384
ERRORS = ("incident", "unhandled", "unexpected failure", "worker failed", "Traceback")
BUNDLED = MODEL_PATH
PLACEMENTS = ("dedicated", "batched")
placement = PLACEMENTS[0]
"""The placement of daemons that do not say theirs; the fixture of the same name sets it."""

Line = dict[str, Any]


BREATH = 0.01
"""Seconds between two askings, so that asking does not take the processor from what is awaited.
No test depends on its length."""


def until(holds: Callable[[], object]) -> None:
    """Ask again and again until it holds; each asking is a round trip to the daemon."""
    deadline = time.monotonic() + PATIENCE
    breath = threading.Event()
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError("it never came to hold")
        breath.wait(BREATH)


class DaemonError(AssertionError):
    """The daemon did not do what it should; what it wrote is quoted."""


@functools.cache
def initialised() -> tuple[Path, str]:
    """A state folder made by `infd init`, to be copied, and its superuser's access token."""
    folder = Path(tempfile.mkdtemp(prefix="infd-state-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    state = folder / "state"
    token: str = json.loads(command("init", "--state", str(state), "--json"))["acctok"]
    # Beside other tests on the same cores two threads of one context would wait for each other.
    command("user", "modify", "admin", "--proc-threads", "1", "--state", str(state))
    return state, token


def command(*arguments: str) -> str:
    """What `infd ARGUMENTS` prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-m", "infd", *arguments],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    if done.returncode:
        raise DaemonError(f"infd {arguments}: status {done.returncode}\n{done.stderr}")
    return done.stdout


def toml(values: Mapping[str, Any]) -> str:
    """Keys and `[models.NAME]` tables as TOML; JSON's scalars are TOML's."""
    top = [f"{key} = {json.dumps(value)}" for key, value in values.items() if key != "models"]
    for name, table in values.get("models", {}).items():
        top += [f"[models.{json.dumps(name)}]"]
        top += [f"{key} = {json.dumps(value)}" for key, value in table.items()]
    return "\n".join(top) + "\n"


class Daemon:
    """A running daemon. `host`, `port`: where; `admin`: the superuser's access token."""

    def __init__(self, command: Sequence[str], state: Path, models: Path, admin: str) -> None:
        self.state = state
        self.models = models
        self.admin = admin
        self.errors_expected = False
        self.stopped = False
        self._command = list(command)
        self._lines: list[str] = []
        self._more = threading.Condition()
        self._ended = False

    def start(self, env: Mapping[str, str] | None = None) -> None:
        """Start the process and wait until it is ready. Raises DaemonError, quoting it."""
        ready, told = os.pipe()
        self.stopped = False
        self._process = subprocess.Popen(
            [*self._command, "--ready-fd", str(told)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            pass_fds=(told,),
            env={**os.environ, **(env or {})},
        )
        os.close(told)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        with os.fdopen(ready) as pipe:
            address = pipe.readline().strip()
        if not address:
            status = self.wait()
            raise DaemonError(f"infd serve: status {status}\n{self.quoted()}")
        host, _, port = address.rpartition(":")
        self.host, self.port = host, int(port)

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            with self._more:
                self._lines.append(line.decode("utf-8", "replace").rstrip("\n"))
                self._more.notify_all()
        with self._more:
            self._ended = True
            self._more.notify_all()

    # --- what it says ----------------------------------------------------------------------

    @property
    def pid(self) -> int:
        return self._process.pid

    def quoted(self) -> str:
        """The last it wrote, for messages."""
        return "\n".join(self._lines[-60:])

    def log(self) -> list[Line]:
        """What it logged so far; a line that is no JSON is an event of level "none"."""
        with self._more:
            return [_parsed(line) for line in self._lines]

    def wait_log(self, wanted: Callable[[Line], bool] | str, since: int = 0) -> Line:
        """The first line, from number `since` on, that fits: an event's name, or a test."""
        fits = (lambda line: line["event"] == wanted) if isinstance(wanted, str) else wanted
        at = since
        with self._more:
            while True:
                for line in self._lines[at:]:
                    if fits(parsed := _parsed(line)):
                        return parsed
                at = len(self._lines)
                if self._ended or not self._more.wait(PATIENCE):
                    raise DaemonError(f"never logged: {wanted}\n{self.quoted()}")

    # --- what is done to it ----------------------------------------------------------------

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Wait for its end; its exit status, negative for a signal. Its log is complete then."""
        try:
            status = self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
            raise DaemonError(f"the daemon does not end\n{self.quoted()}") from None
        finally:
            self._reader.join(PATIENCE)
            self.stopped = True
        assert self._process.stderr is not None
        self._process.stderr.close()
        return status

    def kill(self) -> None:
        """kill -9."""
        self.signal(signal.SIGKILL)
        self.wait()

    def stop(self) -> None:
        """SIGTERM, and check that it ends cleanly."""
        if self.stopped:
            return
        self.signal(signal.SIGTERM)
        status = self.wait()
        if status:
            raise DaemonError(f"the daemon ended with status {status}\n{self.quoted()}")
        self.check_log()

    def check_log(self) -> None:
        """Raises DaemonError when it logged a failure of its own."""
        found = [line for line in self._lines if any(word in line for word in ERRORS)]
        if found and not self.errors_expected:
            raise DaemonError("the daemon logged failures:\n" + "\n".join(found[:20]))


def _parsed(line: str) -> Line:
    try:
        parsed = json.loads(line)
    except ValueError:
        parsed = None
    if isinstance(parsed, dict) and "event" in parsed:
        return parsed
    return {"event": line, "level": "none"}


@contextmanager
def run(
    *,
    state: Path | None = None,
    models: Mapping[str, Path] | None = None,
    config: Mapping[str, Any] | None = None,
    program: Sequence[str] = ("-m", "infd"),
    env: Mapping[str, str] | None = None,
    demo: bool = True,
    errors: bool = False,
) -> Iterator[Daemon]:
    """A daemon, stopped and checked at the end.

    `state`: an existing folder, kept; else a fresh one. `models`: more files by name. `config`:
    keys of infd.toml. `program`: what Python runs in place of the daemon. `demo`: whether "demo"
    is loaded at start, with a budget of `BUDGET` tokens. `errors`: failures in its log are meant.
    """
    folder = Path(tempfile.mkdtemp(prefix="infd-test-"))
    try:
        template, admin = initialised()
        if state is None:
            state = folder / "state"
            shutil.copytree(template, state)
        models_folder = folder / "models"
        models_folder.mkdir()
        for name, path in (models or {}).items():
            (models_folder / f"{name}.gguf").symlink_to(path)
        bundled = {"path": str(BUNDLED)}
        tables = {"demo": {**bundled, "load": demo, "ctxsize": BUDGET}, "twin": bundled}
        values = {"log_format": "json", "placement": placement, **(config or {})}
        values["models"] = {**tables, **values.get("models", {})}
        (folder / "infd.toml").write_text(toml(values))
        serve = [
            sys.executable, *program, "serve", "--config", str(folder / "infd.toml"),
            "--state", str(state), "--models", str(models_folder), "--listen", "127.0.0.1:0",
        ]  # fmt: skip
        daemon = Daemon(serve, state, models_folder, admin)
        daemon.errors_expected = errors
        daemon.start(env)
        try:
            yield daemon
        except BaseException as error:
            error.add_note("the daemon's log ended so:\n" + daemon.quoted())
            with suppress(ProcessLookupError):
                daemon.signal(signal.SIGKILL)
            raise
        else:
            daemon.stop()
            if (verdicts := state / "probes.json").exists():
                # The bundled model is tried out once for all daemons that follow.
                shutil.copy(verdicts, template)
        finally:
            if not daemon.stopped:
                daemon.wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
