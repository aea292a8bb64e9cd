"""A change that was answered is there after `kill -9` the next instant."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

from infd.accounts.hashing import hash_token
from infd.accounts.store import Account, Store
from infd.accounts.user import User

_KILLED = """
import asyncio, pathlib, sys
from infd.accounts.service import Accounts
async def main():
    accounts = Accounts.open(pathlib.Path(sys.argv[1]))
    await accounts.update("ada", system_prompt="answered")
    await accounts.delete("boss")
    print("answered", flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""


def test_an_answered_change_survives_a_kill(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    store = Store.open(folder, create=True)
    store.save(Account(User("boss", is_super=True, revision=1), hash_token("boss-token")))
    store.save(Account(User("ada", ctxlength=64, revision=2), hash_token("ada-token")))
    store.close()
    with subprocess.Popen(
        [sys.executable, "-c", _KILLED, str(folder)], stdout=subprocess.PIPE, text=True
    ) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "answered\n"
        child.send_signal(signal.SIGKILL)
    store = Store.open(folder)
    (account,) = store.load().values()
    store.close()
    assert (account.user.username, account.user.system_prompt) == ("ada", "answered")
