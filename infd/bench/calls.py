"""How many small calls a second, and how long one takes beside a decode.

The callers are processes of their own, so that their work is not the daemon's. One (caller.py)
sends frames made beforehand and counts answers: what the daemon can take. One is a program that
uses the library as its documents say, as this package does not: what a program can get.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from typing import Any

from infd import children
from infd.bench.decoding import Subject
from infd.bench.report import Row
from infd.bench.throwaway import ADMIN, Throwaway
from infd.bench.wire import Wire

INTERVAL = 0.005
"""Seconds between two calls beside a decode."""

LIBRARY = """
import asyncio, importlib, json, sys, time

from infd_client import AsyncClient

async def main(host, port, username, acctok, calls):
    async with AsyncClient(host, port) as client:
        await client.login(username, acctok)
        each = -(-calls // 256)

        async def one():
            for _ in range(each):
                await client.inf_get_context_ids()

        began = time.perf_counter()
        await asyncio.gather(*(one() for _ in range(256)))
        seconds = time.perf_counter() - began
    print(json.dumps({"seconds": seconds / (each * 256) * calls}))

request = json.loads(sys.stdin.readline())
importlib.import_module(request.pop("loop")).run(main(**request))
"""


class CallerFailed(Exception):
    """A calling process ended without an answer; one line for people."""


def _ask(process: subprocess.Popen[str], **request: Any) -> None:
    assert process.stdin is not None
    process.stdin.write(json.dumps(request) + "\n")
    process.stdin.flush()


def _answer(process: subprocess.Popen[str]) -> Any:
    said, complaint = process.communicate()
    last = (complaint.strip().splitlines() or ["it said nothing"])[-1]
    try:
        answer = json.loads(said)
    except ValueError:
        raise CallerFailed(f"a process that calls the daemon failed: {last}") from None
    if "error" in answer:
        raise CallerFailed(f"a process that calls the daemon failed: {answer['error']}")
    return answer["seconds"]


def _process(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command, env=children.environment(), text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def _raw(wire: Wire, ctxid: int, **request: Any) -> subprocess.Popen[str]:
    process = _process(children.command("infd.bench.caller"))
    host, port = wire.address.host, wire.address.port
    _ask(process, host=host, port=port, stok=wire.stok, ctxid=ctxid, **request)
    return process


def flood(wire: Wire, *, rounds: int, calls: int) -> Row:
    """Pipelined calls a second on one connection, from frames made beforehand."""
    rates = [calls / _answer(_raw(wire, 0, do="flood", calls=calls)) for _ in range(rounds)]
    return Row(
        "calls_raw", "pipelined small calls on one connection, raw", tuple(rates), "/s", 50_000,
        beside={"calls a round": calls},
    )  # fmt: skip


def library(daemon: Throwaway, *, rounds: int, calls: int) -> list[Row]:
    """Calls a second through the library's AsyncClient, on one connection: with asyncio's own
    loop, as the library comes, and with uvloop, which a program may choose."""
    rates: dict[str, list[float]] = {"asyncio": [], "uvloop": []}
    host, port = daemon.address.host, daemon.address.port
    for _ in range(rounds):
        for loop, found in rates.items():
            process = _process([sys.executable, "-P", "-c", LIBRARY])
            _ask(process, loop=loop, host=host, port=port, username=ADMIN,
                 acctok=daemon.acctok, calls=calls)  # fmt: skip
            found.append(calls / _answer(process))
    return [
        Row(
            f"calls_library_{loop}",
            f"pipelined small calls on one connection, AsyncClient on {loop}",
            tuple(found), "/s", 20_000, beside={"calls a round": calls},
        )
        for loop, found in rates.items()
    ]  # fmt: skip


def beside_decode(
    daemon: Throwaway, wire: Wire, subject: Subject, *, rounds: int, calls: int
) -> list[Row]:
    """The time of a call every INTERVAL while a context generates with one thread."""
    daemon.set_threads(wire, 1)
    ctxid = wire.context(subject.name, subject.ctxsize)
    found: dict[str, list[tuple[float, float]]] = {"calls": [], "bare": []}
    for _ in range(rounds):
        for side, took in _paced(wire, ctxid, subject, calls).items():
            tail = sorted(took)[min(len(took) - 1, len(took) * 99 // 100)]
            found[side].append((1000 * statistics.median(took), 1000 * tail))
    wire.call("inf_destroy_context", CTXID=ctxid)
    rows = []
    for index, (name, target) in enumerate((("p50", 0.15), ("p99", 1.0))):
        rows.append(
            Row(
                f"call_{name}", f"a call every {INTERVAL * 1000:g} ms beside a 1-thread decode, "
                f"{name}", tuple(pair[index] for pair in found["calls"]), "ms", target,
                at_least=False,
                beside={
                    "a bare echo at the same time": statistics.median(
                        pair[index] for pair in found["bare"]
                    ),
                    "calls a round": calls, "model": subject.name,
                },
            )
        )  # fmt: skip
    return rows


def _paced(wire: Wire, ctxid: int, subject: Subject, calls: int) -> dict[str, list[float]]:
    process: subprocess.Popen[str] | None = None
    try:
        while process is None or process.poll() is None:
            wire.call("inf_clear_context_history", CTXID=ctxid)
            reading = wire.begin(ctxid, subject.long_prompt(), subject.ctxsize)
            for answer in wire.pieces(reading):
                if process is None:
                    process = _raw(wire, ctxid, do="pace", calls=calls, interval=INTERVAL)
                elif process.poll() is not None and not answer.keys.get("IS_SPECIAL"):
                    wire.call("exec_stop", CTXID=ctxid)
        took: dict[str, list[float]] = _answer(process)
        return took
    finally:
        if process is not None and process.poll() is None:
            process.kill()
            process.wait()
