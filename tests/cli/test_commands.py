"""The commands on a stopped daemon's folder, and what they say when something is wrong."""

from __future__ import annotations

import configparser
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import daemon as daemons
from support.gguf_factory import make

import infd as package
from infd.accounts.user import Flag
from infd.demo import MODEL_PATH

Infd = Callable[..., Any]


@pytest.fixture
def state(tmp_path: Path) -> Path:
    template, _ = daemons.initialised()
    copied = tmp_path / "state"
    shutil.copytree(template, copied)
    return copied


def test_version(infd: Infd) -> None:
    text = infd("version")
    assert text.out.startswith(f"infd {package.__version__} ")
    about = json.loads(infd("version", "--json").out)
    assert about["infd"] == package.__version__
    assert about["llama-cpp-python"]
    assert infd("--version").out == f"infd {package.__version__}\n"
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    assert setup["metadata"]["version"] == package.__version__


def test_init_makes_the_folder_once(infd: Infd, tmp_path: Path) -> None:
    state = tmp_path / "new" / "state"
    made = infd("init", "--state", state, "--admin", "root@home", "--json")
    assert made.status == 0
    assert set(json.loads(made.out)) == {"username", "acctok"}
    assert stat.S_IMODE(state.stat().st_mode) == 0o700
    assert "session_idle" in (state / "infd.toml").read_text()
    users = json.loads(infd("user", "list", "--json", "--state", state).out)
    assert [(user["username"], user["issuper"]) for user in users] == [("root@home", 1)]
    assert users[0]["acclimit"] == 2**32 - 1
    (state / "infd.toml").write_text("drain = 1\n")
    assert "infd user token NAME" in infd("init", "--state", state).complaint
    assert (state / "infd.toml").read_text() == "drain = 1\n"


def test_init_for_people_shows_the_token_on_a_line_of_its_own(infd: Infd, tmp_path: Path) -> None:
    lines = infd("init", "--state", tmp_path / "s").out.splitlines()
    assert sum(len(line) == 43 and " " not in line for line in lines) == 1


@pytest.mark.parametrize("name", ["", "a b", "x" * 65, "ü"])
def test_init_refuses_names(infd: Infd, tmp_path: Path, name: str) -> None:
    assert "USERNAME" in infd("init", "--state", tmp_path / "s", "--admin", name).complaint


def test_users_of_a_stopped_daemon(infd: Infd, state: Path) -> None:
    def user(*arguments: str) -> Any:
        return infd("user", *arguments, "--state", state)

    def shown() -> Any:
        return json.loads(user("show", "ada", "--json").out)

    make(state / "models", "bpe")
    made = user(
        "create", "ada", "--model", "bpe", "--ctxlength", "999", "--flags", "MODEL_LOAD_UNLOAD",
        "--system-prompt", "Be brief.", "--sampling", "temp=0.5", "REPEAT_LF=0", "--static",
    )  # fmt: skip
    assert len(made.out.strip()) == 43
    assert shown().items() >= {
        "ctxlength": 999, "model": ["bpe"], "temp": 0.5, "repeat_lf": False, "isstatic": 1,
        "authflags": ["MODEL_LOAD_UNLOAD"], "system_prompt": "Be brief.", "batch_set": 512,
    }.items()  # fmt: skip
    assert user("revoke", "ada", "bpe").out == "ada may use: no model\n"
    assert user("grant", "ada", "bpe").out == "ada may use: bpe\n"
    changed = user(
        "modify", "ada", "--acclimit", "1", "--batch-set", "7", "--proc-threads", "3",
        "--max-proc-threads", "4", "--super", "--flags", "", "--sampling", "--system-prompt", "",
    )  # fmt: skip
    assert (changed.status, changed.out) == (0, "")
    after = shown()
    assert after.items() >= {
        "acclimit": 1, "batch_set": 7, "proc_threads": 3, "max_proc_threads": 4, "issuper": 1,
        "authflags": [], "system_prompt": "",
    }.items()  # fmt: skip
    assert "temp" not in after
    assert user("modify", "admin", "--no-super").status == 0
    assert user("delete", "admin").status == 0
    assert "last superuser" in user("delete", "ada").complaint
    assert user("token", "ada").out.strip() != made.out.strip()
    assert user("list").out == "ada  superuser\n"


def test_refusals_are_those_of_the_wire(infd: Infd, state: Path) -> None:
    def complaint(*arguments: str) -> str:
        return str(infd("user", *arguments, "--state", state).complaint)

    assert "INF_USER_ALREADY_EXISTS" in complaint("create", "admin")
    assert "INF_USER_NOT_FOUND" in complaint("show", "nobody")
    unknown = complaint("create", "ada", "--model", "none")
    assert "INF_MODEL_NAME_MISMATCH" in unknown
    assert "infd serve --check" in unknown  # `infd model` needs a running daemon
    assert "INF_USER_NOT_FOUND" in complaint("show", "ada")  # nothing half made
    no_flag = complaint("create", "ada", "--flags", "FLY")
    assert "INF_INVALID_PARAMS" in no_flag
    assert all(flag in no_flag for flag in Flag)
    assert "INF_INVALID_PARAMS" in complaint("create", "ada", "--batch-set", "-1")
    make(state / "models", "bpe")
    make(state / "models", "spm")
    two = ("--model", "bpe", "--model", "spm")
    assert "ACCLIMIT" in complaint("create", "ada", "--acclimit", "1", *two)
    assert infd("user", "create", "ada", *two, "--state", state).status == 0
    assert "INF_INVALID_PARAMS" in complaint("modify", "ada", "--acclimit", "1")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "COMMAND; see: infd --help"),
        (("fly",), "fly"),
        (("serve", "--prot", "5"), "infd serve: unknown option --prot; see: infd serve --help\n"),
        (("--prot", "serve"), "infd: unknown option --prot; see: infd --help\n"),
        (("model", "list", "all"), "infd model list: unknown argument all; see: infd model list "),
        (("model", "load"), "NAME, CTXSIZE; see: infd model load --help"),
        (("user", "modify", "ada"), "nothing to change"),
        (("user", "create", "ada", "--sampling", "HEAT=5"), "HEAT"),
        (("user", "create", "ada", "--sampling", "TEMP=hot"), "hot"),
        (("model", "load", "m", "many"), "many"),
        (("serve", "--ready-fd", "99"), "--ready-fd 99: no such descriptor is open"),
        (("serve", "--ready-fd", "-1"), "--ready-fd -1: no such descriptor is open"),
    ],
)
def test_wrong_usage_is_status_2(
    infd: Infd, state: Path, arguments: tuple[str, ...], said: str
) -> None:
    more = ("--state", state) if arguments[:2] == ("user", "modify") else ()
    ran = infd(*arguments, *more)
    assert (ran.status, ran.out) == (2, "")
    assert said in ran.err
    assert ran.err.startswith("infd")
    assert ran.err.count("\n") == 1


def test_what_is_not_there_is_one_line(infd: Infd, tmp_path: Path, state: Path) -> None:
    none = tmp_path / "none"
    assert "infd init" in infd("user", "list", "--state", none).complaint
    assert "infd init" in infd("serve", "--state", none).complaint
    assert "No such file" in infd("serve", "--config", none).complaint
    assert (
        "no daemon answers"
        in infd("user", "list", "--url", "infd://127.0.0.1:1", INFD_TOKEN="x").complaint
    )
    assert "infd://" in infd("model", "list", "--url", "http://x").complaint
    (state / "infd.toml").write_text("listn = '127.0.0.1:1'\n")
    assert "'listen'" in infd("serve", "--state", state).complaint
    assert "plaintext" in infd("serve", "--config", "/dev/null", "--listen", "0.0.0.0:1").complaint


def test_a_change_that_is_refused_half_way_says_what_was_done(infd: Infd, state: Path) -> None:
    said = infd("user", "modify", "admin", "--batch-set", "7", "--flags", "FLY", "--state", state)
    assert "FLY" in said.complaint
    assert "Before that was done: inf_modify_user_batch_size." in said.complaint


def test_the_usual_folder_is_named_when_it_was_not_asked_for(
    infd: Infd, state: Path, tmp_path: Path
) -> None:
    usual = tmp_path / "home" / "infd"
    shutil.copytree(state, usual)
    shutil.rmtree(usual / "models", ignore_errors=True)
    ran = infd("user", "create", "ada")
    assert len(ran.out.strip()) == 43
    assert f"in {usual}" in ran.err
    assert infd("user", "list", "--state", usual).err == ""


def test_a_damaged_or_foreign_store_is_one_line(infd: Infd, state: Path) -> None:
    (state / "users.db").write_bytes(b"no database at all" * 500)
    assert "damaged" in infd("serve", "--state", state).complaint
    assert "damaged" in infd("user", "list", "--state", state).complaint


def test_a_taken_port_is_one_line(infd: Infd, state: Path) -> None:
    import socket

    make(state / "models", "bpe")
    (state / "infd.toml").write_text("[models.bpe]\nload = true\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = infd("serve", "--state", state, "--listen", address, "--log-format", "json")
        checked = infd("serve", "--check", "--state", state, "--listen", address)
    assert ran.status == 1
    last = ran.err.splitlines()[-1]
    assert last.startswith("infd: ")
    assert address in last
    # Not after a long loading of models.
    assert "model loaded" not in ran.err
    assert "stopped" not in ran.err
    # systemd's socket for this daemon would look the same.
    assert checked.status == 0
    assert f"warning: listen: cannot open {address}" in checked.out
    assert "infd.socket holds it for this daemon" in checked.out


def test_check_tries_the_address(infd: Infd, state: Path) -> None:
    """192.0.2.1 is for documentation: no machine has it."""
    where = ("--state", state, "--listen", "192.0.2.1:4633", "--plaintext")
    assert "192.0.2.1:4633" in infd("serve", "--check", *where).complaint
    free = infd("serve", "--check", "--state", state, "--listen", "127.0.0.1:0")
    assert "warning" not in free.out


def test_check_says_what_a_daemon_would_find(infd: Infd, state: Path) -> None:
    make(state / "models", "bpe")
    good = infd("serve", "--check", "--state", state)
    assert (good.status, good.out.splitlines()[-1]) == (0, "ok")
    assert "bpe: llama" in good.out
    make(state / "models", "not-gguf")
    bad = infd("serve", "--check", "--state", state)
    assert "1 of the models" in bad.complaint
    assert "not-gguf: cannot be used: the file is no GGUF file" in bad.out


def test_check_notices_a_file_that_was_cut_short(infd: Infd, state: Path) -> None:
    (state / "models").mkdir(exist_ok=True)
    (state / "models" / "part.gguf").write_bytes(MODEL_PATH.read_bytes()[:100_000])
    ran = infd("serve", "--check", "--state", state, "--listen", "127.0.0.1:0")
    assert ran.status == 1
    assert "part: cannot be used: it ends before its weights do" in ran.out


def test_check_notices_a_part_of_a_split_file_that_is_missing(infd: Infd, state: Path) -> None:
    (state / "models").mkdir(exist_ok=True)
    shutil.copy(MODEL_PATH, state / "models" / "m-00001-of-00002.gguf")
    ran = infd("serve", "--check", "--state", state, "--listen", "127.0.0.1:0")
    assert "1 of the models" in ran.complaint
    assert "m-00002-of-00002.gguf: No such file" in ran.out


def test_check_warns_of_settings_without_effect(infd: Infd, state: Path) -> None:
    make(state / "models", "bpe")
    make(state / "models", "spm")
    (state / "infd.toml").write_text(
        '[models.bpe]\nbatched_fair = "strict"\nn_gpu_layers = -1\n'
        '[models.spm]\nplacement = "batched"\nbatched_fair = "strict"\n'
    )
    ran = infd("serve", "--check", "--state", state, "--listen", "127.0.0.1:0")
    assert (ran.status, ran.out.splitlines()[-1]) == (0, "ok")
    warned = [line for line in ran.out.splitlines() if line.startswith("warning: ")]
    assert "models.bpe.batched_fair" in warned[0]
    assert '"dedicated"' in warned[0]
    from infd.engine.library import supports_gpu

    assert ["n_gpu_layers = -1" in line for line in warned[1:]] == [True] * (not supports_gpu())


def test_check_imports_the_engine_only_where_it_must(infd: Infd, state: Path) -> None:
    """Without llama.cpp it still tells what is wrong with a configuration."""
    make(state / "models", "bpe")
    elsewhere = state / "broken"
    elsewhere.mkdir()
    (elsewhere / "llama_cpp.py").write_text("raise ImportError('imported', name='llama_cpp')\n")
    path = {"PYTHONPATH": os.pathsep.join([str(elsewhere), os.environ.get("PYTHONPATH", "")])}
    (state / "infd.toml").write_text('[models.bpe]\nbatched_fair = "strict"\n')
    ran = infd("serve", "--check", "--state", state, **path)
    assert (ran.status, ran.out.splitlines()[-1]) == (0, "ok")
    (state / "infd.toml").write_text("[models.bpe]\nn_gpu_layers = 1\n")
    assert infd("serve", "--check", "--state", state, **path).status == 1


def test_help_explains_every_key(infd: Infd) -> None:
    text = infd("serve", "--help").out
    for key in ("session_idle", "memory_limit", "models.NAME.ctxsize"):
        assert key in text


def test_help_of_a_users_settings(infd: Infd) -> None:
    create, modify = (
        " ".join(infd("user", action, "--help").out.split()) for action in ("create", "modify")
    )
    for text in (create, modify):
        for flag in Flag:
            assert flag in text
        assert "in tokens; 0: no contexts at all" in text
        assert "of all the user's contexts together; 0: 1" in text
        assert "of each of the user's contexts; 0: 1" in text
    for default in ("16", "8192", "512", "the machine's cores"):
        assert f"(without it: {default})" in create
    assert "without it" not in modify
    assert "in place of what it had; no KEY=VALUE: the set is removed" in modify


def test_nobody_who_reads_is_no_failure() -> None:
    import subprocess
    import sys

    with subprocess.Popen(
        [sys.executable, "-m", "infd", "serve", "--help"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        assert process.stderr.read() == b""
