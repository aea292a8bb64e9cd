"""Prompts that a batch computes aside: replies go on in the middle, and all is as without it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from math import inf
from pathlib import Path

import pytest
from support.worker_bench import (
    Bench,
    Models,
    Reply,
    failing_decodes,
    follows_the_logits,
    held,
    slots_of,
)

from infd.engine import slots as slots_file
from infd.engine.aside import Aside, Interludes
from infd.engine.context import Decoded
from infd.engine.instance import Instance, Row
from infd.engine.rhythm import Rhythm
from infd.engine.scheduler import Share
from infd.engine.worker import Aborted, Failed, RunRequest, Worker

pytestmark = pytest.mark.parametrize("bench", ["batched"], indirect=True)

LONG = RunRequest((("user", "Count from 1 to 90, please. " * 30),), max_tokens=20)
REPLY = RunRequest((("user", "Count from 1 to 40."),), max_tokens=200)


class Calls:
    """Remembers the calls of both instances: the tokens of a piece aside, and the replies' steps
    that began and ended within it."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.pieces: list[int] = []
        self.results: list[Decoded] = []
        self.within = 0
        self.computed = 0
        inside = False
        original = Instance.decode

        def decode(instance: Instance, rows: Sequence[Row]) -> tuple[Decoded, list[int]]:
            nonlocal inside
            tokens = sum(len(row.tokens) for row in rows)
            if not isinstance(instance, Aside):
                self.within += inside
                result = original(instance, rows)
            else:
                inside = True
                try:
                    result = original(instance, rows)
                finally:
                    inside = False
                self.pieces.append(tokens)
                self.results.append(result[0])
            self.computed += tokens if result[0] is Decoded.OK else 0
            return result

        patch.setattr(Instance, "decode", decode)


async def together(
    bench: Bench, two: tuple[Worker, Worker], asked: RunRequest = LONG
) -> tuple[Reply, Reply]:
    """One's reply, and what the other is asked while it goes on, both to their ends."""
    one, other = two
    reply = await bench.start(one, REPLY)
    await reply.begun.wait()
    late = await bench.start(other, asked)
    await asyncio.gather(reply.ended.wait(), late.ended.wait())
    return reply, late


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models as small as these compute prompts so fast that none would be aside; now all are, and
    replies have a step at every node of the graph."""
    monkeypatch.setattr(Rhythm, "aside", lambda self, *, replies: 1e-9 if replies else 0.0)


@pytest.fixture
async def two(bench: Bench, often: None) -> tuple[Worker, Worker]:
    """One that replies and one with a long prompt, of two users. Whatever else computes on this
    machine is not noticed: it would have pieces given up."""
    bench.scheduler.watch_at = inf
    return (
        await bench.worker("demo", ctxsize=1024, share=Share("ada", 2)),
        await bench.worker("demo", ctxsize=1024, share=Share("bob", 2)),
    )


async def test_a_prompt_aside_says_what_it_says_alone(
    bench: Bench, models: Models, monkeypatch: pytest.MonkeyPatch, two: tuple[Worker, Worker]
) -> None:
    calls = Calls(monkeypatch)
    one, other = two
    reply, late = await together(bench, two)
    prompt = late.finished.tokens_in
    # Whatever comes while a piece is computed has it given up: nothing came.
    assert set(calls.results) == {Decoded.OK}
    assert calls.pieces
    assert set(calls.pieces) == {64}
    assert calls.within > 0
    # Nothing is computed twice, in whatever instance.
    assert calls.computed == len(held(one)) + len(held(other))
    assert late.progress == sorted(late.progress)
    for worker, tokens_in in ((one, reply.finished.tokens_in), (other, prompt)):
        follows_the_logits(models("demo"), held(worker), tokens_in)
    # The conversation goes on where it was, in a step with the others.
    again = (await bench.reply(other, LONG)).finished
    assert again.tokens_cached == prompt - 1


async def test_an_abort_ends_the_prompt_aside_only(
    bench: Bench, models: Models, monkeypatch: pytest.MonkeyPatch, two: tuple[Worker, Worker]
) -> None:
    one, other = two
    between = Interludes.between
    loop, reached = asyncio.get_running_loop(), asyncio.Event()

    def told(self: Interludes) -> bool:
        loop.call_soon_threadsafe(reached.set)
        return between(self)

    monkeypatch.setattr(Interludes, "between", told)
    reply = await bench.start(one, REPLY)
    await reply.begun.wait()
    late = await bench.start(other, LONG)
    await reached.wait()
    other.abort()
    await late.ended.wait()
    assert isinstance(late.end, Aborted)
    await reply.ended.wait()
    assert reply.finished.tokens_out > 0
    follows_the_logits(models("demo"), held(one), reply.finished.tokens_in)
    whole = (await bench.reply(other, LONG)).finished
    follows_the_logits(models("demo"), held(other), whole.tokens_in)


async def test_a_command_has_the_piece_given_up_and_nothing_is_lost(
    bench: Bench, models: Models, monkeypatch: pytest.MonkeyPatch, two: tuple[Worker, Worker]
) -> None:
    calls = Calls(monkeypatch)
    one, other = two
    third = await bench.worker("demo", ctxsize=1024, share=Share("eve", 2))
    between = Interludes.between

    def command(self: Interludes) -> bool:
        assert third._border is not None
        third._border.put(lambda: None)
        return between(self)

    monkeypatch.setattr(Interludes, "between", command)
    _, late = await together(bench, two)
    # Once for a while; in pieces between the steps until then.
    assert set(calls.results) == {Decoded.ABORTED}
    assert calls.computed == len(held(one)) + len(held(other))
    follows_the_logits(models("demo"), held(other), late.finished.tokens_in)


async def test_a_step_that_fails_in_the_middle_ends_all_and_the_next_run_is_whole(
    bench: Bench, models: Models, monkeypatch: pytest.MonkeyPatch, two: tuple[Worker, Worker]
) -> None:
    one, other = two
    with monkeypatch.context() as patch:
        calls = Calls(patch)
        reply = await bench.start(one, REPLY)
        await reply.begun.wait()
        between = Interludes.between

        def failing(self: Interludes) -> bool:
            patch.setattr(Interludes, "between", between)
            failing_decodes(patch, 0)
            return between(self)

        patch.setattr(Interludes, "between", failing)
        late = await bench.start(other, LONG)
        await asyncio.gather(reply.ended.wait(), late.ended.wait())
        assert isinstance(reply.end, Failed)
        assert isinstance(late.end, Failed)
        assert calls.results == [Decoded.ABORTED]
    for worker in two:
        await worker.reopen()
    end = (await bench.reply(other, LONG)).finished
    follows_the_logits(models("demo"), held(other), end.tokens_in)


async def test_what_the_context_holds_is_kept_where_the_prompt_is_shorter(
    bench: Bench, models: Models, monkeypatch: pytest.MonkeyPatch, two: tuple[Worker, Worker]
) -> None:
    """The instance aside is as long as it needs to be, for what the context comes with too."""
    monkeypatch.setattr(slots_file, "_SHORTEST", 64)
    calls = Calls(monkeypatch)
    _, other = two
    before = (await bench.reply(other, LONG)).finished
    said = LONG.messages[0][1]
    third = RunRequest((("user", said[: len(said) // 3] + "Or better to 9. " * 10),), max_tokens=20)
    _, late = await together(bench, two, third)
    assert calls.pieces
    assert before.tokens_in > 256 > late.finished.tokens_in
    assert late.finished.tokens_cached > before.tokens_in // 4
    follows_the_logits(models("demo"), held(other), late.finished.tokens_in)


async def test_there_is_none_aside_where_the_budget_has_no_room(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, two: tuple[Worker, Worker]
) -> None:
    bench.budget = 2 * 1024
    calls = Calls(monkeypatch)
    _, late = await together(bench, two)
    assert late.finished.tokens_out
    assert not calls.pieces


async def test_one_of_another_layout_is_not_used(bench: Bench, models: Models) -> None:
    """As where the slots have flash attention since, for a longer context."""
    worker = await bench.worker("demo", ctxsize=1024)
    await bench.reply(worker, REPLY)
    slots = slots_of(worker)
    assert slots.open_aside(100)
    assert slots.open_aside(100)
    assert slots._aside is not None
    slots._aside.layout = "another"
    assert not slots.open_aside(100)
    assert models("demo").open_contexts == 1
    assert slots.open_aside(100)


async def test_its_memory_is_given_back_when_it_was_not_used_for_long(
    bench: Bench, models: Models, monkeypatch: pytest.MonkeyPatch, two: tuple[Worker, Worker]
) -> None:
    calls = Calls(monkeypatch)
    one, other = two
    _, late = await together(bench, two)
    assert calls.pieces
    assert models("demo").open_contexts == 2
    loop, closed, close = asyncio.get_running_loop(), asyncio.Event(), Aside.close

    def closing(self: Aside) -> None:
        close(self)
        loop.call_soon_threadsafe(closed.set)

    monkeypatch.setattr(Aside, "close", closing)
    monkeypatch.setattr(slots_file, "LINGER", 0.01)
    # What comes next has the thread look at the clock anew; then nothing runs.
    await bench.reply(one, REPLY)
    await closed.wait()
    assert models("demo").open_contexts == 1
    again = (await bench.reply(other, LONG)).finished
    assert again.tokens_cached == late.finished.tokens_in - 1


async def test_its_other_threads_give_way_to_all_others(
    bench: Bench, models: Models, two: tuple[Worker, Worker]
) -> None:
    def niceness() -> list[int]:
        found = []
        for task in Path("/proc/self/task").iterdir():
            try:
                found.append(os.getpriority(os.PRIO_PROCESS, int(task.name)))
            except ProcessLookupError:
                continue
        return found

    before = niceness().count(19)
    aside = Aside(models("demo"), ctxsize=256, flash=False)
    aside.set_threads(2)
    assert niceness().count(19) > before
    aside.close()


async def test_a_piece_is_given_up_where_others_use_the_cores(
    bench: Bench, models: Models, monkeypatch: pytest.MonkeyPatch, two: tuple[Worker, Worker]
) -> None:
    """The call's other threads are of the lowest priority: they would hardly compute."""
    calls = Calls(monkeypatch)
    one, other = two
    between = Interludes.between

    def crowded(self: Interludes) -> bool:
        bench.scheduler.policy.single = True
        return between(self)

    monkeypatch.setattr(Interludes, "between", crowded)
    _, late = await together(bench, two)
    assert calls.results[:1] == [Decoded.ABORTED]
    assert calls.computed == len(held(one)) + len(held(other))
    follows_the_logits(models("demo"), held(other), late.finished.tokens_in)
