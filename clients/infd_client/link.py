"""The connection of the blocking client, and the thread that reads from it.

Who does what:

    calling threads   submit under the lock; send what the socket takes at once
    reader thread     connects, receives, hands out answers, sends what the socket did not
                      take, reconnects; ends when the client is closed or the daemon stays
                      away, and is started again by the next call

`lock` guards `Calls` and what is unsent, and is never held while anything waits. No calling
thread ever waits for the socket.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time

from infd_client.calls import Call, Calls
from infd_client.failures import ClientClosed, ConnectFailed, ConnectionLost, no_daemon
from infd_client.keepalive import watch
from infd_client.options import Options
from infd_client.retry import Changes, Retry
from infd_protocol.connection import ProtocolError

RECEIVE = 256 * 1024
"""Bytes taken from the socket at once: as many as the daemon keeps unsent of one stream."""


class Link:
    """See the head of this module."""

    def __init__(self, calls: Calls, options: Options) -> None:
        self.lock = threading.Lock()
        self.calls = calls
        self._changes = Changes(options.tell)
        self._where = (options.address.host, options.address.port)
        self._shown = str(options.address)
        self._connect_timeout = options.connect_timeout
        self._retry = Retry(options.reconnect)
        self._sending = threading.Lock()
        self._unsent = b""
        self._socket: socket.socket | None = None
        self._thread: threading.Thread | None = None
        self._closed = threading.Event()
        self._bell, self._ringer = socket.socketpair()
        self._ringer.setblocking(False)

    # --- any thread ------------------------------------------------------------------------

    def submit(self, call: Call) -> None:
        """Send the call, or leave it queued until there is a connection. Never waits."""
        with self.lock:
            if self._closed.is_set():
                raise ClientClosed("The client is closed.")
            self.calls.submit(call)
            if self._thread is None:
                name = f"infd {self._shown}"
                self._thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._thread.start()
        if not self._flush():
            self._ring()

    def close(self) -> None:
        """End the connection and the thread; calls under way fail with ClientClosed."""
        with self.lock:
            if self._closed.is_set():
                return
            self._closed.set()
            thread = self._thread
        self._ring()
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._connect_timeout)
        with self.lock:
            self._bell.close()
            self._ringer.close()

    def _ring(self) -> None:
        with contextlib.suppress(OSError):  # full: it rings already; closed: nobody listens
            self._ringer.send(b"!")

    def _flush(self) -> bool:
        """Send what the socket takes; False if it did not take everything."""
        while self._sending.acquire(blocking=False):
            try:
                with self.lock:
                    sock = self._socket
                    unsent = self._unsent = self._unsent + self.calls.take()
                if sock is None or not unsent:
                    return True
                try:
                    sent = sock.send(unsent, socket.MSG_DONTWAIT)
                except BlockingIOError:
                    return False
                except OSError:
                    return True  # the reader finds the connection lost
                with self.lock:
                    if sock is self._socket:
                        self._unsent = unsent[sent:]
            finally:
                self._sending.release()
            # A call submitted while we sent found the sending lock taken, and left it to us.
            if not self._unsent and not self.calls.has_output:
                return True
        return True

    # --- the reader thread -----------------------------------------------------------------

    def _run(self) -> None:
        fresh = True
        while (sock := self._connect(fresh)) is not None:
            fresh = broken = False
            try:
                reason = self._read(sock)
            except ProtocolError as nonsense:
                broken, reason = True, str(nonsense)
            except OSError as failed:
                reason = failed.strerror or str(failed)
            with self.lock:
                self._socket = None
                self._unsent = b""
                answered, farewell = self.calls.answered, self.calls.farewell
                error: BaseException | None = None
                if self._closed.is_set():
                    error = ClientClosed("The client was closed.")
                elif farewell is not None and not self.calls.proven:
                    error = farewell
                elif broken and not self.calls.proven:
                    error = no_daemon(self._shown, reason)
                if error is None:
                    self.calls.lost(reason)
                else:
                    # In one go with the loss: a call made from now on starts a thread anew.
                    self._retry.answered()
                    self._thread = None
                    self.calls.end(error)
            sock.close()
            if error is not None:
                return
            if answered:
                self._retry.answered()
                self._changes.gone("lost")

    def _end(self, error: BaseException) -> None:
        self._retry.answered()
        with self.lock:
            self._thread = None
            self.calls.end(error)

    def _connect(self, fresh: bool) -> socket.socket | None:
        """A new connection, or None when the thread is to end. `fresh`: one attempt only."""
        problem: str | None = None
        while True:
            pause = 0.0 if fresh else self._retry.pause(time.monotonic())
            with self.lock:
                if not fresh and not self.calls.wanted:
                    self._thread = None
                    self._retry.answered()
                    return None
            if self._closed.is_set() or (pause and self._closed.wait(pause)):
                self._end(ClientClosed("The client was closed."))
                return None
            if pause is None:
                lost = f"The connection to {self._shown} was lost: {problem or 'it ends at once'}."
                # Before a call can fail, and another one bring a thread that tells "back".
                self._changes.gone("away")
                self._end(self.calls.farewell or ConnectionLost(lost))
                return None
            try:
                sock = socket.create_connection(self._where, self._connect_timeout)
            except OSError as error:
                problem = error.strerror or str(error) or type(error).__name__
                if fresh:
                    text = f"Cannot connect to {self._shown}: {problem}. Is infd running there?"
                    self._end(ConnectFailed(text))
                    return None
                continue
            sock.settimeout(None)
            watch(sock)
            with self.lock:
                self._socket = sock
                self.calls.made()
            self._flush()
            return sock

    def _read(self, sock: socket.socket) -> str:
        """Receive until the connection ends; why it did."""
        poll = select.poll()
        poll.register(self._bell, select.POLLIN)
        asked = 0
        while not self._closed.is_set():
            wanted = select.POLLIN | (select.POLLOUT if self._unsent else 0)
            if wanted != asked:
                poll.register(sock, wanted)
                asked = wanted
            for fd, event in poll.poll():
                if fd == self._bell.fileno():
                    self._bell.recv(4096)
                elif event & ~select.POLLOUT:
                    data = sock.recv(RECEIVE)
                    if not data:
                        return "the daemon closed it"
                    with self.lock:
                        first = not self.calls.answered
                        self.calls.receive(data)
                        first = first and self.calls.answered
                    if first:
                        self._retry.answered()
                        self._changes.answered()
            self._flush()
        return "the client was closed"
