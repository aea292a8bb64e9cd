"""The log: its lines, what is never in it, and standard errors that fail."""

from __future__ import annotations

import json
import logging
import os
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from infd import logs


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """The process's logging is as it was after each test."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    logs.close()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class Sink:
    def __init__(self, file: Path) -> None:
        self._file = file
        self.descriptor = os.open(file, os.O_RDWR | os.O_CREAT)

    def text(self) -> str:
        logs.close()
        return self._file.read_text()

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.text().splitlines()]


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    made = Sink(tmp_path / "log")
    yield made
    os.close(made.descriptor)


def operation(name: str = "inf_load_model", **changes: Any) -> None:
    given: dict[str, Any] = {
        "user": "ada", "session": "0123abcd", "ctxid": None, "code": 2000, "ms": 1.23456,
        "reads": False,
    }  # fmt: skip
    logs.log_operation(name, **(given | changes))


def test_an_operation_is_one_line(sink: Sink) -> None:
    logs.configure("json", "info", sink.descriptor)
    operation(ctxid=3)
    (line,) = sink.lines()
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "level": "info", "event": "inf_load_model", "code": 2000, "ms": 1.235, "user": "ada",
        "session": "0123abcd", "ctxid": 3,
    }  # fmt: skip


def test_what_an_operation_was_to_change_is_told(sink: Sink) -> None:
    logs.configure("json", "info", sink.descriptor)
    operation(target="tiny")
    operation()
    first, second = sink.lines()
    assert first["target"] == "tiny"
    assert "target" not in second


def test_routine_is_debug(sink: Sink) -> None:
    logs.configure("json", "info", sink.descriptor)
    operation("inf_get_users", reads=True)
    operation("inf_get_context_status", reads=True, code=2010)
    operation("exec_next", code=3000)
    operation("exec_next", code=3003)
    operation("inf_get_users", reads=True, code=2008)
    operation("exec_next", code=1099, incident="cafe")
    assert [(line["event"], line["code"], line["level"]) for line in sink.lines()] == [
        ("inf_get_users", 2008, "info"),
        ("exec_next", 1099, "error"),
    ]


def test_debug_shows_routine(sink: Sink) -> None:
    logs.configure("json", "debug", sink.descriptor)
    operation("exec_next", code=3000)
    assert sink.lines()[0]["level"] == "debug"


def test_an_incident_has_its_traceback(sink: Sink) -> None:
    logs.configure("json", "info", sink.descriptor)
    try:
        raise LookupError("of a test")
    except LookupError as error:
        name = logs.incident(error, operation="inf_hello")
    (line,) = sink.lines()
    assert (line["incident"], line["operation"]) == (name, "inf_hello")
    assert "LookupError: of a test" in line["exception"]
    assert "test_logs.py" in line["exception"]


def test_what_libraries_log_is_in_it(sink: Sink) -> None:
    logs.configure("json", "info", sink.descriptor)
    logging.getLogger("asyncio").error("slow %s", "thing")
    logging.getLogger("asyncio").info("chatter")
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        warnings.warn("careful", stacklevel=1)
    first, second = sink.lines()
    assert (first["event"], first["logger"]) == ("slow thing", "asyncio")
    assert "careful" in second["event"]


def test_console_lines_are_for_people(sink: Sink) -> None:
    logs.configure("console", "info", sink.descriptor)
    operation()
    text = sink.text()
    assert "inf_load_model" in text
    assert "user=ada" in text
    assert "\x1b" not in text


def test_auto_is_json_where_no_terminal_is(sink: Sink) -> None:
    logs.configure("auto", "info", sink.descriptor)
    operation()
    assert sink.lines()[0]["event"] == "inf_load_model"


def test_any_text_is_one_line(sink: Sink) -> None:
    logs.configure("json", "info", sink.descriptor)
    structlog.get_logger().info("a\nb\ud800", text="ü\n\x00", other=object)
    (line,) = sink.text().splitlines()
    assert json.loads(line)["text"] == "ü\n\x00"


def test_many_threads_lose_nothing(sink: Sink) -> None:
    logs.configure("json", "info", sink.descriptor)

    def write(name: int) -> None:
        for number in range(200):
            structlog.get_logger().info("line", thread=name, number=number)

    threads = [threading.Thread(target=write, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seen = [(line["thread"], line["number"]) for line in sink.lines()]
    assert len(seen) == len(set(seen)) == 1600
    for name in range(8):
        assert [number for thread, number in seen if thread == name] == list(range(200))


def test_a_reader_that_stalls_holds_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines beyond the queue are dropped and counted; the count is a line when reading goes on."""
    monkeypatch.setattr(logs, "QUEUE_LINES", 100)
    reading, writing = os.pipe()
    logs.configure("json", "info", writing)
    for number in range(20000):  # a pipe holds 64 KiB: some 500 of these
        structlog.get_logger().info("line", number=number)
    text: list[bytes] = []
    reader = threading.Thread(
        target=lambda: text.extend(iter(lambda: os.read(reading, 65536), b""))
    )
    reader.start()
    logs.close()
    os.close(writing)
    reader.join()
    os.close(reading)
    lines = [json.loads(line) for line in b"".join(text).splitlines()]
    written = sum(line["event"] == "line" for line in lines)
    dropped = sum(line["lines"] for line in lines if line["event"] == "log lines were dropped")
    assert dropped > 0
    assert written + dropped == 20000


def test_a_descriptor_that_does_not_block_loses_nothing() -> None:
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    logs.configure("json", "info", writing)
    for number in range(3000):  # several times what the pipe holds
        structlog.get_logger().info("line", number=number)
    closing = threading.Thread(target=lambda: (logs.close(), os.close(writing)))
    closing.start()
    with open(reading) as pipe:
        numbers = [json.loads(line)["number"] for line in pipe]
    closing.join()
    assert numbers == list(range(3000))


@pytest.mark.parametrize("kind", ["closed pipe", "full disk", "closed descriptor"])
def test_a_broken_standard_error_ends_nothing(kind: str) -> None:
    if kind == "full disk":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reading, descriptor = os.pipe()
        os.close(reading)
        if kind == "closed descriptor":
            os.close(descriptor)
            descriptor = 999
    logs.configure("json", "info", descriptor)
    for _ in range(1000):
        operation()
    logs.close()
    if descriptor != 999:
        os.close(descriptor)
