"""Over the wire: contexts that nobody uses leave memory, and their conversations go on."""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support import daemon as daemons
from support import scripted_daemon
from support.daemon import BUNDLED, Daemon, until
from support.raw_client import RawClient
from support.scripted_daemon import Script

ASKED = ("My name is Ada.", "What is my name?", "Count from 3 to 7.")
LARGE = 1 << 20


@contextmanager
def entered(script: Script | None = None, **config: Any) -> Iterator[tuple[Daemon, RawClient]]:
    """A daemon with these keys and room for many contexts, and its superuser. `script`: what it
    does by."""
    demo = {"path": str(BUNDLED), "load": True, "ctxsize": LARGE}
    values = {"models": {"demo": demo}, "prefix_memory": 0, **config}
    started: dict[str, Any] = {}
    if script is not None:
        started = {"program": (scripted_daemon.__file__,), "env": script.env}
    with daemons.run(config=values, **started) as daemon, RawClient(daemon) as client:
        yield daemon, client.login("admin", daemon.admin)


def files(daemon: Daemon) -> list[Path]:
    return sorted((daemon.state / "swap").iterdir())


def saved(daemon: Daemon) -> list[Path]:
    """The files that are written whole."""
    return [file for file in files(daemon) if file.suffix != ".part"]


def used(client: RawClient, ctxid: int) -> int:
    status = client.ok("inf_get_context_status", CTXID=ctxid)
    assert status.code == 2010
    tokens: int = status.keys["TOKENS_USED"]
    return tokens


def talk(client: RawClient, ctxid: int, *asked: str) -> list[tuple[str, int, int]]:
    """Reply, TOKENS_CACHED and TOKENS_IN of each turn."""
    said = []
    for text in asked:
        reply, last = client.ask(ctxid, text, MAX_TOKENS=24)
        said.append((reply, last.keys["TOKENS_CACHED"], last.keys["TOKENS_IN"]))
    return said


@pytest.fixture(scope="module")
def undisturbed(placement: str) -> list[tuple[str, int, int]]:
    """What a context that stays in memory says."""
    with entered(context_swap_idle=0) as (daemon, client):
        said = talk(client, client.context(size=1024), *ASKED)
        assert files(daemon) == []
        return said


def test_an_idle_context_is_saved_and_goes_on_where_it_was(
    undisturbed: list[tuple[str, int, int]],
) -> None:
    with entered(context_swap_idle=0.05) as (daemon, client):
        ctxid = client.context(size=1024)
        for n, asked in enumerate(ASKED):
            assert talk(client, ctxid, asked) == undisturbed[n : n + 1]
            until(lambda: saved(daemon))
            (file,) = files(daemon)
            assert stat.S_IMODE(file.stat().st_mode) == 0o600
            assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
            assert used(client, ctxid) >= undisturbed[n][2]
            assert len(client.ok("exec_get_messages", CTXID=ctxid).keys["TEXT"]) == 2 * n + 2
        client.ok("inf_clear_context_history", CTXID=ctxid)
        assert files(daemon) == []
        assert used(client, ctxid) == 0
        assert talk(client, ctxid, ASKED[0]) == undisturbed[:1]
        until(lambda: saved(daemon))
        client.ok("inf_destroy_context", CTXID=ctxid)
        assert files(daemon) == []


def changed(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-100] ^= 0x10
    file.write_bytes(data)


def cut(file: Path) -> None:
    with file.open("r+b") as opened:
        opened.truncate(file.stat().st_size // 2)


@pytest.mark.parametrize("damage", [changed, cut, Path.unlink])
def test_a_damaged_file_is_a_line_in_the_log_and_the_same_reply(
    undisturbed: list[tuple[str, int, int]], damage: Callable[[Path], None]
) -> None:
    with entered(context_swap_idle=0.05) as (daemon, client):
        ctxid = client.context(size=1024)
        talk(client, ctxid, ASKED[0])
        until(lambda: saved(daemon))
        damage(saved(daemon)[0])
        ((reply, cached, _),) = talk(client, ctxid, ASKED[1])
        assert (reply, cached) == (undisturbed[1][0], 0)
        assert daemon.wait_log("a context was not restored; it is computed again")


def test_without_room_on_the_disk_an_idle_context_stays(
    undisturbed: list[tuple[str, int, int]],
) -> None:
    with entered(context_swap_idle=0.05, swap_disk=1000) as (daemon, client):
        ctxid = client.context(size=1024)
        talk(client, ctxid, ASKED[0])
        line = daemon.wait_log("a context was not saved")
        assert "swap_disk is used up" in line["problem"]
        assert talk(client, ctxid, ASKED[1]) == undisturbed[1:2]


def test_a_folder_that_is_lost_is_no_error_to_users(
    undisturbed: list[tuple[str, int, int]],
) -> None:
    with entered(context_swap_idle=0.05) as (daemon, client):
        (daemon.state / "swap").rmdir()
        ctxid = client.context(size=1024)
        talk(client, ctxid, ASKED[0])
        assert "cannot be used" in daemon.wait_log("a context was not saved")["problem"]
        assert talk(client, ctxid, ASKED[1]) == undisturbed[1:2]


def test_what_a_killed_daemon_left_is_deleted(tmp_path: Path) -> None:
    with daemons.run(config={"context_swap_idle": 0.05}) as daemon:
        with RawClient(daemon) as client:
            client.login("admin", daemon.admin)
            talk(client, client.context(), ASKED[0])
            until(lambda: saved(daemon))
        daemon.kill()
        daemon.start()
        assert files(daemon) == []


def test_two_hundred_contexts_leave_no_file() -> None:
    with entered(context_swap_idle=0.01, max_contexts_per_user=300) as (daemon, client):
        for _ in range(20):
            made = [client.context(size=64) for _ in range(10)]
            for ctxid in made[:3]:
                client.execute(ctxid, client.say(ctxid, "Hello!"), MAX_TOKENS=1)
                client.reply(ctxid)
            until(lambda: len(saved(daemon)) == 3)
            for ctxid in made:
                client.ok("inf_destroy_context", CTXID=ctxid)
            assert files(daemon) == []


def test_more_contexts_than_memory_holds(
    placement: str, undisturbed: list[tuple[str, int, int]]
) -> None:
    """Each new one presses an idle one out; all of them go on, none computes anything again."""
    # Alone each has an instance of its size; in a batch the idle ones have what they hold.
    limit = "24MiB" if placement == "dedicated" else "300KiB"
    with entered(context_swap_idle=0, context_memory=limit) as (daemon, client):
        made = [client.context(size=1024) for _ in range(12)]
        for ctxid in made:
            assert talk(client, ctxid, ASKED[0]) == undisturbed[:1]
        assert len(files(daemon)) >= 6
        for n in (1, 2):
            for ctxid in made:
                assert talk(client, ctxid, ASKED[n]) == undisturbed[n : n + 1]
        # And where nothing can be saved they are computed again.
        for file in files(daemon):
            file.unlink()
        replies = {reply for c in made for reply, _, _ in talk(client, c, "What is my name?")}
        assert len(replies) == 1
        assert daemon.wait_log("a context was not restored; it is computed again")


@pytest.mark.dedicated("the contexts of a batch share one instance: none takes memory of its own")
def test_idle_contexts_leave_memory_before_a_new_one_is_refused_for_want_of_it(
    tmp_path: Path, undisturbed: list[tuple[str, int, int]]
) -> None:
    script = Script(tmp_path)
    with entered(script, context_swap_idle=0) as (daemon, client):
        made = [client.context(size=1024) for _ in range(3)]
        for ctxid in made:
            talk(client, ctxid, ASKED[0])
        assert files(daemon) == []
        script.on("open", "fail the machine has no memory")
        client.refused(2007, "inf_create_context", MODEL="demo", CTXSIZE=1024)
        assert len(files(daemon)) == 3
        # The token budget is another matter: no context leaves for it.
        client.ask(made[0], ASKED[1], MAX_TOKENS=24)
        client.refused(2019, "inf_create_context", MODEL="demo", CTXSIZE=LARGE)
        assert len(files(daemon)) == 2
        script.off("open")
        client.context(size=1024)
        for ctxid in made[1:]:
            assert talk(client, ctxid, ASKED[1]) == undisturbed[1:2]


@pytest.mark.dedicated("the contexts of a batch share one instance: none takes memory of its own")
def test_destroying_and_clearing_a_context_on_its_way_in() -> None:
    """Others are being pressed out for it: its run must not be begun any more."""
    with entered(context_swap_idle=0, context_memory="12MiB") as (_, client):
        made = [client.context(size=1024) for _ in range(6)]
        for ctxid in made:
            talk(client, ctxid, ASKED[0])
        for end in ("inf_destroy_context", "inf_clear_context_history"):
            # The first is out; for its run another one leaves.
            ctxid = made.pop(0)
            msgid = client.say(ctxid, ASKED[1])
            keys = {"STOK": client.stok, "CTXID": ctxid}
            sent = [
                client.connection.send_request("exec_execute_input", {**keys, "MSGID": [msgid]}),
                client.connection.send_request(end, keys),
            ]
            # In one piece: the second is looked at while the first waits.
            client.socket.sendall(b"".join(wire for _, wire in sent))
            refused, ended = (client.read(seq).code for seq, _ in sent)
            assert (refused, ended) == (2005 if end == "inf_destroy_context" else 3009, 2000)
        assert talk(client, made[0], ASKED[1])[0][0]
