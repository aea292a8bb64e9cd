"""The same commands beside a running daemon: they go over the wire, with a token."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support import daemon as daemons
from support.daemon import Daemon
from support.gguf_crashing import make_crashing
from support.gguf_factory import make

from infd import wire
from infd.accounts.store import Store, serving
from infd.wire import Address, Wire, WireError

Infd = Callable[..., Any]


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    files = tmp_path_factory.mktemp("files")
    models = {
        "tiny": make(files, "bpe"),
        "broken": make(files, "cut-header"),
        "deadly": make_crashing(files, "crashes-loading"),
    }
    with daemons.run(models=models) as running:
        yield running


@pytest.fixture
def reach(infd: Infd, daemon: Daemon) -> Infd:
    def run(*arguments: str, **environ: str) -> Any:
        url = f"infd://{daemon.host}:{daemon.port}"
        return infd(*arguments, **{"INFD_URL": url, "INFD_TOKEN": daemon.admin, **environ})

    return run


def test_models(reach: Infd) -> None:
    listed = {model["name"]: model for model in json.loads(reach("model", "list", "--json").out)}
    assert set(listed) == {"demo", "twin", "tiny", "broken", "deadly"}
    assert listed["demo"]["loaded"]
    assert not listed["tiny"]["loaded"]
    assert "header" in listed["broken"]["problem"]
    loaded = "tiny  llama  loaded, 0 of 4096 tokens in 0 contexts\n"
    assert reach("model", "load", "tiny", "4096").out == loaded
    assert loaded in reach("model", "list").out
    assert "budget_free: 4096" in reach("model", "info", "tiny").out
    assert json.loads(reach("model", "load", "tiny", "96", "--json").out)["budget_free"] == 96
    assert reach("model", "unload", "tiny").out == "tiny  llama  not loaded\n"
    assert not json.loads(reach("model", "info", "tiny", "--json").out)["loaded"]
    assert "INF_UNABLE_TO_OPEN_MODEL_FILE" in reach("model", "load", "broken", "99").complaint
    assert "INF_MODEL_NAME_MISMATCH" in reach("model", "load", "none", "9").complaint
    small = reach("model", "load", "tiny", "31").complaint
    assert "CTXSIZE must be at least 32" in small
    assert "INF_INVALID_PARAMS" in small


def test_a_file_that_crashes_the_loader_is_refused_by_a_daemon_that_lives(
    reach: Infd, daemon: Daemon
) -> None:
    for _ in range(2):
        refused = reach("model", "load", "deadly", "99").complaint
        assert "SIGABRT" in refused
        assert "INF_UNABLE_TO_OPEN_MODEL_FILE" in refused
    said = daemon.wait_log("a model file ended its probe")
    assert "GGML_ASSERT" in said["said"]
    assert reach("model", "info", "demo").status == 0


def test_users(reach: Infd) -> None:
    token = reach("user", "create", "bob", "--model", "tiny").out.strip()
    assert (
        "INF_AUTHORIZATION_FAILED" in reach("user", "create", "eve", INFD_TOKEN="wrong").complaint
    )
    assert reach("user", "modify", "bob", "--batch-set", "9", "--super").status == 0
    assert json.loads(reach("user", "show", "bob", "--json").out)["batch_set"] == 9
    renewed = reach("user", "token", "bob").out.strip()
    assert renewed != token
    assert reach("user", "delete", "bob").status == 0
    assert "INF_USER_NOT_FOUND" in reach("user", "show", "bob").complaint


def test_a_long_system_prompt_comes_from_a_file(reach: Infd, tmp_path: Path) -> None:
    """Longer than a frame before a session is named, and than an argument may be."""
    text = "Answer in one sentence. " * 10_000
    file = tmp_path / "prompt.txt"
    file.write_text(text + "\n")
    assert reach("user", "create", "gus", "--system-prompt-file", file).status == 0
    assert json.loads(reach("user", "show", "gus", "--json").out)["system_prompt"] == text
    assert reach("user", "modify", "gus", "--system-prompt-file", "-", stdin=text[1:]).status == 0
    assert json.loads(reach("user", "show", "gus", "--json").out)["system_prompt"] == text[1:]
    missing = reach("user", "modify", "gus", "--system-prompt-file", tmp_path / "none")
    assert (missing.status, "none: No such file" in missing.err) == (2, True)
    assert reach("user", "delete", "gus").status == 0


def test_who_is_refused_learns_as_whom_and_with_which_token(
    reach: Infd, infd: Infd, daemon: Daemon, tmp_path: Path
) -> None:
    where = f"{daemon.host}:{daemon.port}"
    said = reach("model", "list", INFD_TOKEN="wrong").complaint
    assert f"as admin at {where} (of INFD_URL), with the access token in INFD_TOKEN." in said
    secret = tmp_path / "token"
    secret.write_text("wrong too\n")
    secret.chmod(0o600)
    named = ("--url", f"infd://eve@{where}", "--token-file", secret)
    said = infd("user", "list", *named).complaint
    assert f"as eve at {where}, with the access token in {secret}." in said
    assert "wrong too" not in said
    # The right token of somebody who may not.
    token = reach("user", "create", "dan").out.strip()
    dan = {"INFD_URL": f"infd://dan@{where}", "INFD_TOKEN": token}
    said = reach("model", "load", "tiny", "9", **dan).complaint
    assert f"That was as dan at {where} (of INFD_URL)." in said
    assert reach("user", "delete", "dan").status == 0


def test_an_unknown_model_names_the_command_that_lists_them(reach: Infd) -> None:
    for command in (
        ("model", "load", "nope", "9"), ("model", "info", "nope"), ("model", "unload", "nope"),
        ("user", "create", "finn", "--model", "nope"), ("user", "grant", "admin", "nope"),
    ):  # fmt: skip
        said = reach(*command).complaint
        assert "nope" in said
        assert said.count("infd model list") == 1
        assert "inf_" not in said


def test_a_held_folder_means_the_wire(infd: Infd, daemon: Daemon, tmp_path: Path) -> None:
    """Without an address of its own a command asks the daemon that holds the folder, wherever
    that serves: what the configuration says may be another one's address."""
    file = tmp_path / "infd.toml"
    file.write_text("listen = '127.0.0.1:1'\n")
    where = ("--config", file, "--state", daemon.state)
    assert "INFD_TOKEN" in infd("user", "list", *where).complaint
    secret = tmp_path / "token"
    secret.write_text(daemon.admin + "\n")
    secret.chmod(0o600)
    assert "admin  superuser" in infd("user", "list", *where, "--token-file", secret).out
    assert "cannot be read" in infd("user", "list", *where, "--token-file", "/none").complaint
    assert "in use" in infd("serve", *where).err
    assert "in use by a running daemon" in infd("serve", "--check", *where).out


def test_the_token_may_lie_in_a_file_that_the_environment_names(
    infd: Infd, daemon: Daemon, tmp_path: Path
) -> None:
    secret = tmp_path / "token"
    secret.write_text(daemon.admin + "\n")
    secret.chmod(0o600)
    url = f"infd://{daemon.host}:{daemon.port}"
    listed = infd("user", "list", INFD_URL=url, INFD_TOKEN_FILE=str(secret))
    assert "admin  superuser" in listed.out
    secret.unlink()
    refused = infd("user", "list", INFD_URL=url, INFD_TOKEN_FILE=str(secret))
    assert str(secret) in refused.complaint


def test_what_says_nothing_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "FIRST_SECONDS", 0.05)
    with (
        socket.create_server(("127.0.0.1", 0)) as silent,
        Wire(Address(*silent.getsockname())) as found,
        pytest.raises(WireError, match="is that an infd daemon"),
    ):
        found.login("ada", "secret")


def test_nobody_is_given_the_token_while_the_folders_daemon_does_not_serve_yet(
    infd: Infd, tmp_path: Path
) -> None:
    state = tmp_path / "state"
    assert infd("init", "--state", state).status == 0
    store = Store.open(state)
    try:
        assert serving(state) == ""
        for _ in range(2):
            said = infd("user", "list", "--state", state, INFD_TOKEN="x").complaint
            assert f"{state} is in use by another infd that does not serve (yet)" in said
            assert infd("doctor", "--state", state).out.count("does not serve (yet)") == 1
        store.announce("[::1]:1")
        assert serving(state) == "[::1]:1"
        said = infd("user", "list", "--state", state, INFD_TOKEN="x").complaint
        assert "no daemon answers on [::1]:1" in said
    finally:
        store.close()
    assert serving(state) is None
    assert infd("user", "list", "--state", state).out == "admin  superuser\n"


def test_a_folder_that_is_named_counts_for_more_than_the_environments_address(
    infd: Infd, tmp_path: Path
) -> None:
    state = tmp_path / "stopped"
    assert infd("init", "--state", state).status == 0
    elsewhere = {"INFD_URL": "infd://ada@127.0.0.1:1", "INFD_TOKEN": "of ada"}
    assert infd("user", "list", "--state", state, **elsewhere).out == "admin  superuser\n"
    assert "127.0.0.1:1" in infd("user", "list", **elsewhere).complaint


def test_a_usual_folder_never_made_means_the_usual_address(
    infd: Infd, daemon: Daemon, tmp_path: Path
) -> None:
    """As in the README: the daemon runs on a folder that the other commands are not told of."""
    usual = tmp_path / "home" / "infd"
    usual.mkdir(parents=True)
    (usual / "infd.toml").write_text(f"listen = '{daemon.host}:{daemon.port}'\n")
    assert "admin  superuser" in infd("user", "list", INFD_TOKEN=daemon.admin).out
    (usual / "infd.toml").write_text("listen = '127.0.0.1:1'\n")
    said = infd("user", "list", INFD_TOKEN=daemon.admin).complaint
    assert "no daemon answers on 127.0.0.1:1" in said
    assert f"{usual} holds no infd state" in said
    assert infd("user", "list", "--state", usual).complaint.endswith(f"infd init --state {usual}\n")


def test_the_log_has_no_token_and_no_text(reach: Infd, daemon: Daemon) -> None:
    secret = "a prompt that nobody else may read"
    token = reach("user", "create", "carl", "--system-prompt", secret).out.strip()
    reach("user", "list", INFD_URL=f"infd://carl@{daemon.host}:{daemon.port}", INFD_TOKEN=token)
    daemon.wait_log(
        lambda line: line.get("user") == "carl" and line["event"] == "inf_destroy_session"
    )
    text = json.dumps(daemon.log())
    for hidden in (secret, token, daemon.admin):
        assert hidden not in text
    assert reach("user", "delete", "carl").status == 0


def test_somebody_else_on_the_port_is_one_line(infd: Infd) -> None:
    import socket
    import threading

    with socket.create_server(("127.0.0.1", 0)) as other:

        def greet() -> None:
            accepted, _ = other.accept()
            with accepted:
                accepted.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
                accepted.recv(65536)

        thread = threading.Thread(target=greet)
        thread.start()
        url = f"infd://127.0.0.1:{other.getsockname()[1]}"
        ran = infd("user", "list", "--url", url, INFD_TOKEN="x")
        thread.join()
    assert "no infd daemon" in ran.complaint


def test_without_a_state_folder_named_the_daemon_that_answers_is_named(
    infd: Infd, daemon: Daemon, tmp_path: Path
) -> None:
    """The usual folder exists and no daemon runs on it; one on another folder has its address."""
    usual = tmp_path / "home" / "infd"
    assert infd("init", "--state", usual).status == 0
    (usual / "infd.toml").write_text(f'listen = "{daemon.host}:{daemon.port}"\n')
    created = infd("user", "create", "zed")
    assert created.status == 0
    assert f"--url infd://{daemon.host}:{daemon.port}" in created.err
