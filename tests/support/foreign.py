"""Something that listens and is no daemon: it greets and hangs up, or takes the connection and is
silent."""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from typing import Self


class Foreigner:
    """A TCP server on `port`; with an empty greeting it says nothing and keeps the connections.
    `taken` counts them. Use it in a `with` block."""

    def __init__(self, greeting: bytes = b"") -> None:
        self.taken = 0
        self._greeting = greeting
        self._kept: list[socket.socket] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self._accepting = threading.Thread(target=self._accept, daemon=True)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                sock, _ = self._listening.accept()
                self.taken += 1
                if self._greeting:
                    with sock, suppress(OSError):
                        sock.sendall(self._greeting)
                else:
                    self._kept.append(sock)

    def __enter__(self) -> Self:
        self._accepting.start()
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._accepting.join()
        for sock in self._kept:
            sock.close()
