"""Processor time is divided between users first: a user with eight contexts gets no more of it."""

from __future__ import annotations

from support import daemon as daemons
from support.daemon import until
from support.endless import TABLE, endless
from support.people import People
from support.raw_client import RawClient

SIZE = 30_000
MEASURED_MS = 1000


def processor_ms(root: RawClient, *names: str) -> list[int]:
    """What these users were charged so far."""
    users = root.ok("inf_get_server_stats").keys["USERS"]
    told = {user["USERNAME"]: user["PROCESSOR_MS"] for user in users}
    return [told[name] for name in names]


def test_eight_contexts_do_not_outweigh_one() -> None:
    config = {"models": TABLE, "cores": 1, "run_ahead": SIZE}
    with (
        daemons.run(models={"endless": endless()}, config=config) as daemon,
        People(daemon) as some,
    ):
        given = {"limits": 1, "models": ("endless",), "CTXLENGTH": SIZE}
        light, heavy = some.user(**given), some.user(**given)
        names = (light.username, heavy.username)
        with light.enter() as one, heavy.enter() as many:
            contexts = [(one, one.context("endless", SIZE))]
            contexts += [(many, many.context("endless", SIZE)) for _ in range(8)]
            for client, ctxid in contexts:
                client.execute(ctxid, client.say(ctxid, "go"))
            for client, ctxid in contexts:
                assert client.ok("exec_next", CTXID=ctxid).data
            before = processor_ms(some.root, *names)
            until(lambda: sum(processor_ms(some.root, *names)) - sum(before) >= MEASURED_MS)
            after = processor_ms(some.root, *names)
            for client, ctxid in contexts:
                assert client.ok("inf_get_context_status", CTXID=ctxid).code == 2009
            # Nine runs and one core: somebody waits, and is told for how long.
            waiting = [
                client.ok("inf_get_context_status", CTXID=ctxid).keys for client, ctxid in contexts
            ]
            assert any(keys["QUEUE_POSITION"] for keys in waiting)
            assert any(keys["ESTIMATE_MS"] for keys in waiting)
            for client, ctxid in contexts:
                client.ok("inf_destroy_context", CTXID=ctxid)
    parts = [b - a for a, b in zip(before, after, strict=True)]
    # Jain's index: 1 for equal parts, 1/2 when one has it all.
    assert sum(parts) ** 2 / (2 * sum(part * part for part in parts)) >= 0.98, parts
