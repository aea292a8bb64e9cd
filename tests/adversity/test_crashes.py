"""kill -9 after answered changes, a full disk, a missing folder, two users at war."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from support import daemon as daemons
from support.daemon import Daemon, DaemonError, initialised
from support.people import PLAIN, TOKEN, People
from support.raw_client import RawClient


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder that outlives its daemons."""
    folder = tmp_path / "state"
    shutil.copytree(initialised()[0], folder)
    return folder


def answered_changes(client: RawClient, chance: random.Random, until: int) -> dict[str, Any]:
    """Make changes without waiting in between; what was answered when `until` answers were read,
    by key. The rest is lost with the daemon, or not: nobody may rely on it."""
    op = "inf_modify_user_maximum_context_length"
    sizes = [chance.randrange(1, 2**32) for _ in range(30)]
    seqs = [client.send(op, USERNAME="ada", CTXLENGTH=size) for size in sizes]
    for seq in seqs[:until]:
        assert client.read(seq).code == 2000
    return {"answered": sizes[until - 1], "after": sizes[until:]}


def entered(daemon: Daemon) -> RawClient:
    return RawClient(daemon).login("admin", daemon.admin)


def test_an_answered_change_survives_the_kill(state: Path) -> None:
    """Ten times: the daemon is killed the instant the last of some answers is read."""
    chance = random.Random(4633)
    with daemons.run(state=state, demo=False) as daemon, entered(daemon) as client:
        keys = PLAIN | {"AUTHFLAGS": ["USER_MODIFICATION"], "TEMP": 0.5}
        client.ok("inf_create_new_user", "Be brief.", USERNAME="ada", ACCTOK=TOKEN, **keys)
        daemon.kill()
    told: dict[str, Any] = {"answered": 1, "after": []}
    for _ in range(10):
        with daemons.run(state=state, demo=False) as daemon, entered(daemon) as client:
            shown = client.ok("inf_get_user", USERNAME="ada")
            assert shown.keys["CTXLENGTH"] in (told["answered"], *told["after"])
            assert shown.keys["AUTHFLAGS"] == ["USER_MODIFICATION"]
            assert shown.keys["TEMP"] == 0.5
            assert shown.data == "Be brief."
            told = answered_changes(client, chance, chance.randrange(1, 30))
            daemon.kill()


def test_a_deletion_and_a_token_survive_the_kill(state: Path) -> None:
    with daemons.run(state=state, demo=False) as daemon, People(daemon) as people:
        gone, kept = people.user(), people.user()
        people.root.ok("inf_delete_user", USERNAME=gone.username, ACCTOK=daemon.admin)
        made = people.root.ok(
            "inf_modify_user_access_token", USERNAME=kept.username, ACCTOK=daemon.admin
        )
        daemon.kill()
    with daemons.run(state=state, demo=False) as daemon, RawClient(daemon) as client:
        client.refused(2008, "inf_access_request", USERNAME=gone.username, ACCTOK=TOKEN)
        client.refused(2008, "inf_access_request", USERNAME=kept.username, ACCTOK=TOKEN)
        client.login(kept.username, made.keys["ACCTOK"])


FULL = """
import os, resource, runpy, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = int(os.environ["INFD_DISK"])
resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
sys.argv[0] = "infd"
runpy.run_module("infd", run_name="__main__")
"""
"""Files may not grow any further: every write beyond is refused, as on a full disk."""


def test_a_full_disk_changes_nothing_and_says_so(state: Path) -> None:
    largest = max(path.stat().st_size for path in state.iterdir() if path.is_file())
    with (
        daemons.run(
            state=state, program=("-c", FULL), env={"INFD_DISK": str(largest)}, errors=True
        ) as daemon,
        RawClient(daemon).login("admin", daemon.admin) as client,
    ):
        codes: set[int] = set()
        names = []
        for number in range(200):
            name = f"user-{number}"
            answer = client.call(
                "inf_create_new_user", "x" * 4000, USERNAME=name, ACCTOK=TOKEN, **PLAIN
            )
            codes.add(answer.code)
            if answer.code == 2000:
                names.append(name)
            else:
                assert answer.code == 1099
                assert "Nothing was changed" in answer.keys["DETAIL"]
                assert "\n" not in answer.keys["DETAIL"]
                break
        assert 1099 in codes
        listed = set(client.ok("inf_get_users").keys["USERNAME"])
        assert listed == {"admin", *names}
        ctxid = client.context()
        assert "Ada" in client.ask(ctxid, "My name is Ada.")[0]
    with daemons.run(state=state, demo=False) as daemon, entered(daemon) as client:
        assert set(client.ok("inf_get_users").keys["USERNAME"]) == listed
        client.ok("inf_create_new_user", USERNAME="later", ACCTOK=TOKEN, **PLAIN)


def refused_start(*arguments: str) -> str:
    """`infd serve` that must not start; its one line."""
    done = subprocess.run(
        [sys.executable, "-m", "infd", "serve", "--listen", "127.0.0.1:0", *arguments],
        capture_output=True, text=True, timeout=daemons.PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode not in (0, -6, -11)
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


def test_what_keeps_it_from_starting_is_one_line(tmp_path: Path, state: Path) -> None:
    assert str(tmp_path / "nowhere") in refused_start("--state", str(tmp_path / "nowhere"))
    config = tmp_path / "bad.toml"
    config.write_text("max_framee = 5\n")
    assert "max_frame" in refused_start("--state", str(state), "--config", str(config))
    assert "plaintext" in refused_start("--state", str(state), "--listen", "0.0.0.0:0")
    with daemons.run(state=state, demo=False):
        assert str(state) in refused_start("--state", str(state))
    with pytest.raises(DaemonError):
        daemons.command("serve", "--state", str(state), "--no-such-flag")


def test_a_missing_models_folder_and_a_missing_file_do_not_keep_it_from_serving(
    tmp_path: Path,
) -> None:
    tables = {"gone": {"path": str(tmp_path / "gone.gguf"), "load": True}}
    with daemons.run(config={"models": tables}, demo=False, errors=True) as daemon:
        shutil.rmtree(daemon.models)
        with RawClient(daemon).login("admin", daemon.admin) as client:
            client.refused(2026, "inf_load_model", MODEL="gone", CTXSIZE=100)
            client.ok("inf_load_model", MODEL="demo", CTXSIZE=1000)
            assert client.ask(client.context(), "Hello!")[0]


def war(daemon: Daemon, me: str, other: str, rounds: int) -> None:
    """One superuser that changes, ends and spies on the other all the time."""
    chance = random.Random(me)
    with RawClient(daemon) as client:
        for _ in range(rounds):
            if client.stok is None:
                login = client.call("inf_access_request", USERNAME=me, ACCTOK=TOKEN)
                if login.code != 2000:
                    assert login.code in (1022, 2001, 2008)
                    continue
                client.stok = login.keys["STOK"]
            op, keys = chance.choice(
                [
                    ("inf_end_sessions", {"USERNAME": other}),
                    (
                        "inf_modify_user_maximum_context_length",
                        {"USERNAME": other, "CTXLENGTH": 64},
                    ),
                    ("inf_modify_user_system_prompt", {"USERNAME": other}),
                    ("inf_modify_user_unmake_superuser", {"USERNAME": other, "ACCTOK": TOKEN}),
                    ("inf_modify_user_make_superuser", {"USERNAME": other, "ACCTOK": TOKEN}),
                    ("inf_create_context", {"MODEL": "demo", "CTXSIZE": 64}),
                    ("inf_unload_model", {"MODEL": "demo"}),
                    ("inf_load_model", {"MODEL": "demo", "CTXSIZE": 2000}),
                    ("inf_get_user", {"USERNAME": other}),
                ]
            )
            answer = client.call(op, **keys)
            assert answer.code != 1099, answer.keys
            if answer.code == 2002:
                client.stok = None


def test_two_superusers_at_war(fresh_daemon: Daemon) -> None:
    """They unmake, end and unload against each other; the daemon keeps a superuser and serves."""
    with People(fresh_daemon) as people:
        for name in ("red", "blue"):
            people.root.ok("inf_create_new_user", USERNAME=name, ACCTOK=TOKEN, **PLAIN, ISSUPER=1)
        failures: list[BaseException] = []

        def fight(me: str, other: str) -> None:
            try:
                war(fresh_daemon, me, other, 80)
            except BaseException as error:
                failures.append(error)

        sides = [
            threading.Thread(target=fight, args=pair)
            for pair in (("red", "blue"), ("blue", "red"), ("red", "blue"), ("blue", "red"))
        ]
        for side in sides:
            side.start()
        for side in sides:
            side.join()
        assert failures == []
        root = people.root
        users = [
            root.ok("inf_get_user", USERNAME=name).keys
            for name in root.ok("inf_get_users").keys["USERNAME"]
        ]
        assert any(user["ISSUPER"] for user in users)
        root.ok("inf_load_model", MODEL="demo", CTXSIZE=4000)
        assert root.ask(root.context(), "Hello!")[0]
        assert os.path.exists(f"/proc/{fresh_daemon.pid}")
