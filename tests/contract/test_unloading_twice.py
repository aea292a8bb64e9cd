"""A load that two callers end while the weights are being read."""

from __future__ import annotations

import os
from pathlib import Path

from support import daemon as daemons
from support.raw_client import RawClient

PROGRAM = """
import os, sys
from infd.models import service
load = service._load_weights
def held(*arguments):
    with open(os.environ["GATE"], "rb") as gate:
        gate.read()
    return load(*arguments)
service._load_weights = held
from infd.cli import main
sys.exit(main())
"""


def test_a_load_that_is_ended_twice_leaves_nothing(tmp_path: Path) -> None:
    """The second end must not take the first one's waiting for the reader away."""
    fifo = tmp_path / "gate"
    os.mkfifo(fifo)
    with (
        daemons.run(program=("-c", PROGRAM), env={"GATE": str(fifo)}, demo=False) as daemon,
        RawClient(daemon).login("admin", daemon.admin) as client,
    ):
        loading = client.send("inf_load_model", MODEL="demo", CTXSIZE=512)
        gate = os.open(fifo, os.O_WRONLY)
        ending = []
        for _ in range(3):
            ending.append(client.send("inf_unload_model", MODEL="demo"))
            # Its answer tells that the one before was begun.
            client.ok("inf_hello")
            assert "PROGRESS" in client.ok("inf_get_model_info", MODEL="demo").keys
        os.close(gate)
        assert [client.read(seq).code for seq in ending] == [2000] * 3
        assert client.read(loading).code == 2026
        assert "PROGRESS" not in client.ok("inf_get_model_info", MODEL="demo").keys
