"""The engine on a real GPU, in both placements. Skipped where llama.cpp has none to compute on."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.gguf_factory import make
from support.worker_bench import (
    HELLO,
    Bench,
    Models,
    Renderers,
    held,
    loaded_models,
    started_renderers,
)

from infd.engine.context import LlamaContext
from infd.engine.instance import Instance
from infd.engine.library import captured_log, supports_gpu
from infd.engine.model import Model
from infd.engine.options import ModelOptions
from infd.engine.plain import PlainLoop
from infd.engine.swap import SwapFolder
from infd.engine.worker import Aborted, RunRequest

pytestmark = pytest.mark.skipif(
    not supports_gpu(), reason="llama.cpp finds no GPU, or was built without support for one"
)

ON_GPU = ModelOptions(n_gpu_layers=-1)


@pytest.fixture(scope="module")
def models(folder: Path) -> Iterator[Models]:
    yield from loaded_models(folder, ON_GPU)


@pytest.fixture(scope="module")
def renderers(models: Models) -> Iterator[Renderers]:
    yield from started_renderers(models)


@pytest.fixture
def places(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Where llama.cpp puts weights and caches, as it names the places."""
    found: list[str] = []

    @contextmanager
    def remembered() -> Iterator[list[tuple[int, str]]]:
        with captured_log() as said:
            yield said
        found.extend(line.split()[1] for _, line in said if " buffer size" in line)

    monkeypatch.setattr("infd.engine.model.captured_log", remembered)
    monkeypatch.setattr("infd.engine.context.captured_log", remembered)
    return found


@pytest.mark.parametrize("together", [False, True])
def test_layers_are_where_they_were_asked_for(
    folder: Path, places: list[str], together: bool
) -> None:
    for options in (ON_GPU, ModelOptions(n_gpu_layers=0)):
        places.clear()
        model = Model.load(make(folder, "demo"), options=options)
        if together:
            Instance(model, slots=2, ctxsize=256).close()
        else:
            LlamaContext(model, ctxsize=256, n_ubatch=256).close()
        model.close()
        assert len(places) > 2
        # Without layers there, not even what llama.cpp computes there by itself: a large prompt.
        assert any(place.startswith("CPU") for place in places) or options is ON_GPU
        assert all(place.startswith("CPU") for place in places) == (options is not ON_GPU)


def test_flash_attention_that_the_gpu_lacks_is_not_computed_by_processors(folder: Path) -> None:
    """It has it or not, whatever is asked for."""
    layouts = []
    for asked in ("auto", "on"):
        options = ModelOptions(n_gpu_layers=-1, flash_attention=asked)
        model = Model.load(make(folder, "demo"), options=options)
        context = LlamaContext(model, ctxsize=256, n_ubatch=256)
        layouts.append(context.layout)
        context.close()
        model.close()
    assert layouts[0] == layouts[1]


async def test_a_reply_is_that_of_the_plain_loop(bench: Bench, models: Models) -> None:
    request = RunRequest(HELLO, max_tokens=60)
    worker = await bench.worker("demo")
    prompt = (await worker.prepare(request)).tokens
    plain = PlainLoop(models("demo"), n_ctx=512)
    expected = plain.run(prompt, 60).tokens
    plain.close()
    assert expected
    end = (await bench.reply(worker, request)).finished
    assert held(worker)[len(prompt) : len(prompt) + end.tokens_out] == expected[: end.tokens_out]
    assert end.tokens_out == len(expected)


async def test_several_at_once_say_what_each_says_alone(bench: Bench) -> None:
    asked = [
        RunRequest((("user", f"Count from 1 to {n}."),), max_tokens=40) for n in (5, 9, 12, 15)
    ]
    alone = []
    worker = await bench.worker("demo")
    for request in asked:
        alone.append((await bench.reply(worker, request)).text)
        await worker.clear()
    workers = [worker, *[await bench.worker("demo") for _ in asked[1:]]]
    replies = await asyncio.gather(*map(bench.reply, workers, asked))
    assert [reply.text for reply in replies] == alone


async def test_what_was_saved_goes_on_where_it_was(bench: Bench, tmp_path: Path) -> None:
    swap = SwapFolder(tmp_path, 1 << 30)
    swap.open()
    worker = await bench.worker("demo", swap=swap)
    first = (await bench.reply(worker, RunRequest(HELLO, max_tokens=20))).finished
    assert await worker.swap_out(unsaved=False)
    assert worker.asleep
    again = (await bench.reply(worker, RunRequest(HELLO, max_tokens=20))).finished
    assert again.tokens_cached >= first.tokens_in - 1
    assert again.tokens_out == first.tokens_out


async def test_an_abort_ends_a_run_and_the_next_one_is_whole(bench: Bench) -> None:
    request = RunRequest((("user", "Count from 1 to 90."),), max_tokens=300)
    worker = await bench.worker("demo")
    whole = (await bench.reply(worker, request)).text
    await worker.clear()
    reply = await bench.start(worker, request)
    await reply.begun.wait()
    worker.abort()
    await reply.ended.wait()
    assert isinstance(reply.end, Aborted)
    await worker.clear()
    assert (await bench.reply(worker, request)).text == whole
