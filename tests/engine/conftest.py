"""Models for the engine's tests, and a way to run a worker to its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from support.gguf_factory import make

from infd.engine.model import Model
from infd.engine.scheduler import Scheduler, Share
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


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def models(folder: Path) -> Iterator[Callable[[str], Model]]:
    loaded: dict[str, Model] = {}

    def get(kind: str) -> Model:
        if kind not in loaded:
            loaded[kind] = Model.load(make(folder, kind))
        return loaded[kind]

    yield get
    for model in loaded.values():
        assert model.open_contexts == 0
        model.close()


@pytest.fixture(scope="session")
def renderers(models: Callable[[str], Model]) -> Iterator[Callable[[str], Renderer]]:
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

    async def worker(
        self,
        kind: str = "bpe",
        *,
        ctxsize: int = 512,
        threads: int = 1,
        batch: int = 0,
        share: Share | None = None,
        run_ahead: int = 256,
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


@pytest.fixture
async def bench(
    models: Callable[[str], Model], renderers: Callable[[str], Renderer]
) -> AsyncIterator[Bench]:
    made = Bench(models, renderers)
    unhandled: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: unhandled.append(context))
    before = threading.active_count()
    yield made
    closing: list[Awaitable[None]] = [worker.close() for worker in made.workers]
    await asyncio.gather(*closing)
    assert threading.active_count() == before
    assert made.scheduler.in_use == 0
    assert not made.scheduler.policy.queue
    assert not unhandled
