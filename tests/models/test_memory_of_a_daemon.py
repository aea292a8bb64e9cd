"""Memory that comes back, measured where it counts: in a daemon's process."""

from __future__ import annotations

import os
from pathlib import Path

from support import daemon as daemons
from support.daemon import Daemon
from support.gguf_factory import bpe, write_llama
from support.raw_client import RawClient


def resident(daemon: Daemon) -> int:
    """Bytes of memory that the daemon holds now."""
    pages = int(Path(f"/proc/{daemon.pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def test_unloading_gives_the_memory_back(tmp_path: Path) -> None:
    path = write_llama(
        tmp_path / "large.gguf", bpe(), n_embd=512, n_ff=2048, n_layer=4, quantization="Q8_0"
    )
    size = path.stat().st_size
    assert size > 15_000_000
    with daemons.run(models={"large": path}, demo=False) as daemon, RawClient(daemon) as client:
        client.login("admin", daemon.admin)

        def load() -> None:
            client.ok("inf_load_model", MODEL="large", CTXSIZE=4096)
            for _ in range(4):
                client.ok("inf_create_context", MODEL="large", CTXSIZE=1024)

        load()  # whatever is allocated once for all is there after this
        client.ok("inf_unload_model", MODEL="large")
        before = resident(daemon)
        load()
        assert resident(daemon) - before > size * 0.5
        client.ok("inf_unload_model", MODEL="large")
        assert resident(daemon) - before < size * 0.25
