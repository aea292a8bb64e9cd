"""Contexts that leave memory and come back: the conversation goes on as if they had stayed."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.worker_bench import Bench, Reply

from infd.engine import snapshot as snapshots
from infd.engine.context import LlamaContext
from infd.engine.errors import ContextError
from infd.engine.snapshot import Snapshot
from infd.engine.swap import Away, SwapFolder
from infd.engine.worker import Aborted, Failed, RunRequest, Worker

MESSAGES = (
    ("system", "You are Ada."),
    ("user", "My name is Bob. What is infd?"),
    ("assistant", "infd is a daemon."),
    ("user", "What is my name?"),
)
MIB = 2**20


@pytest.fixture
def folder_of_swaps(tmp_path: Path) -> SwapFolder:
    folder = SwapFolder(tmp_path / "swap", 10**9)
    folder.open()
    return folder


def turn(n: int, most: int = 20) -> RunRequest:
    return RunRequest(MESSAGES[:n], max_tokens=most)


def files(folder: SwapFolder) -> list[Path]:
    return sorted(folder.path.iterdir())


async def begun(bench: Bench, kind: str, folder: SwapFolder) -> Worker:
    worker = await bench.worker(kind, ctxsize=1024, swap=folder)
    await bench.reply(worker, turn(2, most=0))
    return worker


@pytest.mark.parametrize("kind", ["bpe", "quantised", "recurrent", "sliding", "demo"])
async def test_a_conversation_goes_on_without_computing_again(
    bench: Bench, folder_of_swaps: SwapFolder, kind: str
) -> None:
    stays, leaves = [await begun(bench, kind, folder_of_swaps) for _ in range(2)]
    used = leaves.tokens_used
    assert used > 0
    for _ in range(2):
        assert await leaves.swap_out()
        assert leaves.asleep
        assert leaves.tokens_used == used
        assert leaves.memory.total == 0
        (file,) = files(folder_of_swaps)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert not await leaves.swap_out()
        replies = [await bench.reply(worker, turn(4)) for worker in (stays, leaves)]
        assert replies[0].text == replies[1].text
        one, two = (reply.finished for reply in replies)
        assert one.tokens_cached == two.tokens_cached >= min(used, two.tokens_in - 1)
        assert not leaves.asleep
        assert files(folder_of_swaps) == []
        assert folder_of_swaps.used == 0
        used = leaves.tokens_used
        if kind in ("recurrent", "sliding"):
            # The same prompt again is a cut, which the first cannot have, and of the second
            # nothing is saved that lies before its window.
            break
    assert stat.S_IMODE(folder_of_swaps.path.stat().st_mode) == 0o700


def damage_changed(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def damage_cut(file: Path) -> None:
    os.truncate(file, file.stat().st_size - 5)


@pytest.mark.parametrize("damage", [damage_changed, damage_cut, Path.unlink])
async def test_what_cannot_be_read_is_computed_again(
    bench: Bench, folder_of_swaps: SwapFolder, damage: Callable[[Path], None]
) -> None:
    stays, leaves = [await begun(bench, "demo", folder_of_swaps) for _ in range(2)]
    expected = await bench.reply(stays, turn(4))
    assert await leaves.swap_out()
    damage(files(folder_of_swaps)[0])
    reply = await bench.reply(leaves, turn(4))
    assert reply.text == expected.text
    assert reply.finished.tokens_cached == 0
    assert files(folder_of_swaps) == []
    assert folder_of_swaps.used == 0


async def test_what_cannot_be_saved_stays_unless_memory_is_wanted(
    bench: Bench, tmp_path: Path
) -> None:
    folder = SwapFolder(tmp_path / "swap", 100)
    folder.open()
    stays, leaves = [await begun(bench, "demo", folder) for _ in range(2)]
    expected = await bench.reply(stays, turn(4))
    assert not await leaves.swap_out()
    assert not leaves.asleep
    assert await leaves.swap_out(unsaved=True)
    assert leaves.tokens_used == 0
    reply = await bench.reply(leaves, turn(4))
    assert (reply.text, reply.finished.tokens_cached) == (expected.text, 0)
    assert files(folder) == []
    homeless = await bench.worker("demo")
    assert not await homeless.swap_out(unsaved=True)


async def test_without_memory_for_a_copy_nothing_fails(
    bench: Bench, folder_of_swaps: SwapFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise MemoryError

    expected = await bench.reply(await begun(bench, "demo", folder_of_swaps), turn(4))
    leaves = await begun(bench, "demo", folder_of_swaps)
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "bytearray", refused, raising=False)
        assert not await leaves.swap_out()
    assert leaves.tokens_used > 0
    assert await leaves.swap_out()
    with monkeypatch.context() as patch:
        patch.setattr(snapshots, "bytearray", refused, raising=False)
        reply = await bench.reply(leaves, turn(4))
    assert (reply.text, reply.finished.tokens_cached) == (expected.text, 0)
    assert (files(folder_of_swaps), folder_of_swaps.used) == ([], 0)


async def test_a_context_that_cannot_be_brought_back_is_freed(
    bench: Bench, folder_of_swaps: SwapFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    leaves = await begun(bench, "demo", folder_of_swaps)
    assert await leaves.swap_out()

    def broken(*_: object) -> None:
        raise LookupError

    model = bench.models("demo")
    before = model.open_contexts
    with monkeypatch.context() as patch:
        patch.setattr(Away, "load", broken)
        assert isinstance((await bench.reply(leaves, turn(4))).end, Failed)
    assert model.open_contexts <= before
    await leaves.reopen()
    assert (await bench.reply(leaves, turn(4))).finished.tokens_out > 0


async def test_ending_and_clearing_leave_no_file(bench: Bench, folder_of_swaps: SwapFolder) -> None:
    closed, cleared, reopened, empty = [
        await begun(bench, "demo", folder_of_swaps) for _ in range(4)
    ]
    await empty.clear()
    for worker in (closed, cleared, reopened, empty):
        assert await worker.swap_out()
    assert len(files(folder_of_swaps)) == 3
    await closed.close()
    await cleared.clear()
    assert cleared.tokens_used == 0
    await reopened.reopen()
    assert files(folder_of_swaps) == []
    assert folder_of_swaps.used == 0
    for worker in (cleared, reopened, empty):
        assert (await bench.reply(worker, turn(2))).finished.tokens_cached == 0


async def test_a_run_is_never_put_out(bench: Bench, folder_of_swaps: SwapFolder) -> None:
    worker = await bench.worker("bpe", swap=folder_of_swaps)
    reply = await bench.start(worker, turn(2, most=200))
    await reply.begun.wait()
    assert not await worker.swap_out(unsaved=True)
    worker.end()
    await reply.ended.wait()
    # One that begins right behind the saving brings the context back at once.
    asked = await worker.prepare(turn(4))
    out = worker.swap_out()
    step = out.send(None)
    worker.run(asked, reply_to := Reply(worker))
    await reply_to.ended.wait()
    assert step is not None
    assert reply_to.finished.tokens_out > 0
    assert not worker.asleep
    out.close()


@pytest.mark.parametrize("bench", ["batched"], indirect=True)
async def test_in_a_batch_a_run_does_not_wait_for_the_writing(
    bench: Bench, folder_of_swaps: SwapFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither its own context's, which then is of no use, nor another's."""
    stays, leaves = [await begun(bench, "demo", folder_of_swaps) for _ in range(2)]
    writing, written = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    original = SwapFolder.save

    def held_up(folder: SwapFolder, snapshot: Snapshot, key: str) -> Away:
        away = original(folder, snapshot, key)
        loop.call_soon_threadsafe(writing.set)
        written.wait()
        return away

    monkeypatch.setattr(SwapFolder, "save", held_up)
    prepared = [await worker.prepare(turn(4)) for worker in (stays, leaves)]
    leaving = asyncio.ensure_future(leaves.swap_out())
    await writing.wait()
    assert leaves.tokens_used > 0
    replies = [Reply(stays), Reply(leaves)]
    for worker, asked, reply in zip((stays, leaves), prepared, replies, strict=True):
        worker.run(asked, reply)
        await reply.ended.wait()
    assert replies[0].text == replies[1].text
    assert replies[1].finished.tokens_cached == replies[0].finished.tokens_cached > 0
    written.set()
    assert not await leaving
    assert not leaves.asleep
    assert (files(folder_of_swaps), folder_of_swaps.used) == ([], 0)
    # One that is closed meanwhile leaves nothing either.
    writing.clear()
    written.clear()
    leaving = asyncio.ensure_future(leaves.swap_out())
    await writing.wait()
    closing = asyncio.ensure_future(leaves.close())
    written.set()
    await closing
    assert not await leaving
    assert (files(folder_of_swaps), folder_of_swaps.used) == ([], 0)


async def test_an_interruption_reaches_a_run_that_is_brought_back(
    bench: Bench, folder_of_swaps: SwapFolder
) -> None:
    worker = await begun(bench, "demo", folder_of_swaps)
    assert await worker.swap_out()
    reply = await bench.start(worker, turn(4))
    worker.abort()
    await reply.ended.wait()
    assert isinstance(reply.end, Aborted)
    assert (await bench.reply(worker, turn(4))).finished.tokens_out > 0


@pytest.mark.parametrize("bench", ["batched"], indirect=True)
async def test_what_was_read_for_a_run_that_ended_before_its_place_leaves_memory(
    bench: Bench, folder_of_swaps: SwapFolder
) -> None:
    stays, leaves = [await begun(bench, "demo", folder_of_swaps) for _ in range(2)]
    expected = await bench.reply(stays, turn(4))
    assert await leaves.swap_out()
    away, border, busy = leaves._engine.away, leaves._border, threading.Event()
    assert away is not None
    assert border is not None
    asked, reply = await leaves.prepare(turn(4)), Reply(leaves)
    assert away.fetched

    def occupy() -> None:
        busy.wait()

    border.put(occupy)
    leaves.run(asked, reply)
    leaves.abort()
    busy.set()
    await reply.ended.wait()
    assert isinstance(reply.end, Aborted)
    assert leaves.asleep
    assert not away.fetched
    assert files(folder_of_swaps) == [away.path]
    again = await bench.reply(leaves, turn(4))
    assert again.text == expected.text
    assert again.finished.tokens_cached == expected.finished.tokens_cached > 0
    assert (files(folder_of_swaps), folder_of_swaps.used) == ([], 0)
    # One that is closed then leaves nothing on disk either.
    assert await leaves.swap_out()
    await leaves.prepare(turn(4))
    await leaves.close()
    assert (files(folder_of_swaps), folder_of_swaps.used) == ([], 0)


async def test_two_who_want_it_away_at_once_leave_one_file(
    bench: Bench, folder_of_swaps: SwapFolder
) -> None:
    worker = await begun(bench, "demo", folder_of_swaps)
    out = await asyncio.gather(worker.swap_out(), worker.swap_out(), worker.swap_out())
    assert sorted(out) == [False, False, True]
    assert len(files(folder_of_swaps)) == 1
    assert (await bench.reply(worker, turn(4))).finished.tokens_cached > 0


@pytest.mark.parametrize("bench", ["batched"], indirect=True)
async def test_what_was_read_for_a_cancelled_preparation_leaves_memory(
    bench: Bench, folder_of_swaps: SwapFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await begun(bench, "demo", folder_of_swaps)
    assert await worker.swap_out()
    away, preparer = worker._engine.away, worker._preparer
    assert away is not None
    assert preparer is not None
    loop, reading, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()
    original = Away.fetch

    def fetch(self: Away) -> None:
        loop.call_soon_threadsafe(reading.set)
        go_on.wait()
        original(self)

    monkeypatch.setattr(Away, "fetch", fetch)
    preparing = asyncio.ensure_future(worker.prepare(turn(4)))
    await reading.wait()
    preparing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await preparing
    go_on.set()
    assert await preparer.call(lambda: away.fetched) is False
    assert files(folder_of_swaps) == [away.path]


async def test_a_window_that_was_brought_back_is_not_cut_beyond_what_it_holds(
    bench: Bench, folder_of_swaps: SwapFolder
) -> None:
    """The prompt is computed again then; a model without a window is cut as ever."""
    long = (("user", "count " * 40), ("assistant", "no"), ("user", "why?"))
    early = (("user", "count " * 12 + "stop"),)
    fresh = await bench.reply(await bench.worker("sliding"), RunRequest(early, max_tokens=20))
    for kind in ("sliding", "bpe"):
        leaves = await bench.worker(kind, swap=folder_of_swaps)
        await bench.reply(leaves, RunRequest(long, max_tokens=0))
        assert leaves.tokens_used > 3 * 32
        assert await leaves.swap_out()
        reply = await bench.reply(leaves, RunRequest(early, max_tokens=20))
        assert (reply.finished.tokens_cached == 0) == (kind == "sliding")
        if kind == "sliding":
            assert reply.text == fresh.text


# In a batch the instance is there already; a seat takes nothing of its own.
@pytest.mark.parametrize("bench", ["dedicated"], indirect=True)
async def test_without_memory_the_run_ends_and_the_context_stays_saved(
    bench: Bench, folder_of_swaps: SwapFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    stays, leaves = [await begun(bench, "demo", folder_of_swaps) for _ in range(2)]
    expected = await bench.reply(stays, turn(4))
    assert await leaves.swap_out()

    def refused(*_: object, **__: object) -> None:
        raise ContextError("not today")

    with monkeypatch.context() as patch:
        patch.setattr(LlamaContext, "__init__", refused)
        reply = await bench.reply(leaves, turn(4))
    assert isinstance(reply.end, Aborted)
    assert "not today" in reply.end.detail
    assert leaves.asleep
    assert not leaves.failed
    again = await bench.reply(leaves, turn(4))
    assert (again.text, again.finished.tokens_cached) == (
        expected.text,
        expected.finished.tokens_cached,
    )
