"""One connection of the daemon: a thin shell around the sans-I/O `Connection`.

It moves bytes, keeps the connection's clocks, and turns answers into frames. Rules of the
contract's section 1 that live here: the 30 s of a begun frame, back-pressure (streams stop at
256 KiB unsent, requests at 4 MiB, the connection ends when that stays unsent for 60 s), ordered
operations. Requests are handled for `SLICE` in one go; a connection with more of them waits its
turn (turns.py), and with `UNHANDLED` of them it is not read.
"""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any, cast

from infd.dispatch import Result, check, find_session, incident, invoke
from infd.logs import log_operation
from infd.pending import PendingCall
from infd.volumes import SMALL
from infd_protocol import codes
from infd_protocol.connection import Connection, Refusal, Request, Role, State
from infd_protocol.errors import InfdError

if TYPE_CHECKING:
    from infd.daemon import Daemon
    from infd.session import Session

STREAM_UNSENT = 256 * 1024
UNSENT = 4 * 1024 * 1024
UNSENT_SECONDS = 60.0
"""Back-pressure, as in the contract's section 1; bytes and seconds."""

UNHANDLED = 1024 * 1024
"""Bytes of requests that wait to be handled before no more are read."""
SLICE = 0.001
"""Seconds that requests of one connection are handled in one go; then it is others' turn."""

KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""A peer that is gone without a word is found within 30 + 3 × 10 seconds."""

_now = time.perf_counter


class Link(asyncio.Protocol):
    """See the head of this module."""

    def __init__(self, daemon: Daemon) -> None:
        self.sessions: set[Session] = set()
        self.waiting = 0
        self.address = ""
        self.closed = False
        self.writable = True
        self.daemon = daemon
        self._loop = asyncio.get_running_loop()
        self._connection = Connection(Role.SERVER, max_frame=daemon.config.max_frame)
        self._transport: asyncio.Transport | None = None
        self._out: list[bytes] = []
        self._out_size = 0
        self._volume, self._counted = 0, ""
        """Bytes that are counted in `Daemon.volumes`, and for whom."""
        self._pumping = False
        self._blocked = False
        self._queued = False
        self._paused = False
        self._calls: set[PendingCall] = set()
        self._frame_timer: asyncio.TimerHandle | None = None
        self._unsent_timer: asyncio.TimerHandle | None = None

    # --- asyncio's side --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports have asyncio.Transport's methods without being its subclasses.
        transport = cast(asyncio.Transport, transport)
        self._transport = transport
        peer = transport.get_extra_info("peername")
        self.address = peer[0] if isinstance(peer, tuple) else "local"
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        transport.set_write_buffer_limits(high=STREAM_UNSENT)
        refusal = self.daemon.admit(self)
        if refusal is not None:
            detail = refusal.detail
            self._write(self._connection.refuse(0, refusal.code, detail))
            self._log_refused(refusal.code, detail)
            self._connection.close()
            transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        self._connection.close()
        self.daemon.leave(self)
        self.listen()
        self.daemon.volumes.forget(self._counted, self)
        for timer in (self._frame_timer, self._unsent_timer):
            if timer is not None:
                timer.cancel()
        for call in list(self._calls):
            call.lost()
        self._calls.clear()
        for session in list(self.sessions):
            session.detach(self)

    def eof_received(self) -> bool:
        """A half-closed peer counts as lost: it cannot be told from one that was killed, and a
        killed one must not keep a run alive. What was answered is still sent."""
        self._flush()
        return False

    def data_received(self, data: bytes) -> None:
        self._connection.receive(data)
        self._pump()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        self._relieve()
        for call in list(self._calls):
            if not self.writable:
                break
            call.resume()

    # --- in --------------------------------------------------------------------------------

    def _pump(self) -> None:
        """Handle every frame that is complete, and send the answers in one write."""
        turns, whose = self.daemon.turns, self.whose
        if not (self._pumping or self._queued) and turns.wait(whose):
            self._queue()
        if self._pumping or self._queued:
            self.listen()
            return
        self._pumping = True
        connection = self._connection
        began, until = time.thread_time(), _now() + SLICE
        while not self._deaf:
            event = connection.next_event()
            if event is None:
                break
            self._stop_frame_timer()
            if type(event) is Request:
                self._handle(event)
            elif type(event) is Refusal:
                self._refused(event)
            if not connection.mid_frame:
                break
            if _now() >= until:
                self._queue()
                break
        self._pumping = False
        self._flush()
        turns.charge(whose, time.thread_time() - began)
        self.listen()
        if connection.state is State.CLOSED and self._transport is not None:
            self._transport.close()
        elif connection.mid_frame and not self._deaf and self._frame_timer is None:
            seconds = self.daemon.config.frame_seconds
            self._frame_timer = self._loop.call_later(seconds, self._frame_late)

    def _queue(self) -> None:
        self._queued = True
        self.daemon.turns.add(self)

    def go_on(self) -> None:
        """It is its turn to have more requests handled."""
        self._queued = False
        if not self.closed:
            self._pump()

    @property
    def whose(self) -> str:
        """With whose connections it shares turns: its user's, or its address's."""
        return next((session.username for session in self.sessions), self.address)

    @property
    def _deaf(self) -> bool:
        """Whether requests wait, for the daemon or for the peer's reading: no frame is late
        then."""
        return self._blocked or self._queued or self._unsent_timer is not None

    def listen(self) -> None:
        """Read on, unless too much of what was read waits."""
        connection, volumes = self._connection, self.daemon.volumes
        volume = 0 if self.closed else connection.volume
        if volume != self._volume:
            if not self._volume:
                self._counted = self.whose
            before, self._volume = self._volume, volume
            volumes.change(self._counted, volume - before)
        pause = self._unsent_timer is not None or (
            self._deaf and connection.unhandled > UNHANDLED
        )
        if not pause and volume > SMALL and volumes.full(self._counted):
            pause = True
            volumes.stop(self._counted, self)
        transport = self._transport
        if pause == self._paused or transport is None or transport.is_closing():
            return
        self._paused = pause
        if pause:
            transport.pause_reading()
        else:
            transport.resume_reading()

    def _stop_frame_timer(self) -> None:
        if self._frame_timer is not None:
            self._frame_timer.cancel()
            self._frame_timer = None

    def _refused(self, refusal: Refusal) -> None:
        self._send(refusal.wire)
        self._log_refused(refusal.code, refusal.detail)

    def _log_refused(self, code: int, detail: str) -> None:
        """What was no request has no operation; the protocol's reasons quote nothing of it."""
        log_operation(
            "-", user="", session="", ctxid=None, code=code, ms=0.0, reads=False,
            address=self.address, detail=detail,
        )  # fmt: skip

    def _frame_late(self) -> None:
        self._frame_timer = None
        if self._deaf or self._transport is None:
            return
        seconds = self.daemon.config.frame_seconds
        detail = f"A frame was begun and not completed in {seconds:g} seconds."
        self._send(self._connection.refuse(0, codes.PKT_TIMED_OUT, detail))
        self._log_refused(codes.PKT_TIMED_OUT, detail)
        self.close()

    def _handle(self, request: Request) -> None:
        started = _now()
        session = find_session(self.daemon, request)
        if session is not None:
            session.attach(self)
            if not self._connection.authenticated:
                self._connection.authenticate()
        pending = PendingCall(self, request, session, started)
        try:
            call = check(self.daemon, request, session, self.address, self, pending)
            pending.operation = call.operation
            outcome = invoke(call)
        except InfdError as error:
            pending.refuse(error)
            return
        except Exception as error:
            pending.refuse(incident(error, request.op))
            return
        if outcome is None:
            return
        if type(outcome) is Result:
            pending.answer(outcome)
            return
        assert isinstance(outcome, asyncio.Task)
        if call.operation.ordered:
            self._blocked = True
            pending.blocks = True
        self.waiting += 1
        outcome.add_done_callback(pending.done)

    def unblock(self) -> None:
        """An ordered operation was answered: later requests may go on."""
        self._blocked = False
        if not self.closed:
            self._loop.call_soon(self._pump)

    # --- out -------------------------------------------------------------------------------

    def respond(
        self, seq: int, code: int, keys: dict[str, Any], data: str | None, *, last: bool
    ) -> None:
        """Send a response."""
        if not self.closed:
            self._send(self._connection.send_response(seq, code, keys, data, last=last))
            if self._volume > SMALL:
                self.listen()

    def _send(self, wire: bytes) -> None:
        if not self._pumping:
            # uvloop sends what is written in one turn of the loop together.
            self._write(wire)
            return
        self._out.append(wire)
        self._out_size += len(wire)
        if self._out_size > STREAM_UNSENT:
            self._flush()

    def _flush(self) -> None:
        if self._out:
            wire = b"".join(self._out)
            self._out.clear()
            self._out_size = 0
            self._write(wire)

    def _write(self, wire: bytes) -> None:
        transport = self._transport
        if transport is None or transport.is_closing():
            return
        transport.write(wire)
        if self.writable or self._unsent_timer is not None:
            return
        if transport.get_write_buffer_size() > UNSENT:
            # Small requests with large answers would fill the memory within those seconds.
            self._unsent_timer = self._loop.call_later(UNSENT_SECONDS, self._too_slow)
            self.listen()

    def _too_slow(self) -> None:
        transport = self._transport
        if transport is None or transport.get_write_buffer_size() > UNSENT:
            self.abort()
        else:
            self._relieve()

    def _relieve(self) -> None:
        """The peer has read: listen to it again."""
        if self._unsent_timer is None:
            return
        self._unsent_timer.cancel()
        self._unsent_timer = None
        self._loop.call_soon(self._pump)

    def close(self) -> None:
        """Close after what is written is sent."""
        self._connection.close()
        self._flush()
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Close now, whatever is unsent."""
        if self._transport is not None:
            self._transport.abort()

    def track(self, call: PendingCall) -> None:
        self._calls.add(call)
        self.waiting += 1

    def untrack(self, call: PendingCall) -> None:
        if call in self._calls:
            self._calls.discard(call)
            self.waiting -= 1
