"""What the README shows is typed as it stands there; only the port is another, so that tests may
run beside a daemon, and models are the bundled one."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.daemon import PATIENCE

from infd.demo import MODEL_PATH

README = (Path(__file__).parents[2] / "README.md").read_text()
COMMANDS = f"""
infd() {{ {sys.executable} -P -m infd "$@"; }}
infc() {{ {sys.executable} -P -m infd_repl "$@"; }}
python() {{ {sys.executable} "$@"; }}
"""


def blocks(language: str, section: str) -> list[str]:
    """The code blocks of a language in a section."""
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0]
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


SERVING, LIMITS, SHELL = blocks("sh", "Five minutes")[1:4]
(PROGRAM,) = blocks("python", "Five minutes")


class Desk:
    """The person's machine: a home folder, and two terminals."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.port = ""
        self.tokens: dict[str, str] = {}

    def environ(self, user: str) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if "INFD" not in name}
        for name in ("STATE_DIRECTORY", "XDG_STATE_HOME", "XDG_CONFIG_HOME"):
            kept.pop(name, None)
        token = {"INFD_TOKEN": self.tokens[user]} if user in self.tokens else {}
        return {**kept, "HOME": str(self.home), **token}

    def type(self, line: str, user: str = "", stdin: str = "") -> str:
        """What the line prints; it must succeed."""
        done = subprocess.run(
            ["bash", "-c", COMMANDS + line.replace("4633", self.port or "4633")],
            cwd=self.home, env=self.environ(user), input=stdin, capture_output=True, text=True,
            timeout=PATIENCE, check=False,
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, ""), (line, done.stderr)
        return done.stdout


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The README's commands up to a daemon that serves some-model, and the user ada."""
    desk = Desk(tmp_path_factory.mktemp("home"))
    shutil.copy(MODEL_PATH, desk.home / "some-model.gguf")
    init, copy, serve, load, create, _ = SERVING.splitlines()
    (desk.tokens["admin"],) = re.findall(r"^\S{43}$", desk.type(init), re.MULTILINE)
    desk.type(copy)
    listen = "listen = '127.0.0.1:{}'\n"
    (desk.home / "infd-state" / "infd.toml").write_text(listen.format(0))
    ready, told = os.pipe()
    command = f"{COMMANDS}\n{serve.partition('#')[0]} --ready-fd {told}"
    daemon = subprocess.Popen(
        ["bash", "-c", command],
        cwd=desk.home, env=desk.environ(""), stderr=subprocess.DEVNULL, pass_fds=(told,),
        process_group=0,
    )  # fmt: skip
    os.close(told)
    try:
        with os.fdopen(ready) as pipe:
            desk.port = pipe.readline().strip().rpartition(":")[2]
        # Where the commands look when they are told nothing.
        usual = desk.home / ".local" / "state" / "infd"
        usual.mkdir(parents=True)
        (usual / "infd.toml").write_text(listen.format(desk.port))
        assert "some-model  llama  loaded" in desk.type(load, "admin")
        desk.tokens["ada"] = desk.type(create, "admin").strip()
        yield desk
    finally:
        os.killpg(daemon.pid, signal.SIGTERM)
        daemon.wait(PATIENCE)


def test_the_repl_of_the_user(desk: Desk) -> None:
    told = desk.type(SERVING.splitlines()[-1], "ada", "My name is Ada.\nWhat is my name?\n")
    assert "Ada" in told.splitlines()[1]


def test_the_program(desk: Desk) -> None:
    (desk.home / "program.py").write_text(PROGRAM.replace("4633", desk.port))
    assert desk.type("python program.py", "ada").strip()


def test_the_shell(desk: Desk) -> None:
    reply, described = desk.type(SHELL, "ada").splitlines()
    assert reply
    assert '"ARCHITECTURE": "llama"' in described


def test_what_a_user_may_is_changed(desk: Desk) -> None:
    limits, prompt, show, token = LIMITS.splitlines()
    for line in (limits, prompt):
        desk.type(line, "admin")
    shown = desk.type(show, "admin")
    for line in ("8192", "256", "Answer in one sentence."):
        assert line in shown
    before, desk.tokens["ada"] = desk.tokens["ada"], desk.type(token, "admin").strip()
    assert desk.tokens["ada"] != before
    assert '"ARCHITECTURE": "llama"' in desk.type(SHELL, "ada")


def test_the_help_that_it_names_lists_what_a_user_may_be_given(desk: Desk) -> None:
    (named,) = re.findall(r"`(infd user .*--help)` lists it all", README)
    told = desk.type(named)
    for option in re.findall(r"--[a-z-]+", LIMITS):
        assert option in told


def test_it_says_how_long_a_comparison_takes_as_its_help_does() -> None:
    told = subprocess.run(
        [sys.executable, "tests/bench/compare", "--help"], cwd=Path(__file__).parents[2],
        capture_output=True, text=True, timeout=PATIENCE, check=True,
    )  # fmt: skip
    for text in (README, told.stdout):
        assert "three quarters of an hour" in " ".join(text.split())


def test_its_first_line_ends_in_a_talk_and_its_second_runs_the_tests() -> None:
    first, second = blocks("sh", "Five minutes")[0].splitlines()
    assert first.endswith("&& infd demo")
    assert second.endswith("&& pytest")
