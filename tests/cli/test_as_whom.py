"""As whom the commands speak to a running daemon, and where it is."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pexpect
import pytest
from support import daemon as daemons
from support.daemon import Daemon

from infd.wire import Address, WireError
from infd_client import Address as ClientAddress
from infd_client import AddressError

Infd = Callable[..., Any]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    """One whose first superuser is boss; `admin` is its access token."""
    state = tmp_path_factory.mktemp("of-boss") / "state"
    made = daemons.command("init", "--state", str(state), "--admin", "boss", "--json")
    with daemons.run(state=state, demo=False) as running:
        running.admin = json.loads(made)["acctok"]
        yield running


@pytest.fixture
def models(infd: Infd, daemon: Daemon) -> Infd:
    """`infd model list` with the options, and boss's token."""

    def run(*options: str, **environ: str) -> Any:
        return infd("model", "list", *options, **{"INFD_TOKEN": daemon.admin, **environ})

    return run


def test_init_says_how_to_be_another_than_admin(infd: Infd, tmp_path: Path) -> None:
    told = infd("init", "--state", tmp_path / "one", "--admin", "boss").out
    assert "INFD_USER=boss" in told
    assert "--user boss" in told
    assert "INFD_USER" not in infd("init", "--state", tmp_path / "two").out


def test_the_user_is_the_option_s_or_the_url_s_or_the_environment_s(
    models: Infd, daemon: Daemon
) -> None:
    here = f"{daemon.host}:{daemon.port}"
    folder = ("--state", str(daemon.state))
    assert models(*folder, "--user", "boss").status == 0
    assert models(*folder, INFD_USER="boss").status == 0
    assert models("--url", f"infd://{here}", INFD_USER="boss").status == 0
    assert models("--url", f"infd://boss@{here}", INFD_USER="ada").status == 0
    assert models("--url", f"infd://ada@{here}", "--user", "boss").status == 0
    assert models(INFD_URL=f"infd://ada@{here}", INFD_USER="ada").status == 1
    assert models("--user", "boss", INFD_URL=f"infd://ada@{here}", INFD_USER="ada").status == 0


def test_who_is_refused_learns_how_to_be_another(models: Infd, daemon: Daemon) -> None:
    said = models("--state", str(daemon.state)).complaint
    assert "That was as admin at" in said
    assert "--user NAME, or INFD_USER" in said


def test_user_names_the_caller_and_name_the_user(infd: Infd, daemon: Daemon) -> None:
    where = ("--state", daemon.state, "--user", "boss")
    shown = infd("user", "show", *where, "boss", "--json", INFD_TOKEN=daemon.admin)
    assert json.loads(shown.out)["issuper"] == 1


BAD = (
    "foo", "127.0.0.1:4633", "http://127.0.0.1:4633", "infd://", "infd://:4633", "infd://h/x",
    "infd://h?q", "infd://h:x", "infd://h:99999", "infd://h:0", "infd://[::1", "infd://a@",
)  # fmt: skip


@pytest.mark.parametrize("url", BAD)
def test_a_bad_address_is_refused_in_the_words_of_the_client(url: str) -> None:
    with pytest.raises(AddressError) as theirs:
        ClientAddress.from_url(url)
    with pytest.raises(WireError) as ours:
        Address.parse(url)
    assert str(ours.value) == str(theirs.value)


def test_an_address_with_a_password_is_refused_without_telling_it(infd: Infd) -> None:
    said = infd("model", "list", "--url", "infd://ada:hunter2@127.0.0.1").complaint
    assert "carries no access token" in said
    assert "hunter2" not in said
    said = infd("model", "list", "--url", "infd://ada:hunter2@127.0.0.1:x").complaint
    assert "hunter2" not in said


def test_a_token_file_that_is_not_there_is_named_once(infd: Infd, daemon: Daemon) -> None:
    url = ("--url", f"infd://{daemon.host}:{daemon.port}")
    said = infd("model", "list", *url, INFD_TOKEN_FILE="/none/token").complaint
    assert said == (
        "infd: /none/token: the access token cannot be read (No such file or directory)\n"
    )


@pytest.mark.parametrize(
    ("text", "mode", "said"),
    [
        ("a token\n", 0o644, "is open to other users: chmod 600"),
        ("\na token\n", 0o600, "is empty"),
        ("", 0o600, "is empty"),
    ],
)
def test_a_token_file_is_refused_before_it_counts_as_a_wrong_login(
    infd: Infd, daemon: Daemon, tmp_path: Path, text: str, mode: int, said: str
) -> None:
    file = tmp_path / "token"
    file.write_text(text)
    file.chmod(mode)
    before = len(daemon.log())
    url = ("--url", f"infd://boss@{daemon.host}:{daemon.port}")
    told = infd("model", "list", *url, "--token-file", file).complaint
    assert f"{file}: the token file {said}" in told
    assert "the token file is empty" in infd("model", "list", *url, "--token-file", os.devnull).err
    assert infd("model", "list", *url, INFD_TOKEN=daemon.admin).status == 0
    daemon.wait_log("inf_access_request", since=before)
    assert "login refused" not in [line["event"] for line in daemon.log()[before:]]


def test_of_a_token_file_the_first_line_counts(infd: Infd, daemon: Daemon, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(f"{daemon.admin}\nof boss, at the office\n")
    file.chmod(0o600)
    url = ("--url", f"infd://boss@{daemon.host}:{daemon.port}")
    assert infd("model", "list", *url, "--token-file", file).status == 0


def test_ctrl_c_at_the_question_for_a_token_ends_the_line(daemon: Daemon) -> None:
    url = f"infd://{daemon.host}:{daemon.port}"
    environ = {name: value for name, value in os.environ.items() if "INFD" not in name}
    child = pexpect.spawn(
        sys.executable, ["-m", "infd", "model", "list", "--url", url], env=environ,
        encoding="utf-8", timeout=daemons.PATIENCE,
    )  # fmt: skip
    try:
        child.expect_exact("access token of admin: ")
        child.sendcontrol("c")
        child.expect(pexpect.EOF)
        assert child.before.endswith("\n")
        child.close()
        assert child.exitstatus == 130
    finally:
        child.close(force=True)
