"""Models for the engine's tests, and a way to run a worker to its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
from support.gguf_factory import make
from support.worker_bench import Bench

from infd.engine.model import Model
from infd.engine.templates import Renderer


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


@pytest.fixture(params=["dedicated", "batched"])
async def bench(
    models: Callable[[str], Model],
    renderers: Callable[[str], Renderer],
    request: pytest.FixtureRequest,
) -> AsyncIterator[Bench]:
    made = Bench(models, renderers, placement=request.param)
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
