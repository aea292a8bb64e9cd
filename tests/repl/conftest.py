"""A daemon for a file's tests, and infc at a terminal on it."""

from __future__ import annotations

import pytest
from support.daemon import run
from support.endless import TABLE, endless
from support.infc import runner
from support.terminal import at_terminal


@pytest.fixture(scope="module")
def daemon():
    with run() as daemon:
        yield daemon


@pytest.fixture
def repl(daemon, tmp_path):
    url = f"infd://admin@{daemon.host}:{daemon.port}"
    with at_terminal(url, daemon.admin, tmp_path, "--temp", "0") as terminal:
        terminal.expect("model demo")
        terminal.ready()
        yield terminal


@pytest.fixture
def infc(daemon, tmp_path):
    """infc in pipes, as the superuser."""
    return runner(f"infd://admin@{daemon.host}:{daemon.port}", daemon.admin, tmp_path)


@pytest.fixture
def endless_repl(tmp_path):
    """A daemon of its own with a model that never stops, and infc on it."""
    with run(models={"endless": endless()}, config={"models": TABLE}) as daemon:
        url = f"infd://admin@{daemon.host}:{daemon.port}"
        options = ("--model", "endless", "--context", "30000", "--temp", "0")
        with at_terminal(url, daemon.admin, tmp_path, *options) as terminal:
            terminal.ready()
            yield daemon, terminal
