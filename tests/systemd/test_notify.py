"""Readiness and socket activation: real sockets, and a real daemon that is started with them."""

from __future__ import annotations

import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support import daemon as daemons
from support.daemon import PATIENCE

from infd import notify
from infd.wire import Address, Wire


@pytest.fixture
def forgotten() -> Iterator[None]:
    """What a test made `notify` remember is forgotten after it."""
    yield
    notify.take_over({})


def addresses(folder: Path) -> list[str]:
    return [str(folder / "notify"), f"@infd-test-{os.getpid()}"]


@contextmanager
def listening(address: str) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind("\0" + address[1:] if address.startswith("@") else address)
        sock.settimeout(PATIENCE)
        yield sock


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("which", [0, 1], ids=["path", "abstract"])
def test_what_is_told(tmp_path: Path, which: int) -> None:
    address = addresses(tmp_path)[which]
    with listening(address) as sock:
        environ = {"NOTIFY_SOCKET": address, "WATCHDOG_USEC": "5", "OTHER": "kept"}
        notify.take_over(environ)
        assert environ == {"OTHER": "kept"}
        notify.ready("serving")
        notify.status("drains 3 runs")
        notify.stopping()
        assert [sock.recv(999).decode() for _ in range(3)] == [
            "READY=1\nSTATUS=serving",
            "STATUS=drains 3 runs",
            "STOPPING=1\nSTATUS=stopping",
        ]


@pytest.mark.usefixtures("forgotten")
@pytest.mark.parametrize("address", ["", "relative", "/nowhere/at/all", "@nobody", "@" + "x" * 300])
def test_nobody_who_listens_is_no_failure(address: str) -> None:
    notify.take_over({"NOTIFY_SOCKET": address} if address else {})
    notify.ready("serving")


@pytest.mark.usefixtures("forgotten")
def test_a_reader_who_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as sock:
        notify.take_over({"NOTIFY_SOCKET": address})
        for number in range(2000):
            notify.status(str(number))
        assert sock.recv(99) == b"STATUS=0"


def in_child(code: str, listener: socket.socket, **environ: str) -> str:
    """What a child prints that inherits `listener` as descriptor 3; "PID" is its process id."""
    script = (
        "import os; "
        f"os.environ.update({environ!r}); "
        "os.environ.update({k: str(os.getpid()) for k, v in os.environ.items() if v == 'PID'}); "
        + code
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True, text=True, timeout=PATIENCE, check=True, pass_fds=(3,),
        preexec_fn=lambda: os.dup2(listener.fileno(), 3),
    )  # fmt: skip
    return done.stdout.strip()


INHERIT = (
    "from infd.notify import inherited_sockets as f\n"
    "try: print([s.getsockname()[1] for s in f()], os.environ.get('LISTEN_FDS'))\n"
    "except OSError as error: print(error)"
)


def child_sockets(listener: socket.socket, **environ: str) -> str:
    return in_child(f"exec({INHERIT!r})", listener, **environ)


def test_inherited_sockets() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        given = {"LISTEN_PID": "PID", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "infd.socket"}
        assert child_sockets(listener, **given) == f"[{port}] None"
        assert child_sockets(listener, **(given | {"LISTEN_PID": "1"})) == "[] None"
        assert child_sockets(listener, **(given | {"LISTEN_FDS": "many"})) == "[] None"
        assert child_sockets(listener) == "[] None"


def test_what_is_inherited_must_listen() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        said = child_sockets(other, LISTEN_PID="PID", LISTEN_FDS="1")
    assert "no listening stream socket" in said


def test_the_daemon_tells_ready_and_stopping(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    with listening(address) as sock:
        with daemons.run(env={"NOTIFY_SOCKET": address}) as daemon:
            ready = sock.recv(999).decode().split("\n")
            assert ready[0] == "READY=1"
            assert f"{daemon.host}:{daemon.port}" in ready[1]
            with Wire(Address(daemon.host, daemon.port)) as wire:
                assert wire.call("inf_hello").keys["VERSION"]
        assert sock.recv(999).decode().startswith("STOPPING=1")


def activated(
    listener: socket.socket, state: Path, *options: str, **environ: str
) -> subprocess.Popen[bytes]:
    """A daemon that is started with a socket."""
    # A shell sets LISTEN_PID to its own id and becomes the daemon, as systemd does.
    shell = 'LISTEN_PID=$$ exec "$0" -m infd serve --state "$@"'
    return subprocess.Popen(
        ["/bin/sh", "-c", shell, sys.executable, str(state), *options],
        env={**os.environ, "LISTEN_FDS": "1", **environ},
        stderr=subprocess.PIPE,
        pass_fds=(3,),
        preexec_fn=lambda: os.dup2(listener.fileno(), 3),
    )


def test_an_inherited_socket_that_other_machines_reach_needs_plaintext(tmp_path: Path) -> None:
    state, _ = daemons.initialised()
    address = str(tmp_path / "notify")
    with listening(address) as told, socket.create_server(("0.0.0.0", 0)) as listener:
        refused = activated(listener, state, NOTIFY_SOCKET=address)
        _, said = refused.communicate(timeout=PATIENCE)
        assert refused.returncode == 1
        (line,) = said.decode().splitlines()
        assert f"0.0.0.0:{listener.getsockname()[1]} can be reached from other machines" in line
        assert "infd.socket" in line
        assert "plaintext = true" in line
        meant = activated(listener, state, "--plaintext", NOTIFY_SOCKET=address)
        try:
            assert told.recv(999).startswith(b"READY=1")
        finally:
            meant.send_signal(signal.SIGTERM)
            _, said = meant.communicate(timeout=PATIENCE)
        assert meant.returncode == 0, said.decode()


def test_the_daemon_serves_on_an_inherited_socket(tmp_path: Path) -> None:
    state, token = daemons.initialised()
    address = str(tmp_path / "notify")
    with listening(address) as told, socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with Wire(Address("127.0.0.1", port)) as early:
            process = activated(listener, state, "--listen", "127.0.0.1:1", NOTIFY_SOCKET=address)
            try:
                assert told.recv(999).startswith(b"READY=1")
                early.login("admin", token)
                assert early.call("inf_get_users").keys["USERNAME"] == ["admin"]
            finally:
                process.send_signal(signal.SIGTERM)
                _, said = process.communicate(timeout=PATIENCE)
        assert process.returncode == 0, said.decode()
        # What the configuration says has no effect: that is told.
        warned = [line for line in map(json.loads, said.splitlines()) if line["event"] == "listen"]
        assert [line["level"] for line in warned] == ["warning"]
        assert "'127.0.0.1:1'" in warned[0]["problem"]
        assert f"127.0.0.1:{port}" in warned[0]["problem"]
        # The socket is the service manager's: it stays open for the next daemon.
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as waiting:
            assert select.select([listener], [], [], PATIENCE)[0]
            assert waiting.fileno() >= 0
