"""The process that calls as fast, or as regularly, as a client can: raw frames, made beforehand.

`python -m infd.bench.caller` reads one JSON line from standard input (the session's token must
not stand on a command line) and writes one JSON line: for {"do": "flood"} the seconds that
`calls` pipelined calls took, for {"do": "pace"} the seconds that each of `calls` calls took, one
every `interval` seconds, and beside them what a bare echo took half an interval later: what the
machine allows at that moment. Answers are counted, and their codes looked at.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import time
from typing import Any

from infd import children
from infd_protocol import codec, codes, frames

BATCH = 256
"""Calls in one write; two batches are in flight, half of what a connection may have."""
_FIRST_SEQ = 1 << 16
"""Numbers from here on have the same length in msgpack, so every answer has the same length."""


class Caller:
    """A blocking connection that sends one read-only call over and over."""

    def __init__(self, host: str, port: int, stok: str, ctxid: int) -> None:
        self._socket = socket.create_connection((host, port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._keys: dict[str, Any] = {"STOK": stok, "CTXID": ctxid}

    def close(self) -> None:
        """Close the connection."""
        self._socket.close()

    def flood(self, calls: int) -> float:
        """Seconds for so many calls of inf_get_context_ids, rounded up to whole batches."""
        del self._keys["CTXID"]
        batches = [
            b"".join(self._frame("inf_get_context_ids", _FIRST_SEQ + side * BATCH + n)
                     for n in range(BATCH))
            for side in (0, 1)
        ]  # fmt: skip
        length = len(self._answer(self._frame("inf_get_context_ids", _FIRST_SEQ)))
        rounds = -(-calls // BATCH)
        due = rounds * BATCH * length
        sent = received = 0
        started = time.perf_counter()
        while received < due:
            while sent < rounds and sent - received // (BATCH * length) < 2:
                self._socket.sendall(batches[sent % 2])
                sent += 1
            data = self._socket.recv(1 << 20)
            if not data:
                raise OSError("the daemon closed the connection")
            received += len(data)
        seconds = time.perf_counter() - started
        if received != due:
            raise OSError("the daemon's answers are not all alike")
        return seconds / (rounds * BATCH) * calls

    def pace(self, calls: int, interval: float) -> dict[str, list[float]]:
        """Seconds that each of so many calls of inf_get_context_status took, and bare echoes."""
        took: list[float] = []
        bare: list[float] = []
        with _echo() as echo:
            due = time.perf_counter()
            for n in range(calls):
                wire = self._frame("inf_get_context_status", _FIRST_SEQ + n)
                due += interval
                _wait_until(due - interval / 2)
                began = time.perf_counter()
                echo.sendall(wire)
                echo.recv(65536)
                bare.append(time.perf_counter() - began)
                _wait_until(due)
                began = time.perf_counter()
                self._answer(wire)
                took.append(time.perf_counter() - began)
        return {"calls": took, "bare": bare}

    def _frame(self, op: str, seq: int) -> bytes:
        return frames.frame(codec.encode((seq, op, self._keys, None)))

    def _answer(self, wire: bytes) -> bytes:
        """The whole frame that answers `wire`, when nothing else is in flight."""
        self._socket.sendall(wire)
        data = self._socket.recv(65536)
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            more = self._socket.recv(65536)
            if not more:
                raise OSError("the daemon closed the connection")
            data += more
        _, code, keys, _ = codec.decode_response(data[4:])
        if code not in (codes.INF_SUCCESS, codes.INF_CONTEXT_ACTIVE, codes.INF_CONTEXT_INACTIVE):
            raise OSError(f"the daemon refused: {code} {keys.get('DETAIL', '')}")
        return data


def _wait_until(due: float) -> None:
    time.sleep(max(0.0, due - time.perf_counter()))


def _echo() -> socket.socket:
    """A connection to a new process that sends back what comes, until it is closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        parent = os.getpid()
        if os.fork() == 0:
            children.end_with_parent(parent)
            peer, _ = listener.accept()
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while data := peer.recv(65536):
                peer.sendall(data)
            os._exit(0)
        connection = socket.create_connection(listener.getsockname())
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def main() -> None:
    """Do what the line on standard input says."""
    children.end_with_parent(os.getppid())
    request: dict[str, Any] = json.loads(sys.stdin.readline())
    do = request.pop("do")
    where = {name: request.pop(name) for name in ("host", "port", "stok", "ctxid")}
    caller = Caller(**where)
    try:
        answer: Any = caller.flood(**request) if do == "flood" else caller.pace(**request)
    except OSError as error:
        print(json.dumps({"error": str(error)}))
    else:
        print(json.dumps({"seconds": answer}))
    finally:
        caller.close()


if __name__ == "__main__":
    main()
