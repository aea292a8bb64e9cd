"""The daemon's models: load, unload, and who may have contexts on them.

Rules:
- One set of weights serves all contexts of a model. A model is loading, serving, or ending; calls
  that come meanwhile join what is under way.
- Before anything is allocated the file has been tried out in a subprocess, and the weights of all
  models together stay within `memory_limit`.
- A caller that is cancelled does not end a load; unloading does.
- Unloading ends the model's contexts first, then frees the weights; the memory is back at the
  system when it is answered.

On the loop's thread; reading and freeing weights happen in executor threads.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import structlog

from infd.config import Config
from infd.engine.errors import EngineError, TemplateError
from infd.engine.model import Model
from infd.engine.options import MIN_CTXSIZE
from infd.engine.scheduler import Scheduler
from infd.engine.templates import Renderer
from infd.models import memory
from infd.models.budget import Budget, Reservation
from infd.models.header import Header, HeaderError, read_header
from infd.models.loaded import LoadedModel
from infd.models.prober import Command, Prober, probe_command
from infd.models.registry import Identity, ModelFile, Registry
from infd.models.verdicts import Verdicts
from infd_protocol.errors import (
    InfdError,
    InfInvalidParams,
    InfModelNameMismatch,
    InfNotEnoughMemory,
    InfUnableToOpenModelFile,
)

__all__ = ["LoadedModel", "Models", "Reservation"]

DEFAULT_CONTEXTS = 8
"""A configured model without `ctxsize` gets a budget of so many of its training contexts."""
DEFAULT_TRAINING_CONTEXT = 2048
"""For files that do not say theirs."""
LOADERS = 2
"""Models read at one time: more would only share the disk."""
UINT32_MAX = 2**32 - 1

_log = structlog.get_logger("infd.models")


class _Loading:
    """A load under way. `progress` 0 to 1 is written by the loading thread. `ended`: an unload
    came before its end. `served`: it has made a model that can serve."""

    def __init__(self, size: int) -> None:
        self.size = size
        self.progress = 0.0
        self.ended = False
        self.served = False
        self.task: asyncio.Task[None]

    def report(self, part: float) -> bool:
        """llama.cpp's progress, on its thread; False ends the load."""
        self.progress = part
        return not self.ended


class Models:
    """All models of the daemon.

    `scheduler` gives turns to contexts that processors compute, `device` to those that a GPU does.
    `end_contexts(name)` ends the contexts on a model; their reservations are released by then or
    soon after. `probe` makes the command line that tries a file out.
    """

    def __init__(
        self,
        config: Config,
        *,
        scheduler: Scheduler,
        device: Scheduler,
        end_contexts: Callable[[str], Awaitable[object]],
        probe: Command = probe_command,
    ) -> None:
        memory.return_large_blocks()
        self._config = config
        self._scheduler = scheduler
        self._device = device
        self._end_contexts = end_contexts
        self._registry = Registry(config)
        self._prober = Prober(Verdicts(config.state), timeout=config.probe_timeout, command=probe)
        self._limit = memory.bytes_of(config.memory_limit)
        self._loaded: dict[str, LoadedModel] = {}
        self._loading: dict[str, _Loading] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._sizes: dict[str, int] = {}
        self._headers: dict[str, tuple[Identity, Header]] = {}
        self._threads = ThreadPoolExecutor(LOADERS, thread_name_prefix="infd-models")
        self._closed = False

    # --- what there is ---------------------------------------------------------------------

    def names(self) -> list[str]:
        """Every registered name, loaded or not, sorted."""
        return sorted({*self._registry.names(), *self._loaded})

    def known(self, name: str) -> bool:
        """Whether there is such a model, loaded or not."""
        return name in self._loaded or self._registry.find(name) is not None

    def loaded(self, name: str) -> LoadedModel | None:
        """The model, if it can serve."""
        return self._loaded.get(name)

    async def info(self, name: str) -> dict[str, Any]:
        """The out keys of inf_get_model_info, from the model or its file's header.

        Raises InfModelNameMismatch, InfUnableToOpenModelFile.
        """
        loaded = self._loaded.get(name)
        keys: dict[str, Any] = {"LOADED": loaded is not None}
        if loaded is not None:
            about = loaded.model.info
            keys |= _described(
                about.architecture, about.n_params, about.n_ctx_train, about.has_template
            )
            keys["FILE_SIZE"] = str(self._sizes[name])
        else:
            file = self._find(name)
            header = await self._header(file)
            keys |= _described(
                header.architecture, header.parameters, header.training_context,
                header.has_template,
            )  # fmt: skip
            keys["FILE_SIZE"] = str(file.size())
        if name in self._loading:
            keys["PROGRESS"] = self._loading[name].progress
        keys["BUDGET_USED"] = loaded.used if loaded else 0
        keys["BUDGET_FREE"] = loaded.budget - loaded.used if loaded else 0
        keys["CONTEXTS"] = loaded.contexts if loaded else 0
        return keys

    # --- loading ---------------------------------------------------------------------------

    async def load(self, name: str, ctxsize: int) -> None:
        """Make the model serve with this budget; only set the budget if it serves already.

        Raises InfInvalidParams (too small for any context, or below what is in use),
        InfModelNameMismatch, InfNotEnoughMemory, InfUnableToOpenModelFile.
        """
        if ctxsize <= 0:
            raise InfInvalidParams("CTXSIZE must be above 0: it is the model's budget in tokens.")
        if not self.known(name):
            raise _unknown(name)
        if ctxsize < MIN_CTXSIZE:
            raise InfInvalidParams(
                f"CTXSIZE must be at least {MIN_CTXSIZE}: it is the budget of all the model's "
                "contexts, and no context has fewer tokens."
            )
        await self._load(name, ctxsize)

    async def load_configured(self) -> None:
        """Load what the configuration says. A model that cannot be loaded is a line in the log,
        and so is what is wrong with the models folder."""
        self._registry.names()
        for name, table in self._config.models.items():
            if not table.load:
                continue
            try:
                await self._load(name, table.ctxsize)
            except InfdError as error:
                _log.error("model not loaded", model=name, problem=error.detail)

    async def unload(self, name: str) -> None:
        """End the model's contexts and free its memory; not loaded: nothing to do.

        Raises InfModelNameMismatch.
        """
        if not self.known(name) and name not in self._ending:
            raise _unknown(name)
        await self._stop(name)

    async def close(self) -> None:
        """Unload everything; nothing can be loaded afterwards."""
        self._closed = True
        for name in {*self._loading, *self._loaded, *self._ending}:
            await self._stop(name)
        self._threads.shutdown(wait=True)

    async def _load(self, name: str, ctxsize: int | None) -> None:
        while True:
            if self._closed:
                raise InfUnableToOpenModelFile("The daemon is shutting down.")
            if name in self._ending:
                await asyncio.wait({self._ending[name]})
                continue
            loaded = self._loaded.get(name)
            if loaded is not None:
                if ctxsize is not None:
                    loaded.resize(ctxsize)
                return
            loading = self._loading.get(name) or self._begin(self._find(name), ctxsize)
            ended_before = loading.ended
            await asyncio.wait({loading.task})  # a cancelled caller leaves the load alone
            if ended_before:
                # An unload came before this call, which is to have the model all the same.
                continue
            if loading.task.cancelled():
                raise InfUnableToOpenModelFile(f"Model {name} was unloaded while it was loading.")
            loading.task.result()

    def _begin(self, file: ModelFile, ctxsize: int | None) -> _Loading:
        size = file.size()
        taken = sum(self._sizes.values())
        if taken + size > self._limit:
            raise InfNotEnoughMemory(
                f"Model {file.name} takes {memory.describe(size)}; of memory_limit "
                f"({memory.describe(self._limit)}), {memory.describe(self._limit - taken)} "
                "are left. Unload another model first."
            )
        loading = _Loading(size)
        self._loading[file.name] = loading
        self._sizes[file.name] = size
        loading.task = asyncio.get_running_loop().create_task(
            self._read(file, ctxsize, loading), name=f"load {file.name}"
        )

        def done(task: asyncio.Task[None]) -> None:
            # Not in the task: cancelled before its first step it does nothing at all.
            del self._loading[file.name]
            if not loading.served:
                del self._sizes[file.name]
            # Its error is each waiting caller's; with none left it is nobody's.
            if not task.cancelled():
                task.exception()

        loading.task.add_done_callback(done)
        return loading

    async def _read(self, file: ModelFile, ctxsize: int | None, loading: _Loading) -> None:
        name = file.name
        try:
            await self._header(file)
            verdict = await self._prober.judge(file)
            reading = asyncio.get_running_loop().run_in_executor(
                self._threads, _load_weights, file, verdict.extra_bufts, loading
            )
            try:
                model, renderer = await asyncio.shield(reading)
            except asyncio.CancelledError:
                # The thread sees `ended` at the next piece; what it made must not be lost.
                loading.ended = True
                await asyncio.wait({reading})
                if reading.exception() is None:
                    await self._free(*reading.result())
                raise
            if ctxsize is None:
                context = model.info.n_ctx_train or DEFAULT_TRAINING_CONTEXT
                ctxsize = min(DEFAULT_CONTEXTS * context, UINT32_MAX)
            budget = Budget(name, ctxsize, self._config.max_user_share)
            scheduler = self._device if model.on_gpu else self._scheduler
            self._loaded[name] = LoadedModel(name, model, renderer, budget, scheduler)
            loading.served = True
            _log.info("model loaded", model=name, path=str(file.path), size=loading.size,
                      budget=ctxsize, extra_bufts=verdict.extra_bufts)  # fmt: skip
        except EngineError as error:
            raise InfUnableToOpenModelFile(f"Model {name}: {str(error).rstrip('.')}.") from None

    # --- ending ----------------------------------------------------------------------------

    async def _stop(self, name: str) -> None:
        loading = self._loading.get(name)
        if loading is not None:
            if not loading.ended:
                # Once: a second time would take away its waiting for the reading thread.
                loading.ended = True
                loading.task.cancel()
            await asyncio.wait({loading.task})
        loaded = self._loaded.pop(name, None)
        if loaded is not None:
            task = asyncio.get_running_loop().create_task(self._unload(loaded))
            self._ending[name] = task
            task.add_done_callback(lambda task: task.cancelled() or task.exception())
        if name in self._ending:
            # A caller that is cancelled leaves the freeing alone.
            await asyncio.shield(self._ending[name])

    async def _unload(self, loaded: LoadedModel) -> None:
        try:
            await self._end_contexts(loaded.name)
            await loaded.idle()
            await self._free(loaded.model, loaded.renderer)
            _log.info("model unloaded", model=loaded.name)
        finally:
            del self._sizes[loaded.name]
            del self._ending[loaded.name]

    async def _free(self, model: Model, renderer: Renderer) -> None:
        def free() -> None:
            renderer.close()
            model.close()
            memory.give_back()

        await asyncio.to_thread(free)

    # --- files -----------------------------------------------------------------------------

    def _find(self, name: str) -> ModelFile:
        file = self._registry.find(name)
        if file is None:
            raise _unknown(name)
        return file

    async def _header(self, file: ModelFile) -> Header:
        """The file's header, read again when the file has changed."""
        try:
            identity = file.identity()
            kept = self._headers.get(file.name)
            if kept is None or kept[0] != identity:
                header = await asyncio.to_thread(_read_headers, file)
                kept = self._headers[file.name] = (identity, header)
        except OSError as error:
            raise InfUnableToOpenModelFile(
                f"Model {file.name}: {Path(error.filename).name}: {error.strerror}."
            ) from None
        except HeaderError as error:
            raise InfUnableToOpenModelFile(f"Model {file.name}: {error}.") from None
        return kept[1]


def _read_headers(file: ModelFile) -> Header:
    first = read_header(file.path)
    others = (read_header(path, part=True) for path in file.paths[1:])
    parameters = first.parameters + sum(part.parameters for part in others)
    return replace(first, parameters=parameters)


def _load_weights(file: ModelFile, extra_bufts: bool, loading: _Loading) -> tuple[Model, Renderer]:
    """In a thread: read the weights and make the renderer."""
    model = Model.load(
        file.path, extra_bufts=extra_bufts, progress=loading.report, options=file.settings.options
    )
    try:
        renderer = Renderer(model)
        with suppress(TemplateError):  # said again, to the caller, at the first prompt
            renderer.start()
        return model, renderer
    except BaseException:
        model.close()
        raise


def _described(
    architecture: str, parameters: int, training_context: int, has_template: bool
) -> dict[str, Any]:
    return {
        "ARCHITECTURE": architecture,
        "PARAMETERS": str(parameters),
        "TRAINING_CONTEXT": min(training_context, UINT32_MAX),
        "TEMPLATE": has_template,
    }


def _unknown(name: str) -> InfModelNameMismatch:
    return InfModelNameMismatch(
        f"There is no model {name!r}; inf_get_program_models lists what there is."
    )
