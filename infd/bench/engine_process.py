"""The process in which infd's engine runs without the daemon, asked by engine_side.py.

`python -m infd.bench.engine_process` is told what to do as answering.py says. Contexts, scheduler,
batch and border are the daemon's; there are no users' limits beside the cores, and no wire. The
event loop runs while a request is answered.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import replace
from functools import partial
from typing import Any

import uvloop

from infd.bench.answering import answer_requests
from infd.engine import library
from infd.engine.batch import Batch
from infd.engine.errors import EngineError
from infd.engine.model import Model
from infd.engine.options import ModelOptions
from infd.engine.scheduler import Scheduler, Share
from infd.engine.templates import Renderer
from infd.engine.worker import Event, Finished, Limits, Progress, RunRequest, Text, Worker

_Talks = list[list[tuple[str, str]]]
_Key = tuple[str, ModelOptions, int]


class Reading:
    """One reply as it comes: its text, when each piece came, and how it ended."""

    def __init__(self, worker: Worker) -> None:
        self.pieces: list[str] = []
        self.times: list[float] = []
        self.end: Event | None = None
        self.over = asyncio.Event()
        self._worker = worker

    def __call__(self, event: Event) -> None:
        if isinstance(event, Text):
            self.times.append(time.perf_counter())
            self.pieces.append(event.text)
            self._worker.read_tokens += event.tokens
        elif not isinstance(event, Progress):
            self.end = event
            self.over.set()


class Served:
    """One model, and the contexts that were asked for, kept for the next time."""

    def __init__(
        self, runner: asyncio.Runner, path: str, options: dict[str, Any], cores: int
    ) -> None:
        """`runner` has the event loop of the contexts. Raises ModelFileError."""
        self._runner = runner
        self._path = path
        self._options = ModelOptions(**options)
        self._cores = cores
        self._model = Model.load(path, options=self._options)
        self._renderer = Renderer(self._model)
        self._scheduler = Scheduler.of_gpus() if self._model.on_gpu else Scheduler(cores)
        self._variants: dict[ModelOptions, Model] = {self._options: self._model}
        self._batch: Batch | None = None
        self._workers: dict[_Key, list[Worker]] = {}

    def about(self) -> dict[str, Any]:
        """The model and the library."""
        return {"library": library.version(), "kernels": library.kernels()}

    def together(self, **asked: Any) -> dict[str, Any]:
        """See EngineSide.together."""
        return self._runner.run(self._together(**asked))

    async def _together(
        self, talks: _Talks, max_tokens: int, ctxsize: int, placement: str, options: dict[str, Any]
    ) -> dict[str, Any]:
        # Batch and Worker are told the placement here, so lookup's rule need not bind.
        changed: dict[str, Any] = {"lookup": 0, "placement": "dedicated", **options}
        wanted = replace(self._options, **changed)
        key = (placement, wanted, ctxsize)
        workers = self._workers.setdefault(key, [])
        while len(workers) < len(talks):
            workers.append(await self._worker(len(workers), *key))
        readings = []
        for worker, talk in zip(workers, talks, strict=False):
            await worker.clear()
            request = RunRequest(tuple((r, t) for r, t in talk), max_tokens=max_tokens)
            readings.append((Reading(worker), worker, await worker.prepare(request)))
        began = time.perf_counter()
        for reading, worker, prepared in readings:
            worker.run(prepared, reading)
        for reading, _, _ in readings:
            await reading.over.wait()
        seconds = time.perf_counter() - began
        ends = [reading.end for reading, _, _ in readings]
        made = [end.tokens_out for end in ends if isinstance(end, Finished)]
        if len(made) < len(ends):
            raise EngineError("a reply failed")
        gaps = sorted(
            later - earlier
            for reading, _, _ in readings
            for earlier, later in zip(reading.times, reading.times[1:], strict=False)
        )
        return {
            "tokens": sum(made),
            "seconds": seconds,
            "gap": gaps[min(len(gaps) - 1, len(gaps) * 99 // 100)] if gaps else 0.0,
            "texts": ["".join(reading.pieces) for reading, _, _ in readings],
        }

    async def _worker(
        self, number: int, placement: str, options: ModelOptions, ctxsize: int
    ) -> Worker:
        if options not in self._variants:
            # Over the same weights: these options are a context's.
            self._variants[options] = Model(self._model.pointer, self._path, options)
        model = self._variants[options]
        if placement == "batched" and self._batch is None:
            self._batch = Batch(model, self._scheduler, "bench")
        worker = Worker(
            model, self._scheduler, Share(f"user {number}", self._scheduler.cores),
            Limits(threads=self._scheduler.widest, batch=0), ctxsize=ctxsize,
            renderer=self._renderer, name=f"bench {number}",
            batch=self._batch if placement == "batched" else None,
        )  # fmt: skip
        await worker.start()
        return worker


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        answer_requests(partial(Served, runner))
