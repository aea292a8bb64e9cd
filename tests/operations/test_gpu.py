"""Contexts of a model on a GPU wait for the device, not for the cores.

There is no GPU where these tests run: llama.cpp is only made to say that it could use one, and
computes on processors. What is tested is who gives the turns.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.gguf_factory import make
from support.world import HERE, World

from infd.accounts.user import User
from infd.config import Config, ModelConfig
from infd.daemon import Daemon
from infd.engine.generation import Engine
from infd.engine.library import lib
from infd.engine.scheduler import AT_A_GPU, Share
from infd.session import Session

ADA = User("ada", is_super=True, ctxlength=4096, max_proc_threads=2, proc_threads=2)


class GpuWorld(World):
    """A whole daemon but for its sockets; `on-gpu` is a model with layers for a GPU."""

    def __init__(self, folder: Path) -> None:
        file = make(folder, "bpe")
        tables = {
            "on-gpu": ModelConfig(path=file, n_gpu_layers=-1),
            "on-gpu-batched": ModelConfig(path=file, n_gpu_layers=-1, placement="batched"),
            "on-cores": ModelConfig(path=file),
        }
        config = Config(state=folder, models_folder=folder / "none", models=tables, cores=2)
        super().__init__(folder, ADA, config=config)
        self.daemon = Daemon(config, self.accounts)
        self.sessions = self.daemon.sessions
        session, self.stoks["ada"] = self.sessions.create(ADA, HERE)
        self.session: Session = session

    def __getattr__(self, name: str) -> Any:
        return getattr(self.daemon, name)

    async def context(self, model: str) -> Engine:
        """The engine of a new context."""
        await self.call("ada", "inf_load_model", MODEL=model, CTXSIZE=4096)
        made = await self.call("ada", "inf_create_context", MODEL=model, CTXSIZE=256)
        engine: Engine = self.session.contexts[made.keys["CTXID"]]._worker._engine
        return engine

    async def close(self) -> None:
        await self.daemon.close()


@pytest.fixture
async def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[GpuWorld]:
    monkeypatch.setattr(lib, "llama_supports_gpu_offload", lambda: True)
    made = GpuWorld(tmp_path)
    # Kept out of World's own, which has no engine.
    del made.models
    yield made
    await made.close()


async def test_contexts_on_a_gpu_have_the_devices_turns(world: GpuWorld) -> None:
    daemon = world.daemon
    gpu, cores = await world.context("on-gpu"), await world.context("on-cores")
    assert (gpu.model.on_gpu, cores.model.on_gpu) == (True, False)
    assert gpu.turn._scheduler is daemon.device
    assert cores.turn._scheduler is daemon.scheduler
    assert (daemon.device.cores, daemon.device.widest) == (AT_A_GPU, 1)
    # A user's books at the device are not those at the cores.
    assert gpu.share is not cores.share
    assert (gpu.limits.threads, cores.limits.threads) == (1, 2)
    loaded = daemon.models.loaded("on-gpu-batched") or await load(world, "on-gpu-batched")
    assert loaded.scheduler is daemon.device
    assert loaded.batch._scheduler is daemon.device


async def load(world: GpuWorld, model: str) -> Any:
    await world.call("ada", "inf_load_model", MODEL=model, CTXSIZE=4096)
    return world.daemon.models.loaded(model)


async def test_full_cores_do_not_hold_up_the_device(world: GpuWorld) -> None:
    daemon = world.daemon
    engine = await world.context("on-gpu")
    ctxid = next(iter(world.session.contexts))
    other = Share("other", 2)
    taken = daemon.scheduler.acquire(other, 2)
    assert taken == 2
    try:
        stored = await world.call("ada", "exec_set_input", data="hello", CTXID=ctxid, ROLE="user")
        await world.call(
            "ada", "exec_execute_input", CTXID=ctxid, MSGID=[stored.keys["MSGID"]], MAX_TOKENS=5
        )
        async with asyncio.timeout(60):
            await world.session.contexts[ctxid].ended()
        assert engine.made_tokens == 5
        assert daemon.device.in_use == 0
    finally:
        daemon.scheduler.release(other, taken)


async def test_a_changed_or_deleted_user_is_changed_at_the_device_too(world: GpuWorld) -> None:
    engine = await world.context("on-gpu")
    quota = world.daemon.device_quotas.of(ADA)
    assert quota.share is engine.share
    world.daemon._user_changed(ADA, replace(ADA, batch_set=7))
    assert engine.limits.batch == 7
    world.daemon._user_changed(ADA, None)
    assert world.daemon.device_quotas.of(ADA) is not quota
