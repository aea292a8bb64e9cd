"""One user who asks for much: others are served meanwhile, and nothing of it stays."""

from __future__ import annotations

import select
from contextlib import ExitStack, suppress
from pathlib import Path

from support.daemon import PATIENCE, Daemon
from support.people import People
from support.raw_client import RawClient

from infd.contexts.reply import MOST_STREAMS
from infd.volumes import MOST
from infd_protocol import frames
from infd_protocol.connection import Response

LONG = "What is your name? " * 3000
MIB = 1024 * 1024
BREATH = 0.01
"""Seconds between two askings whether something is so."""


def come_so_far(client: RawClient) -> set[int]:
    """The seqs of all answers that have come."""
    while select.select([client.socket], [], [], 0)[0]:
        client.connection.receive(client.socket.recv(65536))
        while (event := client.connection.next_event()) is not None:
            assert isinstance(event, Response)
            client.order.append(event.seq)
    return set(client.order)


def test_texts_to_be_tokenised_are_done_one_at_a_time(fresh_daemon: Daemon) -> None:
    """Those of one user; who is gone has none done any more, and the model can be unloaded."""
    with People(fresh_daemon) as people:
        bob, ada = (people.user(limits=1000, models=("demo",)).enter() for _ in range(2))
        with bob, ada:
            asked = [bob.send("inf_tokenize", LONG, MODEL="demo") for _ in range(400)]
            ctxid = ada.context()
            assert ada.ask(ctxid, "Hello!")[0]
            ada.ok("inf_destroy_context", CTXID=ctxid)
            assert asked[-1] not in come_so_far(bob)
        people.root.ok("inf_unload_model", MODEL="demo")


def test_a_reply_has_so_many_streams(client: RawClient) -> None:
    """Each costs the daemon something for every token."""
    ctxid = client.context("endless", 30_000)
    client.execute(ctxid, client.say(ctxid, "Hello!"))
    keys = {"CTXID": ctxid, "STREAM": 1, "OFFSET": 0}
    streams = [client.send("exec_next", **keys) for _ in range(MOST_STREAMS)]
    client.refused(1022, "exec_next", **keys)
    client.ok("exec_stop", CTXID=ctxid)
    for seq in streams:
        while not (response := client.read(seq)).last:
            pass
        assert response.code == 3000


def test_no_more_is_read_than_can_be_handled(fresh_daemon: Daemon) -> None:
    """Requests behind one that waits stay in the socket, not in the daemon's memory."""
    with ExitStack() as stack:
        people = stack.enter_context(People(fresh_daemon))
        person = people.user("USER_SYS_PROMPT_MODIFICATION", limits=1000)
        others = [stack.enter_context(person.enter()) for _ in range(8)]
        bob = stack.enter_context(person.enter())
        before = most_resident(fresh_daemon)  # a token was hashed: the memory for it is there
        for number, other in enumerate(others):
            other.send("inf_modify_user_access_token", USERNAME=person.username,
                       ACCTOK=person.token, NEW_ACCTOK=f"another token {number}")  # fmt: skip
        bob.send("inf_modify_user_system_prompt", "Be brief.", USERNAME=person.username)
        _, wire = bob.connection.send_request("inf_get_context_ids", {"STOK": bob.stok})
        flood = memoryview(wire * (64 * MIB // len(wire)))
        bob.socket.setblocking(False)
        with suppress(OSError):  # in the end the daemon closes the connection
            while flood and not select.select([bob.socket], [], [], 0)[0]:
                if select.select([], [bob.socket], [], BREATH)[1]:
                    flood = flood[bob.socket.send(flood[:MIB]) :]
        assert most_resident(fresh_daemon) - before < 24 * MIB
        people.root.ok("inf_get_context_ids")


def test_a_user_has_so_many_bytes_of_requests_in_the_daemon(fresh_daemon: Daemon) -> None:
    """On all connections together, each with a frame that is never complete."""
    with ExitStack() as stack:
        people = stack.enter_context(People(fresh_daemon))
        person = people.user(limits=1000)
        bobs = [stack.enter_context(person.enter()) for _ in range(40)]
        before = most_resident(fresh_daemon)
        flood = [memoryview(frames.frame(b"\0" * (16 * MIB - 1))[:-1])] * len(bobs)
        held_up = 0
        for number, bob in enumerate(bobs):
            bob.ok("inf_get_context_ids")  # a session is named: frames may be long
            bob.socket.setblocking(False)
            # The rest stays in the socket when the daemon does not read it any more.
            while flood[number] and select.select([], [bob.socket], [], 50 * BREATH)[1]:
                with suppress(BlockingIOError):
                    sent = bob.socket.send(flood[number][:MIB])
                    flood[number] = flood[number][sent:]
            if flood[number]:
                held_up += 1
                if held_up == 3:
                    break
        assert held_up
        assert most_resident(fresh_daemon) - before < 1.5 * MOST
        people.root.ok("inf_get_context_ids")
        for bob in bobs:
            bob.socket.close()
        with person.enter() as again:
            again.ok("inf_get_context_ids")
            again.refused(2016, "inf_tokenize", "~" * (8 * MIB), MODEL="nowhere", SPECIAL=5)


def most_resident(daemon: Daemon) -> int:
    """The most bytes of memory that the daemon had in use so far."""
    status = Path(f"/proc/{daemon.pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def test_logins_that_wait_at_the_end_are_no_incidents(fresh_daemon: Daemon) -> None:
    with ExitStack() as stack:
        clients = [stack.enter_context(RawClient(fresh_daemon)) for _ in range(20)]
        for number, client in enumerate(clients):
            client.send("inf_access_request", USERNAME="admin", ACCTOK=f"wrong {number}")
        # One is answered: the others wait for their turn at the hash.
        select.select([client.socket for client in clients], [], [], PATIENCE)
        fresh_daemon.stop()
        assert [line for line in fresh_daemon.log() if line["event"] == "incident"] == []
