"""More connections than the process may have open files."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from support import daemon as daemons
from support.raw_client import RawClient, Wire

PROGRAM = """
import resource, sys
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
from infd.cli import main
sys.exit(main())
"""


@pytest.mark.parametrize("soft", [40, 160])
def test_connections_leave_descriptors_for_the_work(soft: int) -> None:
    """The soft limit is raised; what is too much is told so, and everything else goes on."""
    program = PROGRAM.format(soft=soft, hard=160)
    with ExitStack() as stack:
        daemon = stack.enter_context(daemons.run(program=("-c", program)))
        client = stack.enter_context(RawClient(daemon).login("admin", daemon.admin))
        answers = []
        for _ in range(110):
            wire = stack.enter_context(Wire(daemon))
            wire.request(1, "inf_hello")
            answer = wire.read()
            assert answer is not None
            answers.append(answer[:2])
        assert answers == [(1, 2000)] * 95 + [(0, 2001)] * 15
        ctxid = client.context()
        assert client.ask(ctxid, "Hello!")[0]
        client.ok("inf_load_model", MODEL="twin", CTXSIZE=512)
