"""The daemon's models: loading, joining, budgets, limits, and memory that comes back."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs
from support.models_world import Commands, World

from infd.config import ModelConfig
from infd.models.prober import probe_command
from infd.models.service import LoadedModel, Models
from infd_protocol.errors import (
    InfInvalidParams,
    InfModelNameMismatch,
    InfNotEnoughMemory,
    InfUnableToOpenModelFile,
)


def serving(models: Models, name: str) -> LoadedModel:
    loaded = models.loaded(name)
    assert loaded is not None
    return loaded


async def test_a_model_serves_with_its_budget(world: World) -> None:
    world.put("bpe", "spm")
    models = world.models()
    assert models.names() == ["bpe", "spm"]
    assert models.known("bpe")
    assert models.loaded("bpe") is None
    await models.load("bpe", 500)
    loaded = serving(models, "bpe")
    assert (loaded.budget, loaded.used, loaded.contexts) == (500, 0, 0)
    assert loaded.model.info.architecture == "llama"
    world.hold(loaded, 200)
    info = await models.info("bpe")
    assert (info["LOADED"], info["BUDGET_USED"], info["BUDGET_FREE"]) == (True, 200, 300)
    other = await models.info("spm")
    assert (other["LOADED"], other["CONTEXTS"]) == (False, 0)
    assert set(info) == set(other)


async def test_loading_again_sets_the_budget(world: World) -> None:
    world.put("bpe")
    models = world.models()
    await models.load("bpe", 500)
    loaded = serving(models, "bpe")
    world.hold(loaded, 200)
    await models.load("bpe", 200)
    assert models.loaded("bpe") is loaded
    with pytest.raises(InfInvalidParams):
        await models.load("bpe", 199)
    assert loaded.budget == 200


async def test_loads_of_one_model_join(world: World) -> None:
    world.put("bpe")
    probe = Commands()
    models = world.models(probe=probe)
    await asyncio.gather(*(models.load("bpe", size) for size in (300, 400, 500)))
    assert probe.asked == [True]
    assert serving(models, "bpe").budget in (300, 400, 500)


async def test_a_cancelled_caller_leaves_the_load_alone(world: World) -> None:
    world.put("bpe")
    models = world.models()
    caller = asyncio.create_task(models.load("bpe", 500))
    joined = asyncio.create_task(models.load("bpe", 500))
    await asyncio.sleep(0)
    caller.cancel()
    await joined
    assert caller.cancelled()
    assert models.loaded("bpe") is not None


async def test_what_cannot_be_loaded_says_why(world: World) -> None:
    world.put("bpe", "cut-header", "crashes-decoding", "empty")
    models = world.models()
    with pytest.raises(InfInvalidParams):
        await models.load("bpe", 0)
    with pytest.raises(InfInvalidParams, match="at least 32"):
        await models.load("bpe", 31)
    for act in (models.load("nope", 5), models.unload("nope"), models.info("nope")):
        with pytest.raises(InfModelNameMismatch, match="nope"):
            await act
    for kind in ("cut-header", "crashes-decoding", "empty"):
        with pytest.raises(InfUnableToOpenModelFile, match=kind):
            await models.load(kind, 500)
        assert models.loaded(kind) is None
    with pytest.raises(InfUnableToOpenModelFile):
        await models.info("empty")
    await models.load("bpe", 500)


async def test_the_memory_limit_counts_all_models(world: World) -> None:
    world.put("bpe", "spm")
    size = (world.folder / "bpe.gguf").stat().st_size
    models = world.models(memory_limit=size + 1000)
    await models.load("bpe", 500)
    with pytest.raises(InfNotEnoughMemory, match="memory_limit"):
        await models.load("spm", 500)
    await models.unload("bpe")
    with pytest.raises(InfNotEnoughMemory):
        await world.models(memory_limit=size - 1).load("bpe", 500)


async def test_a_failed_load_leaves_its_memory_to_others(world: World) -> None:
    world.put("bpe", "cut-tensors")
    models = world.models(memory_limit=(world.folder / "bpe.gguf").stat().st_size)
    with pytest.raises(InfUnableToOpenModelFile):
        await models.load("cut-tensors", 500)
    await models.load("bpe", 500)


async def test_unloading_ends_contexts_first(world: World) -> None:
    world.put("bpe")
    models = world.models()
    await models.unload("bpe")
    assert world.ended == []
    await models.load("bpe", 500)
    world.hold(serving(models, "bpe"), 300)
    model = serving(models, "bpe").model
    await asyncio.gather(models.unload("bpe"), models.unload("bpe"))
    assert world.ended == ["bpe"]
    assert models.loaded("bpe") is None
    assert model.pointer is None
    await models.load("bpe", 100)
    assert serving(models, "bpe").used == 0


async def test_unloading_waits_for_the_last_context_and_loading_for_the_unloading(
    world: World,
) -> None:
    world.put("bpe")
    models = world.models()
    await models.load("bpe", 500)
    first = serving(models, "bpe")
    late = first.reserve(100, user="ada", user_is_super=False, sharers=1)
    unloading = asyncio.create_task(models.unload("bpe"))
    loading = asyncio.create_task(models.load("bpe", 700))
    await world.asked_to_end.wait()
    assert not unloading.done()
    assert first.model.pointer is not None
    late.release()
    await asyncio.gather(unloading, loading)
    assert serving(models, "bpe").budget == 700


async def test_unloading_ends_a_load(world: World, tmp_path: Path) -> None:
    world.put("bpe")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)

    def stuck(path: Path, extra_bufts: bool) -> list[str]:
        return ["/bin/sh", "-c", f"echo > {fifo}; exec tail -f /dev/null"]

    models = world.models(probe=stuck)
    loading = asyncio.create_task(models.load("bpe", 500))
    await asyncio.to_thread(fifo.read_text)
    assert (await models.info("bpe"))["PROGRESS"] == 0.0
    await models.unload("bpe")
    with pytest.raises(InfUnableToOpenModelFile, match="unloaded"):
        await loading
    assert models.loaded("bpe") is None


async def test_a_load_that_was_asked_for_after_the_unload_is_done(
    world: World, tmp_path: Path
) -> None:
    world.put("bpe")
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    probes = 0

    def stuck_once(path: Path, extra_bufts: bool) -> list[str]:
        nonlocal probes
        probes += 1
        if probes == 1:
            return ["/bin/sh", "-c", f"echo > {fifo}; exec tail -f /dev/null"]
        return probe_command(path, extra_bufts)

    models = world.models(probe=stuck_once)
    first = asyncio.create_task(models.load("bpe", 500))
    await asyncio.to_thread(fifo.read_text)
    unloading = asyncio.create_task(models.unload("bpe"))
    await asyncio.sleep(0)
    assert models._loading["bpe"].ended
    await models.load("bpe", 600)
    await unloading
    with pytest.raises(InfUnableToOpenModelFile, match="unloaded"):
        await first
    assert serving(models, "bpe").budget == 600


async def test_a_load_is_ended_before_its_first_step(world: World) -> None:
    world.put("bpe")
    models = world.models()
    loading = asyncio.create_task(models.load("bpe", 500))
    unloading = asyncio.create_task(models.unload("bpe"))
    with pytest.raises(InfUnableToOpenModelFile, match="unloaded"):
        await loading
    await unloading
    assert "PROGRESS" not in await models.info("bpe")
    await models.load("bpe", 600)
    assert serving(models, "bpe").budget == 600


async def test_a_load_is_ended_while_weights_are_read(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    from infd.engine.model import Model
    from infd.models import service

    world.put("bpe")
    models = world.models()
    begun = asyncio.Event()
    loop = asyncio.get_running_loop()
    reached: list[Model] = []

    class Slow(Model):
        @classmethod
        def load(cls, path: Any, *, progress: Any = None, **more: Any) -> Model:
            def report(part: float) -> bool:
                loop.call_soon_threadsafe(begun.set)
                return bool(progress(part))

            model = super().load(path, progress=report, **more)
            reached.append(model)
            return model

    monkeypatch.setattr(service, "Model", Slow)
    loading = asyncio.create_task(models.load("bpe", 500))
    await begun.wait()
    await models.unload("bpe")
    assert models.loaded("bpe") is None
    assert all(model.pointer is None for model in reached)
    assert isinstance((await asyncio.gather(loading, return_exceptions=True))[0], Exception | None)


async def test_configured_models_are_loaded_and_bad_ones_told(world: World) -> None:
    world.put("bpe", "cut-header", "spm")
    tables = {
        "bpe": ModelConfig(load=True),
        "cut-header": ModelConfig(load=True),
        "gone": ModelConfig(load=True),
        "spm": ModelConfig(ctxsize=9),
        "two": ModelConfig(path=world.folder / "bpe.gguf", load=True, ctxsize=777),
    }
    models = world.models(tables)
    with capture_logs() as logged:
        await models.load_configured()
    assert [name for name in models.names() if models.loaded(name)] == ["bpe", "two"]
    assert serving(models, "bpe").budget == 8 * 2048
    assert serving(models, "two").budget == 777
    bad = [line["model"] for line in logged if line["event"] == "model not loaded"]
    assert bad == ["cut-header", "gone"]


async def test_a_model_whose_file_was_removed_serves_until_it_is_unloaded(world: World) -> None:
    world.put("bpe")
    models = world.models()
    await models.load("bpe", 500)
    (world.folder / "bpe.gguf").unlink()
    assert models.known("bpe")
    assert (await models.info("bpe"))["LOADED"]
    await models.unload("bpe")
    # The folder may have been looked at a moment ago; then it is the file that is missing.
    with pytest.raises((InfModelNameMismatch, InfUnableToOpenModelFile)):
        await models.load("bpe", 500)


async def test_closing_frees_all_and_loads_no_more(world: World) -> None:
    world.put("bpe", "spm")
    models = world.models()
    await models.load("bpe", 500)
    model = serving(models, "bpe").model
    beside = asyncio.create_task(models.load("spm", 500))
    await asyncio.sleep(0)
    await models.close()
    assert model.pointer is None
    with pytest.raises(InfUnableToOpenModelFile):
        await beside
    with pytest.raises(InfUnableToOpenModelFile, match="shutting down"):
        await models.load("bpe", 500)


async def test_split_files_are_one_model(world: World) -> None:
    world.put("bpe")
    whole = (world.folder / "bpe.gguf").read_bytes()
    (world.folder / "cut-00001-of-00002.gguf").write_bytes(whole)
    models = world.models()
    with pytest.raises(InfUnableToOpenModelFile, match="cut-00002-of-00002"):
        await models.load("cut", 500)
