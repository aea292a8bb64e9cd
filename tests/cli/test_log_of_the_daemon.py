"""What the daemon's log tells of who was refused, and that it serves on when nobody reads it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import IO

import pytest
from support import daemon as daemons
from support.daemon import PATIENCE
from support.gguf_factory import make

from infd.settings import split_address
from infd.wire import Address, Wire
from infd_protocol.errors import InfdError


def address_in(pipe: IO[str]) -> Address:
    """What the daemon tells when it is ready."""
    return Address(*split_address(pipe.readline().strip()))


@pytest.mark.parametrize("kind", ["full disk", "reader gone", "reader stalled"])
def test_a_broken_standard_error(tmp_path: Path, kind: str) -> None:
    import shutil

    state = tmp_path / "state"
    template, token = daemons.initialised()
    shutil.copytree(template, state)
    reading, writing = os.pipe()
    errors = os.open("/dev/full", os.O_WRONLY) if kind == "full disk" else writing
    ready, told = os.pipe()
    process = subprocess.Popen(
        [
            sys.executable, "-m", "infd", "serve", "--state", str(state), "--ready-fd", str(told),
            "--listen", "127.0.0.1:0", "--log-format", "json", "--log-level", "debug",
        ],
        stderr=errors, pass_fds=(told,),
    )  # fmt: skip
    os.close(told)
    os.close(writing)
    if kind == "reader gone":
        os.close(reading)
    with os.fdopen(ready) as pipe, Wire(address_in(pipe)) as wire:
        wire.login("admin", token)
        for _ in range(2000):  # some 250 KiB of log; a pipe holds 64
            wire.call("inf_get_context_ids")
    process.send_signal(signal.SIGTERM)
    assert process.wait(PATIENCE) == 0
    if kind != "reader gone":
        os.close(reading)
    if kind == "full disk":
        os.close(errors)


def refused(daemon: daemons.Daemon, user: str, token: str) -> int:
    """The code that a login is refused with."""
    with (
        Wire(Address(daemon.host, daemon.port)) as wire,
        pytest.raises(InfdError) as error,
    ):
        wire.login(user, token)
    return error.value.code


def test_a_refused_access_token_is_a_warning_with_its_address() -> None:
    with daemons.run(demo=False, config={"max_sessions_per_user": 1}) as daemon:
        with Wire(Address(daemon.host, daemon.port)) as wire:
            wire.login("admin", daemon.admin)
            codes = [refused(daemon, "admin", daemon.admin)]
            codes += [refused(daemon, "admin", "a wrong token") for _ in range(6)]
            codes += [refused(daemon, "a mistyped token", "x")]
            with pytest.raises(InfdError):
                wire.call("inf_modify_user_access_token", USERNAME="admin", ACCTOK="wrong too")
        daemon.stop()
        log = daemon.log()
    told = [line for line in log if line["event"] in ("login refused", "confirmation refused")]
    assert {line["level"] for line in told} == {"warning"}
    assert {line["address"] for line in told} == {"127.0.0.1"}
    assert [line["code"] for line in told[:-1]] == codes == [2001, *[2008] * 5, 1022, 2008]
    assert [line.get("user") for line in told] == [*["admin"] * 7, None, "admin"]
    assert told[-1]["event"] == "confirmation refused"
    text = str(log)
    for hidden in (daemon.admin, "a wrong token", "a mistyped token", "wrong too"):
        assert hidden not in text


def test_who_speaks_something_else_is_told_with_the_address() -> None:
    with daemons.run(demo=False, config={"frame_seconds": 0.05}) as daemon:
        where = (daemon.host, daemon.port)
        for sent in (b"GET / HTTP/1.1\r\n\r\n", b"\x00\x00\x00\x01\xc1", b"\x00\x00"):
            with socket.create_connection(where, PATIENCE) as stranger:
                stranger.sendall(sent)
                while stranger.recv(4096):
                    pass
        daemon.stop()
        told = [line for line in daemon.log() if line["event"] == "-"]
    assert [(line["code"], line["address"]) for line in told] == [
        (1016, "127.0.0.1"), (1021, "127.0.0.1"), (1007, "127.0.0.1"),
    ]  # fmt: skip
    for line, reason in zip(told, ("HTTP", "msgpack", "not completed in"), strict=True):
        assert reason in line["detail"]


def test_a_connection_too_many_is_told() -> None:
    with daemons.run(demo=False, config={"max_connections": 1}) as daemon:
        with Wire(Address(daemon.host, daemon.port)) as wire:
            wire.call("inf_hello")
            with socket.create_connection((daemon.host, daemon.port), PATIENCE) as second:
                while second.recv(4096):
                    pass
        daemon.stop()
        (line,) = (line for line in daemon.log() if line["event"] == "-")
    assert (line["code"], line["address"]) == (2001, "127.0.0.1")
    assert "1 connections already" in line["detail"]


def test_logins_tell_their_address_and_refusals_of_means_their_reason(tmp_path: Path) -> None:
    broken = make(tmp_path, "not-gguf")
    with daemons.run(demo=False, models={"broken": broken}) as daemon:
        with Wire(Address(daemon.host, daemon.port)) as wire:
            wire.login("admin", daemon.admin)
            for operation, keys in (
                ("inf_load_model", {"MODEL": "broken", "CTXSIZE": 512}),
                ("inf_get_user", {"USERNAME": "a mistyped token"}),
            ):
                with pytest.raises(InfdError):
                    wire.call(operation, **keys)
        daemon.stop()
        log = {line["event"]: line for line in daemon.log()}
    assert log["inf_access_request"]["address"] == "127.0.0.1"
    assert "the file is no GGUF file" in log["inf_load_model"]["detail"]
    assert "detail" not in log["inf_get_user"]
    assert "a mistyped token" not in str(log)


def test_what_an_operation_changes_is_told() -> None:
    with daemons.run(demo=False) as daemon:
        with Wire(Address(daemon.host, daemon.port)) as wire:
            wire.login("admin", daemon.admin)
            wire.call("inf_unload_model", MODEL="demo")
            wire.call("inf_modify_user_system_prompt", "Be brief.", USERNAME="admin")
            for operation in ("inf_delete_user", "inf_end_sessions"):
                with pytest.raises(InfdError):
                    wire.call(operation, USERNAME="a mistyped token")
        daemon.stop()
        targets = [(line["event"], line.get("target")) for line in daemon.log() if "ms" in line]
    assert ("inf_unload_model", "demo") in targets
    assert ("inf_modify_user_system_prompt", "admin") in targets
    assert "a mistyped token" not in str(targets)
