"""A batch of contexts on the real engine: who is in a step, and that nobody notices the others."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from support.worker_bench import HELLO, Bench, Gate, Models, follows_the_logits, held, slots_of

from infd.engine import seat
from infd.engine import worker as workers
from infd.engine.context import Decoded
from infd.engine.instance import Instance, Row
from infd.engine.model import Model
from infd.engine.prompt import build_prompt
from infd.engine.renderer import Message
from infd.engine.rhythm import Rhythm
from infd.engine.sampling import Sampler
from infd.engine.scheduler import Share
from infd.engine.templates import Renderer
from infd.engine.worker import Failed, Finished, RunRequest, Worker

pytestmark = pytest.mark.parametrize("bench", ["batched"], indirect=True)

def requests(n: int, most: int = 40) -> list[RunRequest]:
    asked = ("What is {} + 2?", "My name is Ada{}. What is my name?", "Count to {}.")
    return [
        RunRequest((("user", asked[i % 3].format(i + 1)),), max_tokens=most) for i in range(n)
    ]


class Steps:
    """Remembers the rows of every step."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.rows: list[list[Row]] = []
        original = Instance.decode

        def decode(instance: Instance, rows: Sequence[Row]) -> tuple[Decoded, list[int]]:
            self.rows.append(list(rows))
            return original(instance, rows)

        patch.setattr(Instance, "decode", decode)


@pytest.mark.parametrize("kind", ["demo", "quantised", "sliding", "recurrent"])
async def test_contexts_together_say_what_each_says_alone(
    bench: Bench, models: Models, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    steps = Steps(monkeypatch)
    # More than the instance begins with, so that it grows while they run.
    workers = [await bench.worker(kind, share=Share(str(i % 3), 2)) for i in range(7)]
    asked = requests(len(workers))
    prompts = [len((await w.prepare(r)).tokens) for w, r in zip(workers, asked, strict=True)]
    replies = await asyncio.gather(
        *(bench.reply(w, r) for w, r in zip(workers, asked, strict=True))
    )
    ends = [reply.finished for reply in replies]
    assert all(end.tokens_out for end in ends)
    computed = sum(len(row.tokens) for rows in steps.rows for row in rows)
    once = sum(len(held(worker)) for worker in workers)
    # Nothing is computed twice, but what a sliding window's copy cannot carry to more slots.
    assert computed == once or kind == "sliding"
    told = [
        follows_the_logits(models(kind), held(worker), prompt)
        for worker, prompt in zip(workers, prompts, strict=True)
    ]
    assert sum(told) > len(told)


async def test_conversations_go_on_whoever_else_runs(bench: Bench, models: Models) -> None:
    """Slots are fewer than contexts: KVs move between them and wait outside."""
    # Three slots for nine: all together never have more than the contexts' sizes added up.
    n = 9
    workers = [await bench.worker("demo", ctxsize=512 if i else 2048) for i in range(n)]
    asked = requests(n, most=12)
    told = [[*request.messages] for request in asked]
    prompts = [0] * n
    for turn in range(4):
        # Others each time, so that they meet in ever new company.
        for chosen in (range(turn % 3, n, 3), range((turn + 1) % 3, n, 3)):
            replies = await asyncio.gather(
                *(bench.reply(workers[i], RunRequest(tuple(told[i]), max_tokens=12))
                  for i in chosen)
            )  # fmt: skip
            for i, reply in zip(chosen, replies, strict=True):
                if len(told[i]) > 1:
                    assert reply.finished.tokens_cached > 0
                prompts[i] = reply.finished.tokens_in
                told[i] += [("assistant", reply.text), ("user", f"And what is {i} + {turn}?")]
    # What is kept of each is what it would have computed by itself.
    assert all(len(messages) > 3 for messages in told)
    for worker, prompt in zip(workers, prompts, strict=True):
        follows_the_logits(models("demo"), held(worker), prompt)
    assert slots_of(workers[0]).instance.slots == 3


async def test_a_run_whose_sampler_fails_ends_alone(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Sampler):
        def sample_at(self, pointer: object, index: int) -> int:
            if self.seed == 666:
                raise ValueError("broken")
            return super().sample_at(pointer, index)

        def __init__(self, model: Model, params: object, seed: int) -> None:
            super().__init__(model, params, seed)  # type: ignore[arg-type]
            self.seed = seed

    monkeypatch.setattr(seat, "Sampler", Broken)
    workers = [await bench.worker("demo") for _ in range(3)]
    asked = requests(3)
    asked[1] = replace(asked[1], seed=666)
    replies = await asyncio.gather(
        *(bench.reply(w, r) for w, r in zip(workers, asked, strict=True))
    )
    assert [type(reply.end) for reply in replies] == [Finished, Failed, Finished]
    assert [worker.failed for worker in workers] == [False, True, False]
    await workers[1].reopen()
    assert (await bench.reply(workers[1], asked[0])).text == replies[0].text


async def test_an_abort_beside_others_ends_one_run_only(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = await bench.worker(), await bench.worker()
    request = RunRequest(HELLO, max_tokens=60)
    expected = (await bench.reply(first, request)).text
    await first.clear()
    gate = Gate(monkeypatch, "decode_one", at=10)
    replies = [await bench.start(worker, request) for worker in (first, second)]
    await gate.reached.wait()
    second.abort()
    gate.open()
    for reply in replies:
        await reply.ended.wait()
    assert replies[0].finished.tokens_out == 60
    assert replies[0].text == expected
    assert not isinstance(replies[1].end, Finished | Failed)


async def test_a_prompt_goes_beside_replies_in_pieces(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    talking = await bench.worker("demo", ctxsize=4096)
    reading = await bench.worker("demo", ctxsize=4096)
    gate = Gate(monkeypatch, "decode_one", at=5)
    request = RunRequest((("user", "Count from 1 to 300."),), max_tokens=250)
    reply = await bench.start(talking, request)
    await gate.reached.wait()
    steps = Steps(monkeypatch)
    long = await bench.start(reading, RunRequest((("user", "word " * 600),), max_tokens=2))
    gate.open()
    await long.ended.wait()
    mixed = [rows for rows in steps.rows if any(len(row.tokens) > 1 for row in rows)]
    assert len(mixed) > 1
    # As long as the reply goes on it has a token between two pieces of the prompt.
    assert all(len(rows) == 1 for rows in mixed)
    kinds = "".join(
        # The one who reads has a step of its own at last, behind 600 tokens; the reply has fewer.
        "p" if rows in mixed else "r" if rows[0].held < 600 else "-" for rows in steps.rows
    )
    talks = kinds[: kinds.rindex("r") + 1]
    assert "pr" in talks
    assert "pp" not in talks
    assert long.progress == sorted(long.progress)
    await reply.ended.wait()


async def test_the_threads_of_a_step_are_its_users_together(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    original = Instance.set_threads

    def set_threads(instance: Instance, n: int) -> None:
        seen.append(n)
        original(instance, n)

    monkeypatch.setattr(Instance, "set_threads", set_threads)
    # Foreign load would let nobody have two.
    monkeypatch.setattr(bench.scheduler, "observe", lambda: None)
    ada, bob = Share("ada", 1), Share("bob", 1)
    one, other = await bench.worker(share=ada), await bench.worker(share=bob)
    await bench.reply(one, RunRequest(HELLO, max_tokens=9))
    assert set(seen) == {1}
    gate = Gate(monkeypatch, "decode_one", at=1)
    replies = [await bench.start(one, RunRequest(HELLO, max_tokens=30))]
    await gate.reached.wait()
    replies.append(await bench.start(other, RunRequest(HELLO, max_tokens=10)))
    seen.clear()
    gate.open()
    for reply in replies:
        await reply.ended.wait()
    # Two users with one thread each: two while both compute, one before and after.
    assert set(seen) == {1, 2}
    assert seen[-1] == 1


async def test_unread_replies_leave_the_steps_to_those_that_are_read(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    unread = await bench.worker("spm", run_ahead=20)
    read = await bench.worker("spm", run_ahead=10_000)
    began = time.monotonic()
    left = await bench.start(unread, RunRequest(HELLO, max_tokens=400), read=False)
    await left.begun.wait()
    reply = await bench.start(read, RunRequest(HELLO, max_tokens=300))
    # At the end of the run that is read the other one is where its reader let it go, and a token
    # a second further.
    made = 0
    ended = reply.ended

    def look(_: object) -> None:
        nonlocal made
        made = unread._engine.made_tokens

    reply.on_event = look
    at_start = max(21, unread._engine.made_tokens)
    await ended.wait()
    assert made <= at_start + 2 + (time.monotonic() - began)
    # Alone it reaches its end.
    await left.ended.wait()
    assert left.finished.tokens_out == 400


async def test_narrow_steps_forget_none(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Rhythm, "width", lambda _: 4)
    steps = Steps(monkeypatch)
    shares = [Share("heavy", 2)] * 6 + [Share("light", 2)]
    workers = [await bench.worker("demo", share=share) for share in shares]
    gate = Gate(monkeypatch, "decode", at=1)
    request = RunRequest((("user", "Count from 1 to 200."),), max_tokens=100)
    replies = [await bench.start(worker, request) for worker in workers]
    await gate.reached.wait()
    gate.open()
    light = replies[-1]
    await light.ended.wait()
    beside = len(steps.rows)
    for reply in replies:
        await reply.ended.wait()
    assert all(reply.finished.tokens_out == light.finished.tokens_out for reply in replies)
    together = [len(rows) for rows in steps.rows[: beside - 1]]
    assert max(together) <= 4
    # One row is looked at now and then, but no more often.
    assert sum(n == 1 for n in together if n) < len(together) / 2


async def test_a_context_that_waits_says_which_place_it_has(bench: Bench) -> None:
    share = Share("ada", 2)
    assert bench.scheduler.acquire(share, 2) == 2
    workers = [await bench.worker(share=share) for _ in range(3)]
    replies = [await bench.start(worker, RunRequest(HELLO, max_tokens=3)) for worker in workers]
    assert [worker.position for worker in workers] == [1, 2, 3]
    assert workers[0].estimate_ms <= workers[1].estimate_ms <= workers[2].estimate_ms
    workers[0].abort()
    await replies[0].ended.wait()
    assert [worker.position for worker in workers] == [0, 1, 2]
    bench.scheduler.release(share, 2)
    for reply in replies:
        await reply.ended.wait()
    assert [worker.position for worker in workers] == [0, 0, 0]


async def test_an_idle_seat_costs_no_slot_and_its_instance_goes_with_the_last(
    bench: Bench, models: Models
) -> None:
    workers: list[Worker] = [await bench.worker("bpe") for _ in range(40)]
    assert models("bpe").open_contexts == 1
    for worker in workers[:10]:
        await bench.reply(worker, RunRequest(HELLO, max_tokens=2))
    assert slots_of(workers[0]).instance.slots == 1
    close: list[Callable[[], object]] = [worker.close for worker in workers]
    await asyncio.gather(*(end() for end in close))  # type: ignore[misc]
    assert models("bpe").open_contexts == 0


async def test_nobody_waits_for_anothers_prompt_to_be_prepared(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bob, ada = [await bench.worker(share=Share(name, 2)) for name in ("bob", "ada")]
    reached, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def held_up(model: Model, renderer: Renderer, messages: Sequence[Message]) -> list[int]:
        if messages[-1][1] == "long":
            loop.call_soon_threadsafe(reached.set)
            gate.wait()
        return build_prompt(model, renderer, messages)

    monkeypatch.setattr(workers, "build_prompt", held_up)
    preparing = asyncio.ensure_future(bob.prepare(RunRequest((("user", "long"),))))
    await reached.wait()
    assert (await bench.reply(ada, RunRequest(HELLO, max_tokens=5))).finished.tokens_out == 5
    assert not preparing.done()
    gate.set()
    assert (await preparing).tokens
    threads = [thread.name for thread in threading.enumerate()]
    assert threads.count("infd prompts") == 2
    await bob.close()
    threads = [thread.name for thread in threading.enumerate()]
    assert threads.count("infd prompts") == 1
