"""Connections cut at random moments of a streamed reply: put together by OFFSET it is whole."""

from __future__ import annotations

import random

from support.daemon import Daemon
from support.proxy import CuttingProxy
from support.raw_client import RawClient

TOKENS = 400
REPLIES = 40
CUTS = 5


def read_on(proxy: CuttingProxy, stok: str, ctxid: int) -> tuple[str, int]:
    """The reply as a client puts it together that loses its connection again and again."""
    text, lost = b"", 0
    while True:
        client = RawClient(proxy, stok)  # type: ignore[arg-type]
        try:
            for answer in client.stream(ctxid, len(text)):
                assert answer.code == 3000, answer
                assert answer.keys["OFFSET"] == len(text)
                text += (answer.data or "").encode()
                if answer.keys.get("IS_SPECIAL"):
                    return text.decode(), lost
        except (ConnectionError, TimeoutError):
            lost += 1
        finally:
            client.close()


def test_two_hundred_cuts(client: RawClient, shared_daemon: Daemon) -> None:
    ctxid = client.context("endless", 30_000)
    msgid = client.say(ctxid, "go")
    chance = random.Random(4633)
    cut = 0
    with CuttingProxy(shared_daemon) as proxy:
        for _ in range(REPLIES):
            client.execute(ctxid, msgid, MAX_TOKENS=TOKENS)
            proxy.cuts += [chance.randrange(1, 250) for _ in range(CUTS)]
            assert client.stok
            text, lost = read_on(proxy, client.stok, ctxid)
            assert lost == CUTS
            cut += lost
            assert client.ok("exec_get_messages", CTXID=ctxid).keys["TEXT"][-1] == text
            client.ok("inf_clear_context_history", CTXID=ctxid)
            msgid = client.say(ctxid, "go")
    assert cut == 200
