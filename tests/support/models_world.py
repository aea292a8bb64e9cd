"""Models without a daemon: a folder of files, `Models` over it, and probes that die on demand."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

from support.gguf_crashing import CRASHING, make_crashing
from support.gguf_factory import make

from infd.config import Config, ModelConfig
from infd.engine.scheduler import Scheduler
from infd.models.budget import Reservation
from infd.models.prober import probe_command
from infd.models.service import LoadedModel, Models


class World:
    """Makes `Models`, closes them, and stands in for the daemon that ends contexts."""

    def __init__(self, root: Path) -> None:
        self.folder = root / "models"
        self.state = root / "state"
        self.folder.mkdir()
        self.state.mkdir()
        self.ended: list[str] = []
        self.asked_to_end = asyncio.Event()
        self.held: list[Reservation] = []
        self.cores, self.device = Scheduler(2), Scheduler(1)
        self._made: list[Models] = []

    def put(self, *kinds: str) -> None:
        for kind in kinds:
            (make_crashing if kind in CRASHING else make)(self.folder, kind)

    def hold(self, loaded: LoadedModel, size: int) -> None:
        """A context of `size` tokens, as far as the budget knows."""
        self.held.append(loaded.reserve(size, user="ada", user_is_super=False, sharers=1))

    async def end_contexts(self, name: str) -> None:
        self.ended.append(name)
        self.asked_to_end.set()
        for reservation in self.held:
            reservation.release()
        self.held.clear()

    def models(
        self, tables: dict[str, ModelConfig] | None = None, probe: Any = None, **keys: Any
    ) -> Models:
        config = Config(state=self.state, models_folder=self.folder, models=tables or {}, **keys)
        more = {"probe": probe} if probe is not None else {}
        made = Models(
            config,
            scheduler=self.cores,
            device=self.device,
            end_contexts=self.end_contexts,
            **more,
        )
        self._made.append(made)
        return made

    async def close(self) -> None:
        for made in self._made:
            await made.close()


class Commands:
    """Command lines of probes, counted. `dies`: extra_bufts with which the process kills itself.

    The real probe runs otherwise: the repacking crash itself needs a library built wrongly.
    """

    def __init__(self, dies: tuple[bool, ...] = (), number: int = signal.SIGABRT) -> None:
        self.asked: list[bool] = []
        self._dies = dies
        self._number = number

    def __call__(self, path: Path, extra_bufts: bool) -> list[str]:
        self.asked.append(extra_bufts)
        if extra_bufts in self._dies:
            code = f"import os; os.kill(os.getpid(), {int(self._number)})"
            return [sys.executable, "-c", code]
        return probe_command(path, extra_bufts)
