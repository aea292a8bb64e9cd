"""The daemon's log: structlog, one line an event, as JSON or for a terminal.

Rules:
- Never a token and never a prompt's text: sessions appear as a label made from
  their token's hash.
- A caller never waits for standard error. Lines go through a bounded queue to one thread that
  writes them; when the queue is full lines are dropped and counted, and the count is a line.
- A standard error that is closed, full or gone never ends the daemon; lines are lost then.
- A refused access token is a line of its own, a warning with the address that it came from.
- Malformed frames and logins tell the address; of other refusals only those of the machine's own
  means (a file, memory, room) tell their reason, because the others quote what was asked for.
- One line per operation, at info; successful reads and exec_next at debug, where they cost one
  comparison when debug is off.

Limits: what is queued when the process is killed is lost.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import select
import threading
import time
from collections.abc import MutableMapping
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import Any

import structlog

from infd_protocol import codes

QUEUE_LINES = 16384
"""Lines waiting for standard error: some seconds of a busy daemon, a few MB at worst."""
BATCH_LINES = 256
"""Lines in one write: a busy daemon would spend its time in system calls otherwise."""
FLUSH_SECONDS = 2.0
"""How long the end of the process may wait for a reader of standard error that has stalled."""
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

_SUCCESS = frozenset(row.number for row in codes.ROWS if not row.refuses)


class LineWriter:
    """Writes lines to a descriptor from a thread of its own.

    `write` neither waits for the descriptor nor raises.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._dropped = 0
        self._counting = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def write(self, line: str) -> None:
        """Take a line, without its newline."""
        if self._lines.qsize() >= QUEUE_LINES:
            with self._counting:
                self._dropped += 1
        else:
            self._lines.put(line)

    def close(self) -> None:
        """Write what is queued, for FLUSH_SECONDS at most, and end the thread."""
        self._lines.put(None)
        self._thread.join(FLUSH_SECONDS)

    def _run(self) -> None:
        running = True
        while running:
            batch = [self._lines.get()]
            with suppress(Empty):
                while len(batch) < BATCH_LINES:
                    batch.append(self._lines.get_nowait())
            running = None not in batch
            lines = [line for line in batch if line is not None]
            with self._counting:
                dropped, self._dropped = self._dropped, 0
            if dropped:
                told = {"level": "warning", "event": "log lines were dropped", "lines": dropped}
                lines.append(json.dumps(told))
            data = "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")
            # Nobody can be told that the log cannot be written; the daemon serves on.
            with suppress(OSError, ValueError):
                while data:
                    data = data[self._write_some(data) :]

    def _write_some(self, data: bytes) -> int:
        try:
            return os.write(self._descriptor, data)
        except BlockingIOError:
            # Whoever shares the terminal or pipe with us has made it non-blocking.
            select.select([], [self._descriptor], [])
            return 0


class _Sink:
    """What structlog writes its finished lines to."""

    def __init__(self, writer: LineWriter) -> None:
        self.debug = self.info = self.warning = self.error = self.critical = writer.write


class _Forward(logging.Handler):
    """Carries what libraries log (asyncio above all) into the same log."""

    def emit(self, record: logging.LogRecord) -> None:
        failure = record.exc_info[1] if record.exc_info else None
        with suppress(Exception):
            structlog.get_logger().log(
                record.levelno, record.getMessage(), logger=record.name, exc_info=failure
            )


_writer: LineWriter | None = None
_quiet = True


def configure(log_format: str = "auto", level: str = "info", descriptor: int = 2) -> None:
    """Send the process's log to `descriptor`. Call once, before the first line; `close()` ends it.

    `log_format` is json, console or auto (console if `descriptor` is a terminal).
    """
    global _writer, _quiet
    close()
    _writer = LineWriter(descriptor)
    sink = _Sink(_writer)
    _quiet = LEVELS[level] > LEVELS["debug"]
    terminal = os.isatty(descriptor)
    if log_format == "console" or (log_format == "auto" and terminal):
        render: Any = structlog.dev.ConsoleRenderer(
            colors=terminal, exception_formatter=structlog.dev.plain_traceback
        )
        shape: list[Any] = [render]
    else:
        shape = [structlog.processors.format_exc_info, _to_json]
    structlog.configure(
        processors=[_stamp, *shape],
        wrapper_class=structlog.make_filtering_bound_logger(LEVELS[level]),
        logger_factory=lambda *_: sink,
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [_Forward()]
    root.setLevel(max(LEVELS[level], LEVELS["warning"]))
    logging.captureWarnings(True)
    _operations.bind()


def close() -> None:
    """Write out what is queued and end the writing thread."""
    global _writer
    if _writer is not None:
        _writer.close()
        _writer = None


def incident(error: BaseException, **where: object) -> str:
    """Log an unexpected exception with its traceback; gives the incident's name, which may be
    told to a client."""
    name = secrets.token_hex(4)
    structlog.get_logger().error("unexpected failure", incident=name, exc_info=error, **where)
    return name


class _Operations:
    """The logger of operations, bound once: get_logger() costs more than the line."""

    def __init__(self) -> None:
        self.bind()

    def bind(self) -> None:
        self.log = structlog.get_logger().bind()


_operations = _Operations()


def log_operation(
    name: str,
    *,
    user: str,
    session: str,
    ctxid: int | None,
    code: int,
    ms: float,
    reads: bool,
    incident: str | None = None,
    target: str = "",
    address: str = "",
    detail: str = "",
) -> None:
    """Log one operation. `session` is its label, `ms` the time until its last response, `target`
    the user or the model that it was to change, `detail` why it was refused: nothing that a
    request said may stand in it.

    Successful reads, and every exec_next, are debug lines; an incident is an error.
    """
    routine = incident is None and (name == "exec_next" or (reads and code in _SUCCESS))
    if routine and _quiet:
        return
    what: dict[str, object] = {"code": code, "ms": round(ms, 3)}
    if user:
        what["user"] = user
    if session:
        what["session"] = session
    if ctxid is not None:
        what["ctxid"] = ctxid
    if target:
        what["target"] = target
    if address:
        what["address"] = address
    if detail:
        what["detail"] = detail
    if incident is not None:
        _operations.log.error(name, incident=incident, **what)
    elif routine:
        _operations.log.debug(name, **what)
    else:
        _operations.log.info(name, **what)


def _stamp(_: Any, level: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    now = time.time()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
    stamped = {
        "timestamp": f"{seconds}.{int(now % 1 * 1000):03d}Z",
        "level": level,
        "event": event["event"],
    }
    stamped.update(event)
    return stamped


def _to_json(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    return json.dumps(event, ensure_ascii=False, separators=(",", ":"), default=repr)
