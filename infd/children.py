"""Processes that infd starts from itself: how, and with what environment.

A child runs the same Python on the same modules as its parent. It never looks for modules in the
working folder (which need not be trusted), and it inherits neither access tokens nor what the
service manager meant for the parent only.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PRIVATE = (
    "INFD_TOKEN",
    "NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
    "LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
)  # fmt: skip
_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def command(module: str, *arguments: str) -> list[str]:
    """The command line of `python -m module`."""
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(**more: str) -> dict[str, str]:
    """The environment of a child: the parent's without what is private, and `more`."""
    kept = {name: value for name, value in os.environ.items() if name not in PRIVATE}
    # The parent may run from a source folder that only its own sys.path knows.
    kept["PYTHONPATH"] = os.pathsep.join(entry for entry in sys.path if os.path.isabs(entry))
    return kept | more


def end_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """In a child: be killed, by the signal `number`, when the process `parent`, which started it,
    ends in whatever way."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)
