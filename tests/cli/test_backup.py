"""Backup and restore as the README says it: typed as it stands there, on a daemon's own folder."""

from __future__ import annotations

import os
import re
import shutil
import sqlite3
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import daemon as daemons
from support.daemon import PATIENCE

from infd.wire import Address, Wire

Infd = Callable[..., Any]
README = (Path(__file__).parents[2] / "README.md").read_text()
SECTION = README.partition("\n### Backup\n")[2].partition("\n### ")[0]
(TYPED,) = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
*BACKUP, RESTORE = TYPED.splitlines()


@pytest.mark.parametrize("end", ["stopped", "killed"])
def test_what_was_backed_up_is_there_again(infd: Infd, tmp_path: Path, end: str) -> None:
    state = tmp_path / "infd-state"
    shutil.copytree(daemons.initialised()[0], state)

    def type_in(line: str) -> None:
        subprocess.run(
            ["bash", "-ec", line],
            env={**os.environ, "HOME": str(tmp_path)}, timeout=PATIENCE, check=True,
        )  # fmt: skip

    def prompt() -> str:
        shown: str = infd("user", "show", "admin", "--state", state).out
        return shown.rpartition("system_prompt: ")[2].strip()

    with daemons.run(state=state, demo=False) as daemon:
        with Wire(Address(daemon.host, daemon.port)) as wire:
            wire.login("admin", daemon.admin)
            wire.call("inf_modify_user_system_prompt", "Be brief.", USERNAME="admin")
        # What the README warns of.
        beside = sqlite3.connect(state / "users.db", timeout=0)
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            beside.execute("SELECT * FROM users")
        beside.close()
        if end == "killed":
            daemon.kill()
            assert (state / "users.db-wal").stat().st_size > 0
    # Beside an older backup, of a daemon that was killed.
    older = tmp_path / "infd-backup"
    older.mkdir(mode=0o700)
    (older / "users.db-wal").write_bytes(b"of another day")
    type_in("\n".join(BACKUP))
    assert (older / "users.db-wal").exists() == (end == "killed")
    changed = infd("user", "modify", "admin", "--system-prompt", "Be long.", "--state", state)
    assert (changed.status, prompt()) == (0, "Be long.")
    type_in(RESTORE)
    assert prompt() == "Be brief."
