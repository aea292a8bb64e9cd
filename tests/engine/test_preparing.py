"""Turns at preparing prompts."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

import pytest
from support.worker_bench import HELLO, Bench

from infd.engine import preparing
from infd.engine import worker as workers
from infd.engine.preparing import GRACE, PART, Preparing
from infd.engine.prompt import build_prompt
from infd.engine.swap import SwapFolder
from infd.engine.worker import RunRequest

HALF = RunRequest(HELLO, max_tokens=0)
"""A run that only evaluates its prompt."""


class Work:
    """Something to be prepared that goes on until `end` is set."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.end = asyncio.Event()
        self.over = False

    async def do(self) -> str:
        self.began.set()
        await self.end.wait()
        self.over = True
        return "done"


def nothing() -> float:
    return 0.0


async def test_one_at_a_time_and_who_leaves_the_queue_is_not_begun() -> None:
    turns = Preparing()
    one, two, three = works = [Work() for _ in range(3)]
    tasks = [asyncio.ensure_future(turns.take(work.do, nothing)) for work in works]
    await one.began.wait()
    tasks[1].cancel()
    one.end.set()
    assert await tasks[0] == "done"
    await three.began.wait()
    assert not two.began.is_set()
    three.end.set()
    assert await tasks[2] == "done"
    assert tasks[1].cancelled()


async def test_what_nobody_waits_for_any_more_keeps_the_turn_until_it_is_over() -> None:
    turns = Preparing()
    one, two = Work(), Work()
    first = asyncio.ensure_future(turns.take(one.do, nothing))
    await one.began.wait()
    first.cancel()
    await asyncio.wait({first})
    second = asyncio.ensure_future(turns.take(two.do, nothing))
    asyncio.get_running_loop().call_soon(one.end.set)
    await two.began.wait()
    assert one.over
    two.end.set()
    assert await second == "done"


async def test_a_failure_gives_the_turn_back() -> None:
    turns = Preparing()

    async def fail() -> None:
        raise ValueError("no template")

    for _ in range(2):
        with pytest.raises(ValueError, match="no template"):
            await turns.take(fail, nothing)


async def test_who_took_much_waits_until_it_is_made_up_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a virtual clock: half a core in the long run, and a second of it in advance."""
    now = 100.0
    took = 0.0

    async def sleep(seconds: float) -> None:
        nonlocal now
        now += max(0.0, seconds)

    async def work() -> None:
        nonlocal now, took
        now += 0.4
        took += 0.4

    monkeypatch.setattr(preparing, "monotonic", lambda: now)
    monkeypatch.setattr(preparing.asyncio, "sleep", sleep)
    turns = Preparing()
    for n in range(1, 200):
        await turns.take(work, lambda: 0.4)
        assert took <= PART * (now - 100.0) + GRACE + 0.4 + 1e-6
        if n <= 2:
            assert now == pytest.approx(100.0 + 0.4 * n)
    assert took > 0.9 * PART * (now - 100.0)


async def test_what_is_being_prepared_stays(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Leaving would wait for the end of it, and others for the leaving."""
    folder = SwapFolder(tmp_path / "swap", 10**9)
    folder.open()
    held = await bench.worker(ctxsize=1024, swap=folder)
    await bench.reply(held, HALF)
    reached, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def held_up(*args: Any) -> list[int]:
        loop.call_soon_threadsafe(reached.set)
        gate.wait()
        return build_prompt(*args)

    with monkeypatch.context() as patch:
        patch.setattr(workers, "build_prompt", held_up)
        preparing = asyncio.ensure_future(held.prepare(RunRequest(HELLO)))
        await reached.wait()
        assert not await held.swap_out(unsaved=True)
        preparing.cancel()
        await asyncio.wait({preparing})
        assert not await held.swap_out(unsaved=True)
        gate.set()
    # The next one is prepared behind it; then it can leave.
    await bench.reply(held, HALF)
    assert await held.swap_out()
