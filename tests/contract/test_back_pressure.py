"""A client that asks and does not read: what the daemon holds for it, and that nothing is lost."""

from __future__ import annotations

import socket
from pathlib import Path

from support.daemon import PATIENCE, Daemon
from support.raw_client import RawClient

STORED = "x" * 120_000
MIB = 1 << 20


def narrow(daemon: Daemon, stok: str | None) -> RawClient:
    """A connection whose receive buffer is small, so that what is unsent stays in the daemon."""
    client = RawClient(daemon, stok)
    client.socket.close()
    client.socket = socket.socket()
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.socket.settimeout(PATIENCE)
    client.socket.connect(client.address)
    return client


def peak(daemon: Daemon) -> int:
    """The most memory that the daemon has held, in bytes."""
    for line in Path(f"/proc/{daemon.pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmHWM")


def answered(client: RawClient) -> int:
    """How many requests the daemon has answered, before this one."""
    requests: int = client.ok("inf_get_server_stats").keys["REQUESTS"]
    return requests


def test_answers_that_nobody_reads_do_not_pile_up(fresh_daemon: Daemon) -> None:
    """100 KiB asked for a thousand times: at most some MiB wait, and all come when read."""
    with RawClient(fresh_daemon).login("admin", fresh_daemon.admin) as client:
        ctxid = client.context(size=2048)
        client.say(ctxid, STORED)
        before = peak(fresh_daemon)
        with narrow(fresh_daemon, client.stok) as greedy:
            seqs = [greedy.send("exec_get_messages", CTXID=ctxid) for _ in range(1000)]
            client.ok("inf_hello")
            assert all(greedy.read(seq).keys["TEXT"] == [STORED] for seq in seqs)
            # A frame that was begun before the pause is no late one afterwards.
            assert greedy.ok("inf_get_context_ids").keys["CTXID"] == [ctxid]
        assert peak(fresh_daemon) - before < 32 * MIB


def test_a_stalled_stream_is_given_to_its_end(fresh_daemon: Daemon) -> None:
    """Its connection is full when another one clears, executes anew or destroys."""
    with RawClient(fresh_daemon).login("admin", fresh_daemon.admin) as client:
        full = client.context(size=2048)
        client.say(full, STORED)
        for what in ("inf_clear_context_history", "inf_destroy_context", "exec_execute_input"):
            ctxid = client.context()
            text = client.ask(ctxid, "Hello!")[0]
            asked = answered(client)
            with narrow(fresh_daemon, client.stok) as slow:
                # 3.2 MiB: more than the kernel takes and 256 KiB, less than 4 MiB.
                for _ in range(28):
                    slow.send("exec_get_messages", CTXID=full)
                stream = slow.send("exec_next", CTXID=ctxid, STREAM=1, OFFSET=0)
                slow.send("inf_hello")
                # It is handled when what came after it is answered; each look is a request too.
                looks = 1
                while answered(client) < asked + 28 + 1 + looks:
                    looks += 1
                keys = {"MSGID": [1]} if what == "exec_execute_input" else {}
                client.ok(what, CTXID=ctxid, **keys)
                answer = slow.read(stream)
                assert (answer.code, answer.data) == (3000, text)
                assert answer.keys["IS_SPECIAL"] is True
