"""Folders that are not what they should be: one line that names them and says what to do."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import daemon as daemons

Infd = Callable[..., Any]
COMMANDS = (
    ("model", "list"), ("user", "list"), ("doctor",), ("serve", "--check"), ("serve",),
)  # fmt: skip


@pytest.fixture
def state(tmp_path: Path) -> Path:
    copied = tmp_path / "state"
    shutil.copytree(daemons.initialised()[0], copied)
    (copied / "models").mkdir(exist_ok=True)
    return copied


@pytest.fixture
def shut(state: Path) -> Iterator[Path]:
    """A state folder that nobody may enter."""
    state.chmod(0)
    yield state
    state.chmod(0o700)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_state_folder_that_may_not_be_entered(
    infd: Infd, shut: Path, command: tuple[str, ...]
) -> None:
    said = infd(*command, "--state", shut, bound=True).complaint
    assert f"state folder {shut}: Permission denied" in said
    assert "as the user who owns the folder" in said
    assert "--state" in said


def test_with_a_configuration_from_elsewhere_it_is_one_line_too(
    infd: Infd, shut: Path, tmp_path: Path
) -> None:
    file = tmp_path / "infd.toml"
    file.write_text("listen = '127.0.0.1:1'\n")
    where = ("--config", file, "--state", shut)
    for command in (("serve",), ("serve", "--check"), ("user", "list")):
        said = infd(*command, *where, bound=True)
        assert "Permission denied; see that this user may write the folder" in said.err
        assert said.status == 1
    # The daemon is asked: what it holds is its own affair.
    said = infd("model", "list", *where, bound=True).complaint
    assert "no daemon answers on 127.0.0.1:1" in said
    assert "holds no infd state" not in said


def test_a_configuration_that_may_not_be_read(infd: Infd, state: Path) -> None:
    file = state / "infd.toml"
    file.chmod(0)
    said = infd("serve", "--check", "--state", state, bound=True).complaint
    assert f"{file}: Permission denied; run it as the user who owns the file" in said


def test_a_store_that_may_not_be_read_is_named_and_not_its_folder(infd: Infd, state: Path) -> None:
    (state / "users.db").chmod(0)
    for command in (("serve",), ("user", "list")):
        said = infd(*command, "--state", state, bound=True).complaint
        assert f"{state / 'users.db'}: Permission denied" in said
        assert "read and write the file, which belongs to" in said


def test_a_file_is_no_state_folder(infd: Infd, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "below" / "it"):
        assert f"{file}: is no folder" in infd("init", "--state", folder).complaint
    assert file.read_text() == ""
    for command in (("serve",), ("serve", "--check"), ("user", "list")):
        assert f"{file}: is no folder" in infd(*command, "--state", file).complaint


@pytest.mark.parametrize("kind", ["missing", "file", "shut"])
def test_a_models_folder_without_models_is_warned_of(infd: Infd, state: Path, kind: str) -> None:
    models = state / "models"
    if kind == "shut":
        models.chmod(0)
    else:
        models.rmdir()
    if kind == "file":
        models.write_text("")
    ran = infd("serve", "--check", "--state", state, "--listen", "127.0.0.1:0", bound=True)
    if kind == "shut":
        models.chmod(0o700)
    assert (ran.status, ran.err) == (0, "")
    *_, warned, ok = ran.out.splitlines()
    assert ok == "ok"
    assert warned.startswith(f"warning: models folder: {models}: ")
    why = {"missing": "No such file", "file": "Not a directory", "shut": "Permission denied"}[kind]
    assert why in warned
    assert "models_folder in infd.toml" in warned


def test_a_daemon_without_its_models_folder_says_so_at_its_start(tmp_path: Path) -> None:
    with daemons.run(demo=False) as daemon:
        daemon.stop()
        before = len(daemon.log())
        daemon.models.rmdir()
        daemon.start()
        daemon.stop()
        told = [line for line in daemon.log()[before:] if line["event"] == "models folder"]
    (line,) = told
    assert line["level"] == "warning"
    assert f"{daemon.models}: No such file" in line["problem"]


def test_who_finds_no_daemon_learns_how_to_start_it(
    infd: Infd, state: Path, tmp_path: Path
) -> None:
    file = state / "infd.toml"
    file.write_text("listen = '127.0.0.1:1'\n")
    said = infd("model", "list", "--state", state).complaint
    assert "no daemon answers on 127.0.0.1:1" in said
    assert f": start it with infd serve --state {state}," in said
    # The configuration may name the folder.
    elsewhere = tmp_path / "else where.toml"
    elsewhere.write_text(f"state = '{state}'\nlisten = '127.0.0.1:1'\n")
    said = infd("model", "list", "--config", elsewhere).complaint
    assert f": start it with infd serve --config '{elsewhere}'," in said
    # Somebody else's machine is not this one's business.
    assert "start" not in infd("model", "list", "--url", "infd://127.0.0.1:1").complaint
