"""The ordered end: SIGTERM drains, then aborts; a second signal ends at once; nothing is lost."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support import daemon as daemons
from support import scripted_daemon
from support.daemon import Daemon
from support.endless import TABLE, endless
from support.raw_client import RawClient
from support.scripted_daemon import Script


@pytest.fixture
def script(tmp_path: Path) -> Script:
    return Script(tmp_path)


def scripted(script: Script, **config: Any) -> Any:
    return daemons.run(
        program=(scripted_daemon.__file__,),
        env=script.env,
        models={"endless": endless()},
        config={"models": TABLE, **config},
    )


def wait_until_closed(daemon: Daemon) -> None:
    """Until no connection is accepted any more."""
    daemon.wait_log("stopping")
    with suppress(ConnectionError):
        while True:
            socket.create_connection((daemon.host, daemon.port)).close()


@pytest.fixture
def as_from_a_terminal() -> Iterator[None]:
    """What is started heeds SIGHUP, also where this process was started with nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("as_from_a_terminal")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_run_is_read_to_its_end(script: Script, number: signal.Signals) -> None:
    """Held in the middle when the signal comes; new runs and connections are refused then."""
    with scripted(script, drain=3600) as daemon:
        client = RawClient(daemon).login("admin", daemon.admin)
        ctxid, other = client.context(), client.context()
        msgid = client.say(other, "Hello!")
        script.on("token", "hold")
        client.execute(ctxid, client.say(ctxid, "My name is Ada."))
        release = script.held("token")
        seq = client.send("exec_next", CTXID=ctxid, OFFSET=0, STREAM=1)
        daemon.signal(number)
        wait_until_closed(daemon)
        assert "a second signal" in daemon.wait_log("waiting for runs")["hint"]
        client.refused(3009, "exec_execute_input", CTXID=other, MSGID=[msgid])
        assert client.ok("inf_get_context_status", CTXID=ctxid).code == 2009
        release()
        pieces = []
        while not pieces or not pieces[-1].last:
            pieces.append(client.read(seq))
        assert "Ada" in "".join(piece.data or "" for piece in pieces)
        assert pieces[-1].keys["FINISH_REASON"] == "stop"
        assert client.closed()
        client.close()
        assert daemon.wait() == 0
        assert daemon.wait_log("stopped")
        daemon.check_log()


def test_what_does_not_end_in_time_is_aborted(script: Script) -> None:
    with scripted(script, drain=0) as daemon:
        with RawClient(daemon).login("admin", daemon.admin) as client:
            ctxid = client.context("endless", 30_000)
            client.execute(ctxid, client.say(ctxid, "go"))
            seq = client.send("exec_next", CTXID=ctxid, STREAM=1)
            client.read(seq)
            daemon.signal(signal.SIGTERM)
            while not (answer := client.read(seq)).last:
                pass
            assert answer.code == 2013
            assert "shutting down" in answer.keys["DETAIL"]
            assert client.closed()
        assert daemon.wait() == 0
        daemon.check_log()


def test_a_second_signal_ends_at_once(script: Script) -> None:
    with scripted(script, drain=3600) as daemon:
        with RawClient(daemon).login("admin", daemon.admin) as client:
            ctxid = client.context("endless", 30_000)
            script.on("token", "hold")
            client.execute(ctxid, client.say(ctxid, "go"))
            release = script.held("token")
            daemon.signal(signal.SIGTERM)
            wait_until_closed(daemon)
            daemon.signal(signal.SIGTERM)
            assert client.closed()
            assert daemon.wait() == 128 + signal.SIGTERM
            release()
        daemon.check_log()


def test_idle_clients_hold_nothing_up(script: Script) -> None:
    with scripted(script, drain=3600) as daemon:
        clients = [RawClient(daemon).login("admin", daemon.admin) for _ in range(5)]
        for client in clients:
            client.context(size=64)
        daemon.signal(signal.SIGTERM)
        for client in clients:
            assert client.closed()
            client.close()
        assert daemon.wait() == 0
        daemon.check_log()
