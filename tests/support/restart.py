"""A daemon that was killed, started again where it was."""

from __future__ import annotations

from support.daemon import Daemon


def restart(daemon: Daemon) -> None:
    """Start it again at the address that it had."""
    given = daemon._command.index("--listen") + 1
    daemon._command[given] = f"{daemon.host}:{daemon.port}"
    daemon.start()
