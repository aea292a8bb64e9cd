"""The units: systemd finds nothing wrong with them, and the daemon lives with what they forbid."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from support import daemon as daemons
from support.daemon import PATIENCE
from support.raw_client import RawClient

UNITS = Path(__file__).parents[2] / "systemd"
INSTALLED = "/opt/infd/bin/infd"
# <linux/prctl.h>, from Linux 6.3 on: what MemoryDenyWriteExecute= forbids, without systemd.
PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN = 65, 1


def lines(unit: str) -> list[str]:
    return (UNITS / unit).read_text().splitlines()


def test_systemd_finds_nothing_wrong(tmp_path: Path) -> None:
    verify = shutil.which("systemd-analyze")
    if verify is None:
        print("there is no systemd-analyze on this machine: the units are read, not verified")
        return
    command = tmp_path / "infd"
    command.write_text("#!/bin/sh\n")
    command.chmod(0o755)
    for unit in ("infd.service", "infd.socket"):
        text = (UNITS / unit).read_text().replace(INSTALLED, str(command))
        (tmp_path / unit).write_text(text)
    units = [str(tmp_path / unit) for unit in ("infd.service", "infd.socket")]
    done = subprocess.run(
        [verify, "verify", "--man=no", *units],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    said = [line for line in done.stderr.splitlines() if "infd" in line]
    assert (done.returncode, said) == (0, [])


def test_the_service_is_what_the_daemon_expects() -> None:
    service = lines("infd.service")
    for line in ("Type=notify", "NotifyAccess=main", "StateDirectory=infd", "User=infd"):
        assert line in service
    starts = [line for line in service if line.startswith("ExecStart=")]
    assert len(starts) == 1
    command, *arguments = starts[0].removeprefix("ExecStart=").split()
    assert command == INSTALLED
    done = subprocess.run(
        [sys.executable, "-m", "infd", *arguments, "--help"],
        capture_output=True, text=True, timeout=PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def test_a_daemon_that_cannot_start_is_not_started_for_ever() -> None:
    """The starts that systemd allows in its interval take less time than that, waits included."""
    values = dict(line.split("=", 1) for line in lines("infd.service") if re.match(r"\w+=\d", line))
    begun = 2  # seconds that a start which fails takes, at most: Python's imports
    starts, wait = int(values["StartLimitBurst"]), int(values["RestartSec"])
    assert starts * (begun + wait) < int(values["StartLimitIntervalSec"])


def test_the_port_is_the_same_everywhere() -> None:
    from infd.config import Config

    assert f"ListenStream={Config().listen}" in lines("infd.socket")


def test_the_user_is_made() -> None:
    made = [line.split()[:2] for line in lines("infd.sysusers.conf") if line.startswith("u ")]
    assert made == [["u", "infd"]]


def test_the_daemon_lives_without_memory_that_is_written_and_executed(tmp_path: Path) -> None:
    """ctypes' callbacks (libffi) are what could need it: llama.cpp's log and progress."""
    libc = ctypes.CDLL(None, use_errno=True)
    probe = os.fork()
    if probe == 0:
        os._exit(int(libc.prctl(PR_SET_MDWE, PR_MDWE_REFUSE_EXEC_GAIN, 0, 0, 0) != 0))
    if os.waitstatus_to_exitcode(os.waitpid(probe, 0)[1]):
        print("this kernel is older than 6.3: MemoryDenyWriteExecute cannot be tried out here")
        return
    starter = tmp_path / "starter.py"
    starter.write_text(
        "import ctypes, runpy, sys\n"
        f"code = ctypes.CDLL(None).prctl({PR_SET_MDWE}, {PR_MDWE_REFUSE_EXEC_GAIN}, 0, 0, 0)\n"
        "assert code == 0\n"
        "runpy.run_module('infd', run_name='__main__')\n"
    )
    with daemons.run(program=(str(starter),)) as daemon, RawClient(daemon) as client:
        client.login("admin", daemon.admin)
        client.call("inf_load_model", MODEL="twin", CTXSIZE=1024)
        context = client.call("inf_create_context", MODEL="twin", CTXSIZE=512).keys["CTXID"]
        said = client.call("exec_set_input", "Count to three.", CTXID=context, ROLE="user")
        client.call("exec_execute_input", CTXID=context, MSGID=[said.keys["MSGID"]])
        assert client.call("exec_next", CTXID=context).data
