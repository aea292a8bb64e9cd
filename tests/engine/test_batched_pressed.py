"""A batch under pressure: full steps, few slots, instances made anew, runs ended at odd moments."""

from __future__ import annotations

import asyncio
import time
from math import inf
from pathlib import Path

import pytest
from support.worker_bench import HELLO, Bench, Gate, Models, failing_decodes, held

from infd.engine import model as model_file
from infd.engine import slots as slots_file
from infd.engine.context import Decoded
from infd.engine.errors import ContextError
from infd.engine.instance import Instance, Row
from infd.engine.preparing import PART
from infd.engine.scheduler import Share
from infd.engine.seat import Seat
from infd.engine.slots import Slots
from infd.engine.swap import SwapFolder
from infd.engine.worker import Aborted, Failed, Finished, Limits, RunRequest, Worker

pytestmark = pytest.mark.parametrize("bench", ["batched"], indirect=True)


def slots_of(worker: Worker) -> Slots:
    assert isinstance(worker._engine, Seat)
    assert worker._engine.engine is not None
    return worker._engine.engine._slots


async def test_prompts_of_many_small_contexts_come_together(bench: Bench) -> None:
    """A step has no room for all of them."""
    workers = [await bench.worker("demo", ctxsize=64, share=Share(str(i), 2)) for i in range(12)]
    request = RunRequest((("user", "one two three four five six seven eight"),), max_tokens=3)
    for _ in range(3):
        replies = await asyncio.gather(*(bench.reply(worker, request) for worker in workers))
        assert len({reply.text for reply in replies}) == 1
        assert all(reply.finished.tokens_out == 3 for reply in replies)
        for worker in workers:
            await worker.clear()


async def test_growing_loses_nothing(bench: Bench) -> None:
    workers = [await bench.worker("demo") for _ in range(5)]
    request = RunRequest((("user", "My name is Ada. What is my name?"),), max_tokens=8)
    sizes = set()
    for n in range(1, len(workers) + 1):
        replies = await bench.together(workers[:n], request)
        sizes.add(slots_of(workers[0]).instance.slots)
        # The last one is new, the others had it all before.
        assert [reply.finished.tokens_cached > 0 for reply in replies] == [True] * (n - 1) + [False]
    assert len(sizes) > 2


async def test_long_contexts_that_come_and_go_cost_the_others_nothing(
    bench: Bench, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another layout of the KV would have every conversation computed again."""
    monkeypatch.setattr(model_file, "_MOST_SCORE_BYTES", models("demo")._score_bytes(1024, 128))
    talking = await bench.worker("demo", ctxsize=1024)
    asked: list[tuple[str, str]] = []
    layouts, kept = [], []
    for size in (512, 4096, 512, 4096, 512):
        other = await bench.worker("demo", ctxsize=size)
        await bench.reply(other, RunRequest(HELLO, max_tokens=2))
        asked.append(("user", f"What is {size % 7} + 2?"))
        before = len(held(talking))
        reply = await bench.reply(talking, RunRequest(tuple(asked), max_tokens=9))
        kept.append(reply.finished.tokens_cached == before)
        asked.append(("assistant", reply.text))
        layouts.append(slots_of(talking).instance.layout)
        await other.close()
    # The first long one needs the other layout; it is kept then.
    assert layouts[0] != layouts[1]
    assert len(set(layouts[1:])) == 1
    assert kept == [True, False, True, True, True]


async def test_a_run_after_clear_waits_for_the_end_of_the_one_before(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompts are prepared beside the steps: in the midst of one the cleared run is still there."""
    worker = await bench.worker("demo", ctxsize=1024)
    gate = Gate(monkeypatch, "decode", at=2)
    first = await bench.start(worker, RunRequest((("user", "word " * 300),), max_tokens=9))
    await gate.reached.wait()
    clearing = asyncio.create_task(worker.clear())
    second = asyncio.create_task(bench.reply(worker, RunRequest(HELLO, max_tokens=5)))
    assert worker._preparer is not None
    # Its prompt is prepared when what is asked of the same thread after it is answered.
    for _ in range(2):
        await worker._preparer.call(lambda: None)
    gate.open()
    await clearing
    assert isinstance(first.end, Aborted)
    assert (await second).finished.tokens_out == 5


async def test_who_gives_way_takes_the_place_of_nobody_unseen(bench: Bench, models: Models) -> None:
    """A run beside the row of the others is moved to where an idle context is: that one goes out
    with what it holds, else it would go on from another user's KV."""
    slots = Slots(models("bpe"), lambda: inf)
    # As large as three of the larger ones together.
    idle, beside, one, other = seats = [
        Seat(Share("ada", 1), Limits(1, 0), ctxsize=size, run_ahead=9)
        for size in (512, 512, 256, 256)
    ]
    for seat in seats:
        slots.admit(seat)
    assert slots.most(seats[:3]) == slots.instance.slots == 3
    slots.arrange([idle, beside, one])
    for i, seat in enumerate((idle, beside, one)):
        assert seat.slot is not None
        seat.tokens[:] = range(10 * i + 1, 10 * i + 9)
        row = Row(seat.slot, 0, seat.tokens, False)
        assert slots.instance.decode([row])[0] is Decoded.OK
    slots.arrange([other, one], [beside])
    assert sorted(seat.slot for seat in (other, one, beside) if seat.slot is not None) == [0, 1, 2]
    assert idle.slot is None
    assert idle.saved is not None
    assert list(idle.saved.tokens) == idle.tokens
    slots.close()


async def test_a_long_context_takes_slots_from_others_only_while_it_runs(
    bench: Bench, models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All slots together are no larger than all contexts, and each has room for the longest run."""
    slots = Slots(models("bpe"), lambda: inf)
    *small, large = seats = [
        Seat(Share(str(size), 1), Limits(1, 0), ctxsize=size, run_ahead=9)
        for size in (256, 256, 256, 4096)
    ]
    for seat in reversed(seats):
        slots.admit(seat)
    assert not slots.fit(small)
    assert slots.most(small) == 3
    assert slots.instance.ctxsize < large.ctxsize
    assert not slots.fit(seats)
    assert slots.most(seats) == 1
    # It may run again soon.
    assert not slots.fit(small)
    assert slots.most(small) == 1
    monkeypatch.setattr(slots_file, "LINGER", 0.0)
    assert slots.most(small) == 3
    slots.arrange(small)
    for seat in seats:
        slots.dismiss(seat)


async def test_a_run_without_memory_for_its_context_is_told_so_and_others_go_on(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, long = await bench.worker("demo", ctxsize=512), await bench.worker("demo", ctxsize=4096)
    make = Slots._make

    def short_of_memory(slots: Slots, count: int, ctxsize: int) -> None:
        if ctxsize > 512:
            raise ContextError("the machine has none left")
        make(slots, count, ctxsize)

    monkeypatch.setattr(Slots, "_make", short_of_memory)
    asked = RunRequest((("user", "What is 2 + 2?"),), max_tokens=9)
    fine, refused = await bench.together([worker, long], asked)
    assert fine.finished.tokens_out > 0
    assert isinstance(refused.end, Aborted)
    assert "the machine has none left" in refused.end.detail
    monkeypatch.setattr(Slots, "_make", make)
    assert (await bench.reply(long, asked)).text == fine.text


async def test_a_run_whose_user_pauses_is_ended_at_once(bench: Bench) -> None:
    share = Share("ada", 1)
    worker = await bench.worker(share=share)
    assert isinstance(worker._engine, Seat)
    engine = worker._engine.engine
    assert engine is not None
    assert worker._border is not None
    border = worker._border

    def owes(seconds: float) -> None:
        engine._meters.of(share, time.perf_counter()).debt = seconds

    for end, kind in ((worker.end, Finished), (worker.abort, Aborted)):
        # As if a step had taken a day.
        await border.call(lambda: owes(86400.0))
        reply = await bench.start(worker, RunRequest(HELLO, max_tokens=9))
        while not await border.call(lambda: engine.delay):
            pass
        end()
        await reply.ended.wait()
        assert type(reply.end) is kind
    await border.call(lambda: owes(0.0))


async def test_an_instance_that_cannot_be_made_again_is_no_error_of_an_idle_context(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = SwapFolder(tmp_path / "swap", 1 << 20)
    folder.open()
    idle, fails = await bench.worker(swap=folder), await bench.worker()
    with monkeypatch.context() as patch:
        failing_decodes(patch, after=0)
        assert isinstance((await bench.reply(fails, RunRequest(HELLO, max_tokens=9))).end, Failed)

        def refused(*_: object, **__: object) -> None:
            raise ContextError("not today")

        patch.setattr(Instance, "__init__", refused)
        assert not await idle.swap_out()
    assert await idle.swap_out()
    assert (await bench.reply(idle, RunRequest(HELLO, max_tokens=3))).finished.tokens_out == 3


async def test_what_making_room_took_is_paid_for_where_others_waited(bench: Bench) -> None:
    ada, bob = Share("ada", 2), Share("bob", 2)
    alone = await bench.worker("demo", share=bob, ctxsize=4096)
    await bench.reply(alone, RunRequest(HELLO, max_tokens=2))
    await alone.close()
    assert alone._engine.spent == 0.0
    used = bob.used
    other = await bench.worker("demo", share=ada)
    await bench.reply(other, RunRequest(HELLO, max_tokens=2))
    long = await bench.worker("demo", share=bob, ctxsize=4096)
    await bench.reply(long, RunRequest(HELLO, max_tokens=2))
    spent = long._engine.spent
    assert spent > 0.0
    long._preparing._even = ahead = time.monotonic() + 1000.0
    await long.close()  # the others' room is made smaller
    assert long._preparing._even > ahead + spent / PART
    assert bob.used > used + spent
    assert other._engine.spent == 0.0
