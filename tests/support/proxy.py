"""A proxy that cuts its connections: after so many bytes from the daemon, both ends at once."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress

from support.daemon import PATIENCE, Daemon


class CuttingProxy:
    """Listens on `host`, `port`. Each new connection is cut after the next of `cuts` bytes; with
    none left they are left alone. `reset`: the cut is a reset, not an orderly end."""

    def __init__(self, daemon: Daemon) -> None:
        self._target = (daemon.host, daemon.port)
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.host, self.port = self._listening.getsockname()
        self.cuts: list[int] = []
        self.made = 0
        self._threads: list[threading.Thread] = []
        self._accepting = threading.Thread(target=self._accept, daemon=True)
        self._accepting.start()

    def __enter__(self) -> CuttingProxy:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join(PATIENCE)
        for thread in self._threads:
            thread.join(PATIENCE)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._listening.accept()
                far = socket.create_connection(self._target)
                cut = self.cuts.pop(0) if self.cuts else None
                for source, sink, left in ((near, far, None), (far, near, cut)):
                    thread = threading.Thread(
                        target=self._carry, args=(source, sink, left), daemon=True
                    )
                    thread.start()
                    self._threads.append(thread)

    def _carry(self, source: socket.socket, sink: socket.socket, left: int | None) -> None:
        with suppress(OSError):
            while left is None or left > 0:
                chunk = source.recv(65536 if left is None else left)
                if not chunk:
                    break
                sink.sendall(chunk)
                if left is not None:
                    left -= len(chunk)
            if left == 0:
                self.made += 1
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        source.close()
