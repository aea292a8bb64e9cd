"""The daemon's parts and the rules between them: what a user's change or an unload ends.

`server.py` opens the sockets and stops it all in order; handlers reach everything through here.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from infd.accounts.service import Accounts
from infd.accounts.user import User
from infd.config import Config
from infd.contexts.context import Context
from infd.contexts.residence import Residence
from infd.engine.border import give_way
from infd.engine.model import Model
from infd.engine.prefixes import Prefixes
from infd.engine.scheduler import Scheduler
from infd.engine.swap import SwapFolder
from infd.machine import connection_limit, usable_cores
from infd.metrics import Metrics
from infd.models.memory import bytes_of
from infd.models.service import Models
from infd.quotas import Quotas
from infd.session import Sessions
from infd.turns import Turns
from infd.volumes import Volumes
from infd_protocol.errors import InfdError, InfMaximumClients

if TYPE_CHECKING:
    from infd.link import Link


SWAP = "swap"
"""The folder in the state folder where contexts are that nobody uses."""


class Daemon:
    """Everything that lives as long as the process. Made and used on the loop's thread."""

    def __init__(self, config: Config, accounts: Accounts) -> None:
        self.config = config
        self.accounts = accounts
        self.cores = config.cores or usable_cores()
        self.scheduler = Scheduler(self.cores, slice_ms=config.slice_ms)
        self.quotas = Quotas(self.scheduler)
        self.device = Scheduler.of_gpus(slice_ms=config.slice_ms)
        self.device_quotas = Quotas(self.device)
        self.sessions = Sessions(config)
        self.metrics = Metrics()
        self.prefixes = Prefixes(bytes_of(config.prefix_memory))
        self.swap: SwapFolder | None = None
        if config.swap_disk:
            self.swap = SwapFolder(config.state / SWAP, config.swap_disk)
            self.swap.open()
        self.residence = Residence(
            lambda: [context.tenant for context in self.contexts()],
            idle=config.context_swap_idle,
            memory=bytes_of(config.context_memory),
            beside=lambda: self.prefixes.size,
        )
        self.models = Models(
            config,
            scheduler=self.scheduler,
            device=self.device,
            end_contexts=self.end_contexts,
        )
        self.tokenizing = ThreadPoolExecutor(
            self.cores, thread_name_prefix="infd-tokens", initializer=give_way
        )
        """Threads for texts and tokens that people send, and for nothing else."""
        self.max_connections = connection_limit(config.max_connections)
        self.links: set[Link] = set()
        self.volumes = Volumes()
        self.turns = Turns(lambda: self.scheduler.in_use + self.device.in_use > 0)
        self.stopping = False
        self._all_gone: asyncio.Event | None = None
        self._beside: set[asyncio.Task[None]] = set()
        accounts.on_change(self._user_changed)

    # --- connections -----------------------------------------------------------------------

    def admit(self, link: Link) -> InfdError | None:
        """Count a new connection in, or say why not."""
        if len(self.links) >= self.max_connections:
            return InfMaximumClients(
                f"The daemon has {len(self.links)} connections already; try later."
            )
        self.links.add(link)
        return None

    def leave(self, link: Link) -> None:
        self.links.discard(link)
        if not self.links and self._all_gone is not None:
            self._all_gone.set()

    async def all_gone(self) -> None:
        """Wait until there is no connection."""
        self._all_gone = asyncio.Event()
        if self.links:
            await self._all_gone.wait()

    @staticmethod
    def now() -> float:
        """The loop's clock, in seconds, which sessions keep their times on."""
        return asyncio.get_running_loop().time()

    # --- contexts --------------------------------------------------------------------------

    def quotas_for(self, model: Model) -> Quotas:
        """The users' quotas at what computes the model: the cores, or the device."""
        return self.device_quotas if model.on_gpu else self.quotas

    def processor_seconds(self, username: str) -> float:
        """What the user's contexts have computed, at the cores and at the device."""
        books = (self.quotas, self.device_quotas)
        return sum(quotas.processor_seconds(username) for quotas in books)

    def contexts(self) -> list[Context]:
        """All contexts of all sessions."""
        return [context for session in self.sessions for context in session.contexts.values()]

    def runs(self) -> int:
        """Runs under way."""
        return sum(context.busy for context in self.contexts())

    async def end_contexts(self, model: str, username: str | None = None) -> None:
        """End the contexts on a model, all or one user's; their memory is free afterwards."""
        ending = []
        for session in self.sessions:
            if username is not None and session.username != username:
                continue
            for ctxid, context in list(session.contexts.items()):
                if context.model == model:
                    del session.contexts[ctxid]
                    ending.append(context.close(f"The model {model} is not available any more."))
        await asyncio.gather(*ending)
        self.prefixes.forget(user=username, model=model)

    # --- users -----------------------------------------------------------------------------

    def _user_changed(self, old: User | None, new: User | None) -> None:
        """A change is in force: bind it to live sessions at once."""
        if old is None:
            return
        if new is None:
            for session in self.sessions.of_user(old.username):
                self.sessions.end_soon(session, "The user was deleted.")
            self.quotas.forget(old.username)
            self.device_quotas.forget(old.username)
            self.prefixes.forget(user=old.username)
            self.metrics.forget(old.username)
            return
        self.quotas.changed(new)
        self.device_quotas.changed(new)
        if new.system_prompt != old.system_prompt:
            self.prefixes.empty(new.username)
        used = {context.model for context in self.sessions.contexts_of(new.username)}
        for model in used:
            if not new.reaches(model):
                self._do_beside(self.end_contexts(model, new.username))

    def _do_beside(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)

    async def changes_done(self) -> None:
        """Wait until what the changes of users have ended is gone."""
        if self._beside:
            await asyncio.wait(self._beside)

    # --- the end ---------------------------------------------------------------------------

    async def close(self) -> None:
        """End sessions, models and accounts, in this order. Runs under way are aborted."""
        await self.residence.close()
        await self.sessions.close("The daemon is shutting down.")
        if self._beside:
            await asyncio.wait(self._beside)
        await self.models.close()
        self.tokenizing.shutdown()
        self.accounts.close()
