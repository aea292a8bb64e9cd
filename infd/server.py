"""The daemon's sockets, its start, and its ordered end.

Start: the accounts are opened (one daemon a state folder), configured models loaded, then the
port is opened and readiness told. End, on SIGTERM, SIGINT or SIGHUP, in bounded steps:

    1. stop accepting; say STOPPING        4. close the connections, sending what is written
    2. exec_execute_input answers 3009     5. end sessions, free models, close the store
    3. drain runs for `drain` seconds, then abort them

A second signal ends the process at once; whatever was answered is on disk already.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any

import structlog
import uvloop

import infd
from infd import (
    notify,
    operations,  # noqa: F401  registers the handlers, and checks that none is missing
)
from infd.accounts.service import Accounts
from infd.config import Config
from infd.daemon import Daemon
from infd.link import Link
from infd.listening import (
    address_of,
    begin_listening,
    check_inherited,
    open_socket,
    passed_over,
)

log = structlog.get_logger("infd")

BACKLOG = 1024
"""Connections that the kernel holds before they are accepted."""

SWITCH_INTERVAL = 0.0005
"""Seconds after which a thread that computes in Python gives the interpreter to another. The
default of 5 ms would stand in full in the latency of every call beside a busy worker."""

GONE_SECONDS = 2.0
"""How long closing connections may take to send what is written."""


def serve(
    config: Config, *, sockets: Sequence[socket.socket] = (), ready_fd: int | None = None
) -> int:
    """Run the daemon until it is told to stop. Returns the exit status.

    `sockets`: listening ones that were inherited; else `config.listen` is opened. `ready_fd`: a
    descriptor that gets one line HOST:PORT when the daemon serves, and is closed.
    Raises ListenError, and what opening the accounts raises.
    """
    check_inherited(config, sockets)
    if told := passed_over(config, sockets):
        log.warning("listen", problem=told)
    sys.setswitchinterval(SWITCH_INTERVAL)
    accounts = Accounts.open(config.state, hash_queue=config.hash_queue)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(Server(config, accounts).run(sockets, ready_fd))


class Server:
    """One run of the daemon."""

    def __init__(self, config: Config, accounts: Accounts) -> None:
        self.config = config
        self._accounts = accounts
        self._stop = asyncio.Event()

    async def run(self, sockets: Sequence[socket.socket], ready_fd: int | None) -> int:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_log_unhandled)
        daemon = Daemon(self.config, self._accounts)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # Under nohup the terminal's end is to be passed over.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                loop.add_signal_handler(number, self._on_signal, number)
        servers: list[asyncio.Server] = []
        listening: list[socket.socket] = []
        try:
            # Before models are read for minutes: an address that is taken is told at once.
            listening = list(sockets) or [open_socket(self.config)]
            loading = loop.create_task(daemon.models.load_configured())
            stopping = loop.create_task(self._stop.wait())
            await asyncio.wait((loading, stopping), return_when=asyncio.FIRST_COMPLETED)
            if not self._stop.is_set():
                loading.result()
                servers = await self._listen(daemon, listening)
                self._tell_ready(servers, ready_fd)
                await stopping
            loading.cancel()
            stopping.cancel()
        finally:
            await self._shut_down(daemon, servers)
            for sock in listening if not servers else ():
                sock.close()
        log.info("stopped")
        return 0

    async def _listen(
        self, daemon: Daemon, listening: Sequence[socket.socket]
    ) -> list[asyncio.Server]:
        loop = asyncio.get_running_loop()
        for sock in listening:
            begin_listening(sock, BACKLOG)
        # What exists now lives as long as the process: keep the collector from walking it.
        gc.collect()
        gc.freeze()
        return [
            await loop.create_server(lambda: Link(daemon), sock=sock, backlog=BACKLOG)
            for sock in listening
        ]

    def _tell_ready(self, servers: list[asyncio.Server], ready_fd: int | None) -> None:
        addresses = [address_of(sock) for server in servers for sock in server.sockets]
        log.info("serving", address=", ".join(addresses), version=infd.__version__, pid=os.getpid())
        notify.ready(f"serving on {', '.join(addresses)}")
        reachable = [address for address in addresses if not address.startswith(("/", "@"))]
        self._accounts.announce(next(iter(reachable), ""))
        if ready_fd is not None:
            with contextlib.suppress(OSError), os.fdopen(ready_fd, "w") as pipe:
                pipe.write(addresses[0] + "\n")

    def _on_signal(self, number: int) -> None:
        if self._stop.is_set():
            if number == signal.SIGHUP:  # the shell and the terminal each send one
                return
            log.warning("ended at once", signal=signal.Signals(number).name)
            sys.stderr.flush()
            os._exit(128 + number)
        log.info("stopping", signal=signal.Signals(number).name)
        self._stop.set()

    async def _shut_down(self, daemon: Daemon, servers: list[asyncio.Server]) -> None:
        notify.stopping()
        daemon.stopping = True
        for server in servers:
            server.close()
        if runs := daemon.runs():
            log.info(
                "waiting for runs", runs=runs, at_most_seconds=self.config.drain,
                hint="a second signal (Ctrl-C) ends the daemon at once",
            )  # fmt: skip
        await _drained(daemon, self.config.drain)
        for context in daemon.contexts():
            context.abort("The daemon is shutting down.")
        await _drained(daemon, GONE_SECONDS)
        for link in list(daemon.links):
            link.close()
        await _gone(daemon, GONE_SECONDS)
        await daemon.close()


async def _drained(daemon: Daemon, seconds: float) -> None:
    """Wait until no run is under way, at most so long."""
    runs = [context.ended() for context in daemon.contexts() if context.busy]
    if runs and seconds > 0:
        await asyncio.wait([asyncio.ensure_future(run) for run in runs], timeout=seconds)


async def _gone(daemon: Daemon, seconds: float) -> None:
    """Wait until every connection is closed, at most so long; then drop them."""
    if daemon.links:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(daemon.all_gone(), seconds)
    for link in list(daemon.links):
        link.abort()


def _log_unhandled(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    log.error("unhandled", message=context.get("message"), exc_info=context.get("exception"))
