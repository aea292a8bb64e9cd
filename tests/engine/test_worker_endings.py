"""How a run is ended: aborts, stops, failures, closing. Nothing here waits for time.

Where a run must be met in a certain place (in its prompt, waiting its turn) the test holds the
cores of the scheduler, or acts inside of the sink, instead of hoping for the right moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

import pytest
from support.worker_bench import HELLO, Bench, Gate, Models, Reply, failing_decodes

from infd.engine import generation, seat
from infd.engine.context import LlamaContext
from infd.engine.errors import ContextError
from infd.engine.scheduler import Share
from infd.engine.templates import Renderer
from infd.engine.worker import Aborted, Event, Failed, Limits, RunRequest, Worker


async def test_an_abort_in_the_prompt_keeps_whole_pieces(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await bench.worker("quantised", ctxsize=2048, batch=32)
    request = RunRequest((("user", "count " * 250),), max_tokens=5)
    with monkeypatch.context() as patch:
        gate = Gate(patch, "decode", at=4)
        reply = await bench.start(worker, request)
        await gate.reached.wait()
        assert worker.prompt_done == 96 < worker.prompt_tokens
        worker.abort()
        gate.open()
        await reply.ended.wait()
    assert isinstance(reply.end, Aborted)
    assert reply.progress == [32, 64, 96]
    # Not one further micro-batch was evaluated, and what was done is used by the next run.
    assert worker.tokens_used == 96
    again = await bench.reply(worker, request)
    assert again.finished.tokens_cached == 96
    fresh = await bench.worker("quantised", ctxsize=2048, batch=32)
    assert again.text == (await bench.reply(fresh, request)).text


@pytest.mark.parametrize("at", [1, 30])
async def test_an_abort_while_generating(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    worker = await bench.worker()
    request = RunRequest(HELLO, max_tokens=60)
    expected = await bench.reply(worker, request)
    await worker.clear()
    with monkeypatch.context() as patch:
        gate = Gate(patch, "decode_one", at)
        reply = await bench.start(worker, request)
        await gate.reached.wait()
        worker.abort()
        gate.open()
        await reply.ended.wait()
    assert isinstance(reply.end, Aborted)
    assert worker.tokens_used == expected.finished.tokens_in + at - 1
    worker.abort()  # nothing runs any more: nothing happens
    assert (await bench.reply(worker, request)).text == expected.text


@pytest.mark.parametrize("reason", ["cancelled", "orphaned"])
async def test_an_ended_run_keeps_what_it_said(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, reason: str
) -> None:
    worker = await bench.worker()
    whole = (await bench.reply(worker, RunRequest(HELLO, max_tokens=60))).text
    await worker.clear()
    gate = Gate(monkeypatch, "decode_one", at=30)
    reply = await bench.start(worker, RunRequest(HELLO, max_tokens=60))
    await gate.reached.wait()
    worker.end(reason)
    worker.end("stop")  # the first reason counts
    gate.open()
    await reply.ended.wait()
    # The token under way was made before the end was heard of.
    assert (reply.finished.reason, reply.finished.tokens_out) == (reason, 31)
    assert reply.tokens == 31
    assert whole.startswith(reply.text.rstrip("\ufffd"))


@pytest.mark.parametrize("reason", ["cancelled", "orphaned"])
async def test_a_run_ended_in_its_prompt(bench: Bench, reason: str) -> None:
    share = Share("ada", 2)
    worker = await bench.worker(share=share)
    assert bench.scheduler.acquire(share, 2) == 2
    reply = await bench.start(worker, RunRequest(HELLO))
    worker.end(reason)
    await reply.ended.wait()
    if reason == "cancelled":
        assert (reply.finished.reason, reply.finished.tokens_out) == ("cancelled", 0)
    else:
        assert isinstance(reply.end, Aborted)
    bench.scheduler.release(share, 2)
    assert (await bench.reply(worker, RunRequest(HELLO, max_tokens=4))).finished.tokens_out == 4


async def test_a_run_that_waits_its_turn_says_so_and_can_be_aborted(bench: Bench) -> None:
    share = Share("ada", 2)
    first, second = await bench.worker(share=share), await bench.worker(share=share)
    assert bench.scheduler.acquire(share, 2) == 2
    replies = []
    for position, worker in enumerate((first, second), 1):
        replies.append(await bench.start(worker, RunRequest(HELLO)))
        while not worker.waiting():  # noqa: ASYNC110 - the thread is on its way there
            await asyncio.sleep(0)
        assert worker.position == position
    second.abort()
    await replies[1].ended.wait()
    assert replies[1].events == [Aborted()]
    assert first.position == 1
    await first.close()
    assert replies[0].events == [Aborted()]
    bench.scheduler.release(share, 2)


@pytest.mark.parametrize("bench", ["dedicated"], indirect=True)
async def test_threads_change_from_the_next_token_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    original = LlamaContext.set_threads

    def set_threads(self: LlamaContext, n: int, n_batch: int) -> None:
        seen.append(n)
        original(self, n, n_batch)

    monkeypatch.setattr(LlamaContext, "set_threads", set_threads)
    # Foreign load would let nobody have two.
    monkeypatch.setattr(bench.scheduler, "observe", lambda: None)
    worker = await bench.worker(threads=2)
    gate = Gate(monkeypatch, "decode_one", at=10)
    reply = await bench.start(worker, RunRequest(HELLO, max_tokens=20))
    await gate.reached.wait()
    assert seen == [2]
    worker._engine.limits.threads = 1
    gate.open()
    await reply.ended.wait()
    assert seen == [2, 1]
    # More than MAX_PROC_THREADS, or than there are cores, is never asked for.
    seen.clear()
    worker._engine.limits.threads = 99
    await bench.reply(worker, RunRequest(HELLO, max_tokens=9))
    assert set(seen) == {2}


@pytest.mark.parametrize("bench", ["dedicated"], indirect=True)
async def test_a_run_far_ahead_of_its_reader_is_background_work(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    worker = await bench.worker("spm", ctxsize=256, run_ahead=20)
    turn = type(worker._engine.turn)
    original = turn.keep

    def keep(self: object, want: int, background: bool = False) -> int:
        asked.append(background)
        return original(self, want, background)  # type: ignore[arg-type]

    monkeypatch.setattr(turn, "keep", keep)
    reply = await bench.start(worker, RunRequest(HELLO, max_tokens=100), read=False)
    await reply.ended.wait()
    # It reached its end all the same.
    assert reply.finished.tokens_out == 100
    assert asked == [False] * 21 + [True] * 80
    asked.clear()
    worker._engine.run_ahead = 1000
    await bench.reply(worker, RunRequest(HELLO, max_tokens=100))
    assert not any(asked)


# Failures, and the end of a worker.


async def test_a_failed_decode_fails_the_run_and_the_engine_is_made_anew(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await bench.worker()
    with monkeypatch.context() as patch:
        failing_decodes(patch, after=2)
        reply = await bench.reply(worker, RunRequest(HELLO, max_tokens=30))
        assert isinstance(reply.end, Failed)
        assert reply.end.detail.startswith("llama.cpp failed to evaluate")
        assert worker.failed
        again = await bench.reply(worker, RunRequest(HELLO, max_tokens=30))
        assert isinstance(again.end, Failed)
    await worker.reopen()
    assert not worker.failed
    assert worker.tokens_used == 0
    fresh = await bench.reply(await bench.worker(), RunRequest(HELLO, max_tokens=30))
    assert (await bench.reply(worker, RunRequest(HELLO, max_tokens=30))).text == fresh.text


async def test_an_unexpected_error_fails_the_run_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await bench.worker()
    with monkeypatch.context() as patch:
        patch.setattr(generation, "Sampler", None)
        patch.setattr(seat, "Sampler", None)
        reply = await bench.reply(worker, RunRequest(HELLO))
    assert reply.end == Failed("the engine failed: TypeError")
    assert bench.scheduler.in_use == 0
    await worker.reopen()
    assert (await bench.reply(worker, RunRequest(HELLO, max_tokens=2))).finished.tokens_out == 2


async def test_a_context_that_cannot_be_made_leaves_nothing(
    bench: Bench, models: Models, renderers: Callable[[str], Renderer]
) -> None:
    before = threading.active_count()
    worker = Worker(
        models("bpe"),
        bench.scheduler,
        Share("ada", 1),
        Limits(1, 0),
        ctxsize=2**32 - 1,
        renderer=renderers("bpe"),
        name="too large",
        batch=bench.batch("bpe"),
    )
    with pytest.raises(ContextError, match=r"llama\.cpp takes"):
        await worker.start()
    await worker.close()
    assert threading.active_count() == before
    assert models("bpe").open_contexts == 0


async def test_clear_ends_a_run_and_forgets(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = await bench.worker()
    gate = Gate(monkeypatch, "decode_one", at=5)
    reply = await bench.start(worker, RunRequest(HELLO))
    await gate.reached.wait()
    clearing = asyncio.create_task(worker.clear())
    await asyncio.sleep(0)
    gate.open()
    await clearing
    assert isinstance(reply.end, Aborted)
    assert worker.tokens_used == worker.prompt_done == 0
    prepared = await worker.prepare(RunRequest(HELLO))
    worker.run(prepared, Reply(worker))
    with pytest.raises(RuntimeError, match="under way"):
        worker.run(prepared, Reply(worker))


async def test_close_in_a_run_twice_and_cancelled(
    bench: Bench, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = await bench.worker()
    assert models("bpe").open_contexts == 1
    gate = Gate(monkeypatch, "decode_one", at=5)
    reply = await bench.start(worker, RunRequest(HELLO))
    await gate.reached.wait()
    first = asyncio.create_task(worker.close())
    await asyncio.sleep(0)
    first.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await first
    gate.open()
    await asyncio.gather(worker.close(), worker.close())
    await worker.close()
    assert isinstance(reply.end, Aborted)
    assert models("bpe").open_contexts == 0
    with pytest.raises(RuntimeError, match="closed"):
        await worker.prepare(RunRequest(HELLO))


async def test_a_cancelled_start_leaves_nothing(bench: Bench, models: Models) -> None:
    task = asyncio.create_task(bench.worker())
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await bench.workers[-1].close()
    assert models("bpe").open_contexts == 0


async def test_a_cancelled_prepare_drops_its_result(bench: Bench) -> None:
    worker = await bench.worker()
    task = asyncio.create_task(worker.prepare(RunRequest(HELLO)))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await bench.reply(worker, RunRequest(HELLO, max_tokens=2))).finished.tokens_out == 2


async def test_many_contexts_at_once_say_what_each_says_alone(bench: Bench) -> None:
    requests = [
        RunRequest((("user", f"hello number {i}"),), max_tokens=40, seed=i) for i in range(6)
    ]
    alone = await bench.worker()
    expected = [(await bench.reply(alone, request)).text for request in requests]
    workers = [await bench.worker(share=Share(str(i % 2), 1 + i % 2)) for i in range(6)]
    for _ in range(3):
        replies = await asyncio.gather(
            *(bench.reply(w, r) for w, r in zip(workers, requests, strict=True))
        )
        assert [reply.text for reply in replies] == expected


async def test_a_sink_that_fails_is_reported_and_the_run_goes_on(bench: Bench) -> None:
    worker = await bench.worker()
    reported: list[dict[str, object]] = []
    loop = asyncio.get_running_loop()
    before = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, context: reported.append(context))
    reply = Reply(worker)

    def fail(event: Event) -> None:
        raise ValueError("no")

    reply.on_event = fail
    worker.run(await worker.prepare(RunRequest(HELLO, max_tokens=5)), reply)
    await reply.ended.wait()
    loop.set_exception_handler(before)
    assert reply.finished.tokens_out == 5
    assert reported
    assert str(reported[0]["exception"]) == "no"
