"""Models for the engine's tests, and a way to run a worker to its end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Awaitable, Iterator
from pathlib import Path

import pytest
from support.worker_bench import Bench, Models, Renderers, loaded_models, started_renderers


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="session")
def models(folder: Path) -> Iterator[Models]:
    yield from loaded_models(folder)


@pytest.fixture(scope="session")
def renderers(models: Models) -> Iterator[Renderers]:
    yield from started_renderers(models)


@pytest.fixture(params=["dedicated", "batched"])
async def bench(
    models: Models,
    renderers: Renderers,
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
