"""What contexts took is the system's again when their end is answered."""

from __future__ import annotations

from pathlib import Path

from support import daemon as daemons
from support.daemon import Daemon
from support.endless import TABLE, endless
from support.raw_client import RawClient

MIB = 1 << 20


def resident(daemon: Daemon) -> int:
    """Bytes of memory that the daemon holds."""
    pages = Path(f"/proc/{daemon.pid}/statm").read_text().split()[1]
    return int(pages) * 4096


def test_destroyed_contexts_hold_no_memory_and_no_thread() -> None:
    """Fifty that have run stand at one moment; each would leave 1 to 2 MiB with the allocator."""
    models = {"endless": endless()}
    with (
        daemons.run(models=models, config={"models": TABLE}) as daemon,
        RawClient(daemon).login("admin", daemon.admin) as client,
    ):
        once = client.context("endless", 512)
        client.ask(once, "go", MAX_TOKENS=5)
        client.ok("inf_destroy_context", CTXID=once)
        before = resident(daemon)
        threads = len(list(Path(f"/proc/{daemon.pid}/task").iterdir()))
        for _ in range(2):
            ctxids = [client.context("endless", 512) for _ in range(50)]
            for ctxid in ctxids:
                client.execute(ctxid, client.say(ctxid, "go"), MAX_TOKENS=20)
            for ctxid in ctxids:
                client.reply(ctxid)
            for ctxid in ctxids:
                client.ok("inf_destroy_context", CTXID=ctxid)
        assert resident(daemon) - before < 32 * MIB
        # The loop's own pool may have grown meanwhile; the contexts' threads are gone.
        assert len(list(Path(f"/proc/{daemon.pid}/task").iterdir())) < threads + 10
