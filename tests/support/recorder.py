"""Every response that a client in this process receives, held against its operation's row.

Recorded are tests that use a real daemon (they import `support.daemon` or a fixture made with
it), not those that speak to a scripted server. The run fails at its end when a response was not
as the table says, and, when the whole suite ran, when an operation or one of its codes was never
seen.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from infd_protocol import codes
from infd_protocol.connection import Connection, Response
from infd_protocol.operations import OPERATIONS, Key, Operation, resolve
from infd_protocol.values import CHECKS

FIXTURES = {"daemon", "client", "shared_daemon", "fresh_daemon"}
FRAME_CODES = {codes.PKT_TOO_LARGE, codes.PKT_INVALID_FORMAT, codes.PKT_OVERLOADED}
SERVERS_OWN = {
    codes.PKT_TIMED_OUT, codes.PKT_TOO_LARGE, codes.PKT_INVALID_FORMAT, codes.INF_MAXIMUM_CLIENTS,
}  # fmt: skip
"""Codes that come with seq 0."""
REFUSAL_KEYS = {
    "RETRY_AFTER": {1022},
    "INCIDENT": {1099},
    "UNKNOWN": {2016},
    "MISSING": {2004},
    "TOKENS": {3005},
    "LIMIT": {2019, 2020, 3005},
}
ALWAYS = {1022: "RETRY_AFTER", 1099: "INCIDENT", 3005: "TOKENS"}
SOMEWHERE = {codes.PKT_UNDEFINED_OPERATION, codes.PKT_OVERLOADED, codes.PKT_INTERNAL_ERROR}

_active = False
_seen: set[tuple[str, int]] = set()
_wrong: list[str] = []


def saw(op: str, seq: int, code: int, keys: Mapping[str, Any], data: Any) -> None:
    """Take note of a response; `op` is what its request named, "" if nobody knows."""
    if not _active:
        return
    row = resolve(op)
    name = row.name if row else ("" if seq == 0 else op or "?")
    _seen.add((name, code))
    complaint = disagreement(row, op, seq, code, keys, data)
    if complaint and len(_wrong) < 50:
        _wrong.append(f"{op or 'seq 0'} answered {code} {dict(keys)}: {complaint}"[:300])


def disagreement(
    row: Operation | None, op: str, seq: int, code: int, keys: Mapping[str, Any], data: Any
) -> str:
    """What is wrong with a response, or ""."""
    if seq == 0:
        return "" if code in SERVERS_OWN and _explained(keys) else "not the server's own"
    if row is None:
        known = code in {*FRAME_CODES, codes.PKT_UNDEFINED_OPERATION}
        return "" if not op or (known and _explained(keys)) else "no such operation"
    if code in row.success and not (code == codes.INF_CONTEXT_INITIALIZING and "DETAIL" in keys):
        return _success_disagreement(row, keys, data)
    if code not in {*row.may_answer, *FRAME_CODES}:
        return "a code that is not the operation's"
    if not _explained(keys):
        return "a refusal without a sentence in DETAIL"
    if data is not None:
        return "a refusal with data"
    for key in keys:
        if key != "DETAIL" and code not in REFUSAL_KEYS.get(key, ()):
            return f"a refusal with the key {key}"
    needed = ALWAYS.get(code)
    return f"{needed} is missing" if needed and needed not in keys else ""


def _explained(keys: Mapping[str, Any]) -> bool:
    detail = keys.get("DETAIL")
    return isinstance(detail, str) and 3 < len(detail) <= 1000 and "\n" not in detail


def _success_disagreement(row: Operation, keys: Mapping[str, Any], data: Any) -> str:
    gives = {key.name: key for key in row.gives}
    for name, value in keys.items():
        if name not in gives:
            return f"{name} is not in the row"
        if complaint := _value_disagreement(gives[name], value):
            return complaint
    missing = [name for name, key in gives.items() if not key.optional and name not in keys]
    if missing:
        return f"{missing} missing"
    if data is not None and not row.data_out:
        return "data where the row has none"
    return ""


def _value_disagreement(key: Key, value: Any) -> str:
    try:
        CHECKS[key.kind](value)
    except ValueError as error:
        return f"{key.name} {error}"
    return ""


def missing() -> list[str]:
    """What the table lists and no test has seen."""
    wanted: set[tuple[str, int]] = set()
    for row in OPERATIONS.values():
        own = {*row.success, *row.codes, codes.INF_INVALID_PARAMS}
        if row.session:
            own.add(codes.INF_SESSION_TOKEN_MISMATCH)
        if row.flag:
            own.add(codes.INF_AUTHORIZATION_FAILED)
        wanted |= {(row.name, code) for code in own}
    wanted |= {("", code) for code in SERVERS_OWN}
    lacking = [f"{op or 'seq 0'}: {code}" for op, code in sorted(wanted - _seen)]
    lacking += [f"any operation: {code}" for code in SOMEWHERE - {code for _, code in _seen}]
    return lacking


def _uses_a_daemon(item: pytest.Item) -> bool:
    names = set(getattr(item, "fixturenames", ()))
    values = vars(getattr(item, "module", object)).values()
    homes = {getattr(value, "__module__", None) for value in values}
    homes |= {getattr(value, "__name__", None) for value in values}
    scripted = "support.scripted_server" in homes
    real = names & FIXTURES or homes & {"support.daemon", "support.raw_client"}
    return bool(real) and not scripted


class Recorder:
    """The pytest plugin. It wraps `Connection`, in the tests' process alone."""

    def __init__(self, config: pytest.Config) -> None:
        self._whole = _is_whole(config)
        self._complaints: list[str] = []
        _wrap()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Any:
        global _active
        _active = _uses_a_daemon(item)
        try:
            return (yield)
        finally:
            _active = False

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        self._complaints = list(_wrong)
        if self._whole and exitstatus in (0, 1):
            self._complaints += [f"never exercised: {what}" for what in missing()]
        if self._complaints and exitstatus == 0:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        scope = "every operation and code" if self._whole else "a part of the suite"
        terminalreporter.write_line(
            f"recorder: {len(_seen)} pairs of operation and code seen, "
            f"{len(self._complaints)} complaints ({scope})"
        )
        if self._complaints:
            terminalreporter.section("the operations table and what was answered", red=True)
            for line in self._complaints:
                terminalreporter.write_line(line)


def _is_whole(config: pytest.Config) -> bool:
    option = config.option
    narrowed = option.keyword or option.markexpr or getattr(option, "lf", False)
    narrowed = narrowed or option.collectonly or getattr(option, "deselect", None)
    narrowed = narrowed or getattr(option, "ignore", None)
    return config.args_source is pytest.Config.ArgsSource.TESTPATHS and not narrowed


def _wrap() -> None:
    send_request, read_response = Connection.send_request, Connection._read_response
    asked: dict[tuple[int, int], str] = {}

    def sending(
        self: Connection, op: str, keys: Mapping[str, Any], data: str | None = None
    ) -> tuple[int, bytes]:
        seq, wire = send_request(self, op, keys, data)
        asked[id(self), seq] = op
        return seq, wire

    def reading(self: Connection, body: bytes) -> Any:
        event = read_response(self, body)
        if isinstance(event, Response):
            op = asked.get((id(self), event.seq), "")
            saw(op, event.seq, event.code, event.keys, event.data)
        return event

    Connection.send_request = sending  # type: ignore[method-assign]
    Connection._read_response = reading  # type: ignore[method-assign]
