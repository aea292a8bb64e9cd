"""A machine that gives no more threads: contexts are refused, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

from support import daemon as daemons
from support.daemon import BUDGET
from support.raw_client import RawClient

PROGRAM = """
import os, sys, threading
start = threading.Thread.start
def refusing(thread):
    if thread.name.startswith("infd ") and os.path.exists(os.environ["NO_THREADS"]):
        raise RuntimeError("can't start new thread")
    start(thread)
threading.Thread.start = refusing
from infd.cli import main
sys.exit(main())
"""


def test_a_context_without_a_thread_is_2007(tmp_path: Path) -> None:
    switch = tmp_path / "no-threads"
    with (
        daemons.run(program=("-c", PROGRAM), env={"NO_THREADS": str(switch)}) as daemon,
        RawClient(daemon).login("admin", daemon.admin) as client,
    ):
        switch.touch()
        answer = client.refused(2007, "inf_create_context", MODEL="demo", CTXSIZE=BUDGET)
        assert "thread" in answer.keys["DETAIL"]
        switch.unlink()
        assert client.ok("inf_get_context_ids").keys["CTXID"] == []
        ctxid = client.context(size=BUDGET)
        assert client.ask(ctxid, "Hello!")[0]
