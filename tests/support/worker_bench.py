"""Workers run to their end in tests: a sink that remembers, and a bench that makes workers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path

import pytest
from support.gguf_factory import make

from infd.engine.batch import Batch
from infd.engine.context import Decoded, LlamaContext
from infd.engine.instance import Instance, Row
from infd.engine.model import Model
from infd.engine.options import ModelOptions
from infd.engine.prefixes import Shelf
from infd.engine.scheduler import Scheduler, Share
from infd.engine.seat import Seat
from infd.engine.slots import Slots
from infd.engine.swap import SwapFolder
from infd.engine.templates import Renderer
from infd.engine.worker import (
    Aborted,
    Event,
    Failed,
    Finished,
    Limits,
    Progress,
    RunRequest,
    Text,
    Worker,
)

Models = Callable[[str], Model]
Renderers = Callable[[str], Renderer]


def loaded_models(folder: Path, options: ModelOptions | None = None) -> Iterator[Models]:
    """A kind's model, loaded once; none may have contexts in the end."""
    loaded: dict[str, Model] = {}

    def get(kind: str) -> Model:
        if kind not in loaded:
            loaded[kind] = Model.load(make(folder, kind), options=options or ModelOptions())
        return loaded[kind]

    yield get
    for model in loaded.values():
        assert model.open_contexts == 0
        model.close()


def started_renderers(models: Models) -> Iterator[Renderers]:
    """The renderer of a kind's model, started once."""
    started: dict[str, Renderer] = {}

    def get(kind: str) -> Renderer:
        if kind not in started:
            started[kind] = Renderer(models(kind))
        return started[kind]

    yield get
    for renderer in started.values():
        renderer.close()


@dataclass
class Reply:
    """A run's events as they come, and what may be waited for."""

    worker: Worker
    read: bool = True
    events: list[Event] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    begun: asyncio.Event = field(default_factory=asyncio.Event)
    on_event: Callable[[Event], None] | None = None

    def __call__(self, event: Event) -> None:
        assert not self.ended.is_set(), "an event after the last one"
        self.events.append(event)
        if isinstance(event, Text):
            self.begun.set()
            if self.read:
                self.worker.read_tokens += event.tokens
        elif isinstance(event, Finished | Aborted | Failed):
            self.begun.set()
            self.ended.set()
        if self.on_event is not None:
            self.on_event(event)

    @property
    def text(self) -> str:
        return "".join(e.text for e in self.events if isinstance(e, Text))

    @property
    def tokens(self) -> int:
        return sum(e.tokens for e in self.events if isinstance(e, Text))

    @property
    def progress(self) -> list[int]:
        return [e.prompt_done for e in self.events if isinstance(e, Progress)]

    @property
    def end(self) -> Finished | Aborted | Failed:
        last = self.events[-1]
        assert isinstance(last, Finished | Aborted | Failed)
        return last

    @property
    def finished(self) -> Finished:
        assert isinstance(self.end, Finished), self.end
        return self.end


@dataclass
class Bench:
    """Workers over one scheduler; closed after the test, which then has no threads left."""

    models: Callable[[str], Model]
    renderers: Callable[[str], Renderer]
    scheduler: Scheduler = field(default_factory=lambda: Scheduler(2))
    workers: list[Worker] = field(default_factory=list)
    placement: str = "dedicated"
    budget: float = inf
    """Of each model, in tokens."""
    batches: dict[str, Batch] = field(default_factory=dict)

    def batch(self, kind: str) -> Batch | None:
        """The batch of a kind's model, where the placement is batched."""
        if self.placement == "dedicated":
            return None
        if kind not in self.batches:
            self.batches[kind] = Batch(self.models(kind), self.scheduler, kind, lambda: self.budget)
        return self.batches[kind]

    async def worker(
        self,
        kind: str = "bpe",
        *,
        ctxsize: int = 512,
        threads: int = 1,
        batch: int = 0,
        share: Share | None = None,
        run_ahead: int = 256,
        shelf: Shelf | None = None,
        swap: SwapFolder | None = None,
    ) -> Worker:
        worker = Worker(
            self.models(kind),
            self.scheduler,
            share or Share("ada", 2),
            Limits(threads, batch),
            ctxsize=ctxsize,
            renderer=self.renderers(kind),
            run_ahead=run_ahead,
            name=f"test {len(self.workers)}",
            batch=self.batch(kind),
            shelf=shelf,
            swap=swap,
        )
        self.workers.append(worker)
        await worker.start()
        return worker

    async def start(self, worker: Worker, request: RunRequest, *, read: bool = True) -> Reply:
        reply = Reply(worker, read)
        worker.run(await worker.prepare(request), reply)
        return reply

    async def reply(self, worker: Worker, request: RunRequest) -> Reply:
        reply = await self.start(worker, request)
        await reply.ended.wait()
        return reply

    async def together(self, workers: Sequence[Worker], request: RunRequest) -> list[Reply]:
        """The replies of runs that begin at one moment."""
        prepared = [await worker.prepare(request) for worker in workers]
        replies = [Reply(worker, True) for worker in workers]
        for worker, asked, reply in zip(workers, prepared, replies, strict=True):
            worker.run(asked, reply)
        for reply in replies:
            await reply.ended.wait()
        return replies


HELLO = (("user", "hello there, what is your name?"),)


def held(worker: Worker) -> list[int]:
    """The tokens that the worker's context holds."""
    engine = worker._engine
    if isinstance(engine, Seat):
        return engine.tokens
    assert engine.context is not None
    return engine.context.tokens


class Gate:
    """Holds the computing thread before a decode until the test has done what it is about.

    `method`: LlamaContext's, "decode" for pieces of prompts or "decode_one" for single tokens;
    in a batch these are steps with or without such a piece. `at`: which call, from 1.
    """

    def __init__(self, patch: pytest.MonkeyPatch, method: str, at: int) -> None:
        self.reached = asyncio.Event()
        self._open = threading.Event()
        self._loop = asyncio.get_running_loop()
        self._at = at
        self._calls = 0
        single = getattr(LlamaContext, method)
        step = Instance.decode
        wants_prompt = method == "decode"

        def held_up(context: LlamaContext, *args: object, **keys: object) -> object:
            self._pass()
            return single(context, *args, **keys)

        def held_up_step(instance: Instance, rows: Sequence[Row]) -> object:
            if any(len(row.tokens) > 1 for row in rows) == wants_prompt:
                self._pass()
            return step(instance, rows)

        patch.setattr(LlamaContext, method, held_up)
        patch.setattr(Instance, "decode", held_up_step)

    def _pass(self) -> None:
        self._calls += 1
        if self._calls == self._at:
            self._loop.call_soon_threadsafe(self.reached.set)
            self._open.wait()

    def open(self) -> None:
        self._open.set()


def failing_decodes(patch: pytest.MonkeyPatch, after: int) -> None:
    """Have llama.cpp fail, as no healthy one does, from the decode after so many tokens on."""
    left = after
    single, step = LlamaContext.decode_one, Instance.decode

    def fails() -> bool:
        nonlocal left
        left -= 1
        return left < 0

    def decode_one(context: LlamaContext, token: int) -> Decoded | None:
        return Decoded.FAILED if fails() else single(context, token)

    def decode(instance: Instance, rows: Sequence[Row]) -> tuple[Decoded, list[int]]:
        failed = all(len(row.tokens) == 1 for row in rows) and fails()
        return (Decoded.FAILED, []) if failed else step(instance, rows)

    patch.setattr(LlamaContext, "decode_one", decode_one)
    patch.setattr(Instance, "decode", decode)


NEAR = 0.05
"""Logits that differ by less may change places: kernels round differently for several rows."""


def follows_the_logits(model: Model, tokens: list[int], prompt: int) -> int:
    """Check that each token behind the prompt is the likeliest one, as the same context alone
    sees it, unless another is `NEAR`; how many were far enough to tell."""
    context = LlamaContext(model, ctxsize=512, n_ubatch=512)
    told = 0
    try:
        assert context.decode(tokens[:prompt], want_logits=True) is Decoded.OK
        for token in tokens[prompt:]:
            logits = context.logits()
            best, second = sorted(logits)[:-3:-1]
            assert logits[token] >= best - NEAR
            told += best - second > NEAR
            assert context.decode([token], want_logits=True) is Decoded.OK
    finally:
        context.close()
    return told


def slots_of(worker: Worker) -> Slots:
    assert isinstance(worker._engine, Seat)
    assert worker._engine.engine is not None
    return worker._engine.engine._slots
