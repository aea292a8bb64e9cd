"""The connection of the asyncio client: a plain asyncio.Protocol, and who reconnects.

Bytes of all calls made in one turn of the loop leave in one write. When the transport's buffer
is full, calls wait in the queue of `Calls`. All of it runs on the loop of the first call.
"""

from __future__ import annotations

import asyncio
import socket
from typing import cast

from infd_client.calls import Call, Calls
from infd_client.failures import ClientClosed, ConnectFailed, ConnectionLost, no_daemon
from infd_client.keepalive import watch
from infd_client.options import Options
from infd_client.retry import Changes, Retry
from infd_protocol.connection import ProtocolError


class Wire(asyncio.Protocol):
    """The connections of one `AsyncClient`, one after another."""

    def __init__(self, calls: Calls, options: Options) -> None:
        self.calls = calls
        self._changes = Changes(options.tell)
        self.loop: asyncio.AbstractEventLoop | None = None
        self._where = (options.address.host, options.address.port)
        self._shown = str(options.address)
        self._connect_timeout = options.connect_timeout
        self._retry = Retry(options.reconnect)
        self._transport: asyncio.Transport | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._gone: asyncio.Future[None] | None = None
        self._reason = ""
        self._broken = False
        self._flushing = False
        self._closed = False

    def submit(self, call: Call) -> None:
        """Send the call, or leave it queued until there is a connection. Never waits."""
        self.calls.submit(call)
        if self._transport is not None:
            self._schedule()
        elif self._closed:
            self.calls.end(ClientClosed("The client is closed."))
        elif self._connecting is None:
            self._start(fresh=True)

    def bind(self) -> asyncio.AbstractEventLoop:
        """The loop that this client belongs to. Raises RuntimeError on another one."""
        loop = asyncio.get_running_loop()
        if self.loop is not loop:
            if self.loop is not None:
                raise RuntimeError("an AsyncClient belongs to the event loop that used it first")
            self.loop = loop
        return loop

    async def close(self) -> None:
        """End the connection; calls under way fail with ClientClosed."""
        self._closed = True
        connecting, transport, gone = self._connecting, self._transport, self._gone
        if connecting is not None:
            connecting.cancel()
        if transport is not None:
            transport.close()
        self.calls.end(ClientClosed("The client was closed."))
        if connecting is not None:
            await asyncio.wait({connecting})
        if transport is not None and gone is not None:
            # What is unsent is given the time of an attempt to connect, then dropped.
            done, _ = await asyncio.wait({gone}, timeout=self._connect_timeout)
            if not done:
                transport.abort()

    # --- connecting ------------------------------------------------------------------------

    def _start(self, *, fresh: bool) -> None:
        self._connecting = self.bind().create_task(self._connect(fresh))

    async def _connect(self, fresh: bool) -> None:
        try:
            error = await self._try(fresh)
        finally:
            self._connecting = None
        if error is not None:
            self._retry.answered()
            self.calls.end(error)

    async def _try(self, fresh: bool) -> BaseException | None:
        """Connect, as often as it takes; what to fail the calls with, or None."""
        loop = self.bind()
        problem: str | None = None
        while True:
            pause = 0.0 if fresh else self._retry.pause(loop.time())
            if pause is None:
                lost = f"The connection to {self._shown} was lost: {problem or 'it ends at once'}."
                self._changes.gone("away")
                return self.calls.farewell or ConnectionLost(lost)
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(self._connect_timeout):
                    await loop.create_connection(lambda: self, *self._where)
                return None
            except OSError as error:  # TimeoutError is one
                problem = error.strerror or str(error) or "no answer in time"
            if fresh:
                text = f"Cannot connect to {self._shown}: {problem}. Is infd running there?"
                return ConnectFailed(text)

    # --- asyncio.Protocol ------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        sock = transport.get_extra_info("socket")
        if isinstance(sock, socket.socket) or hasattr(sock, "setsockopt"):
            watch(sock)
        # uvloop's transports are no asyncio.Transport to isinstance.
        self._transport = cast(asyncio.Transport, transport)
        self._gone = self.bind().create_future()
        self._reason = "the daemon closed it"
        self._broken = False
        self.calls.made()
        self._flush()

    def data_received(self, data: bytes) -> None:
        first = not self.calls.answered
        try:
            self.calls.receive(data)
        except ProtocolError as error:
            self._broken, self._reason = True, str(error)
            if self._transport is not None:
                self._transport.abort()
        if first and self.calls.answered:
            self._retry.answered()
            self._changes.answered()
        if self.calls.has_output:
            self._schedule()

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        if self._gone is not None and not self._gone.done():
            self._gone.set_result(None)
        if self._closed:
            return
        if error is not None:
            self._reason = getattr(error, "strerror", None) or str(error)
        farewell = self.calls.farewell
        if not self.calls.proven and (farewell is not None or self._broken):
            self._retry.answered()
            self.calls.end(farewell or no_daemon(self._shown, self._reason))
            return
        answered = self.calls.answered
        self.calls.lost(self._reason)
        if answered:
            self._retry.answered()
            self._changes.gone("lost")
        if self.calls.wanted:
            self._start(fresh=False)

    def pause_writing(self) -> None:
        self.calls.paused = True

    def resume_writing(self) -> None:
        self.calls.paused = False
        self.calls.pump()
        self._flush()

    def _schedule(self) -> None:
        if not self._flushing:
            self._flushing = True
            self.bind().call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = False
        if self._transport is not None and self.calls.has_output:
            self._transport.write(self.calls.take())
