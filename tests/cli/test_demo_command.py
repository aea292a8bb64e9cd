"""`infd demo`: a real daemon with the bundled model, and nothing left after any way out."""

from __future__ import annotations

import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.daemon import PATIENCE


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the demo puts its state folder; not too deep for anything that has a path limit."""
    return Path(tempfile.mkdtemp(dir=tmp_path))


@contextmanager
def demo(
    folder: Path, terminal: int | None = None, **environ: str
) -> Iterator[subprocess.Popen[str]]:
    """A running demo; its standard streams are pipes, or all the terminal."""
    streams = subprocess.PIPE if terminal is None else terminal
    process = subprocess.Popen(
        [sys.executable, "-m", "infd", "demo"],
        stdin=streams, stdout=streams, stderr=streams, text=True, bufsize=1,
        env={**os.environ, "TMPDIR": str(folder), **environ},
        start_new_session=terminal is not None,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.communicate(timeout=PATIENCE)


def daemons_in(folder: Path) -> list[int]:
    """The processes whose command line names the folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(folder) in command:
                found.append(int(entry.name))
    return found


def say(process: subprocess.Popen[str], text: str) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(text + "\n")
    process.stdin.flush()
    return process.stdout.readline()


def left(folder: Path) -> tuple[list[int], list[Path]]:
    return daemons_in(folder), list(folder.iterdir())


def test_a_line_is_a_message_and_a_reply_is_a_line(folder: Path) -> None:
    with demo(folder) as process:
        out, err = process.communicate("My name is Ada.\n\nWhat is my name?\n", timeout=PATIENCE)
    assert (process.returncode, err) == (0, "")
    first, second = out.splitlines()
    assert first
    assert "Ada" in second
    assert left(folder) == ([], [])


def test_help_says_that_empty_lines_are_passed_over() -> None:
    told = subprocess.run(
        [sys.executable, "-m", "infd", "demo", "--help"],
        capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    assert "empty lines are passed over" in " ".join(told.stdout.split())


def test_nothing_said_nothing_answered(folder: Path) -> None:
    with demo(folder) as process:
        out, err = process.communicate("", timeout=PATIENCE)
    assert (process.returncode, out, err) == (0, "", "")
    assert left(folder) == ([], [])


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_it_all(folder: Path, number: signal.Signals) -> None:
    with demo(folder) as process:
        assert say(process, "Hello!")
        assert daemons_in(folder)
        process.send_signal(number)
        _, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (128 + number, "")
    assert left(folder) == ([], [])


def test_a_daemon_that_dies_ends_the_demo(folder: Path) -> None:
    with demo(folder) as process:
        assert say(process, "Hello!")
        (pid,) = daemons_in(folder)
        os.kill(pid, signal.SIGKILL)
        _, err = process.communicate("Hello?\n", timeout=PATIENCE)
    assert process.returncode == 1
    assert err.startswith("infd: ")
    assert err.count("\n") == 1
    assert left(folder) == ([], [])


def test_a_demo_that_is_killed_takes_its_daemon_along(folder: Path) -> None:
    with demo(folder) as process:
        assert say(process, "Hello!")
        (pid,) = daemons_in(folder)
        watched = os.pidfd_open(pid)
        process.kill()
        assert select.select([watched], [], [], PATIENCE)[0]
        os.close(watched)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (
            "import pathlib, infd.demo\ninfd.demo.MODEL_PATH = pathlib.Path('/none.gguf')\n",
            "the bundled model is missing: /none.gguf",
        ),
        (
            "import os, sys\n"
            "if 'serve' in sys.orig_argv: os.write(2, b'no daemon today\\n'); os._exit(3)\n",
            "the daemon did not start: no daemon today",
        ),
    ],
)
def test_what_is_missing_is_one_line(folder: Path, code: str, said: str) -> None:
    """`code` runs in every Python of the demo before anything else."""
    first = folder.with_name("first")
    first.mkdir()
    (first / "sitecustomize.py").write_text(code)
    with demo(folder, PYTHONPATH=str(first)) as process:
        _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.startswith(f"infd: {said}")
    assert err.count("\n") == 1
    assert left(folder) == ([], [])


def test_on_a_terminal_the_repl_opens(folder: Path) -> None:
    """The REPL gets the terminal; when it ends, all ends."""
    ours, theirs = pty.openpty()
    with demo(folder, theirs, PROMPT_TOOLKIT_NO_CPR="1") as process:
        os.close(theirs)
        said = b""
        # Before it asks for bracketed pastes it has not taken the terminal over.
        while b"\x1b[?2004h" not in said:
            assert select.select([ours], [], [], PATIENCE)[0], said
            said += os.read(ours, 4096)
        assert b"Try \"My name is Ada.\"" in said
        os.write(ours, b"\x04")
        with contextlib.suppress(OSError):  # how Linux says that the other side is closed
            while os.read(ours, 4096):
                pass
        assert process.wait(PATIENCE) == 0
    os.close(ours)
    assert left(folder) == ([], [])
