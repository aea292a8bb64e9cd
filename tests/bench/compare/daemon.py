"""infd as a contender: a real daemon in a state folder of its own, spoken to with AsyncClient.

One daemon a placement. Its users beside the superuser: "one" and "many" (who share it), and
"prompted", which has a system prompt. All may use every core.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any, ClassVar

from bench.compare.measures import Reply
from bench.compare.side import PATIENCE, Chat, Process, Server, SideError, Subject

from infd import children
from infd.accounts import offline
from infd_client import AsyncClient, ClientError
from infd_protocol.errors import InfdError

ADMIN = "admin"
USERS = ("one", "many", "prompted")
BUDGET = 1 << 19
"""Tokens of all contexts together: more than any scenario takes."""
_TOKEN = "a token of the comparison"


class InfdChat(Chat):
    """A context of one user."""

    def __init__(self, client: AsyncClient, model: str, ctxsize: int) -> None:
        self._client = client
        self._model = model
        self._ctxsize = ctxsize
        self._ctxid: int | None = None
        self._before: int | None = None
        self._last: int | None = None
        self._next: list[int] = []

    @property
    def ctxid(self) -> int:
        """The context's id."""
        assert self._ctxid is not None
        return self._ctxid

    async def open(self) -> None:
        """Create the context."""
        made = await self._client.inf_create_context(model=self._model, ctxsize=self._ctxsize)
        self._ctxid = made.ctxid

    async def say(self, text: str, tokens: int) -> Reply:
        """See Chat."""
        client = self._client
        self.reply = reply = Reply(perf_counter())
        try:
            if self._ctxid is None:
                await self.open()
            stored = await client.exec_set_input(ctxid=self.ctxid, role="user", data=text)
            await client.exec_execute_input(
                ctxid=self.ctxid, msgid=[*self._next, stored.msgid], max_tokens=tokens
            )
            stream = client.stream(self.ctxid)
            async for piece in stream:
                reply.add(perf_counter(), piece)
        except (InfdError, ClientError) as error:
            raise SideError(f"infd: {type(error).__name__} {error}") from None
        assert stream.result is not None
        keys = stream.result.keys
        reply.tokens, reply.prompt = keys["TOKENS_OUT"], keys["TOKENS_IN"]
        reply.cached = keys["TOKENS_CACHED"]
        self._before, self._last, self._next = self._last, keys.get("MSGID"), []
        return reply

    async def rewind(self) -> None:
        """Name the reply before the last message again: the history is cut back to it."""
        assert self._before is not None
        self._next, self._last = [self._before], self._before

    async def forget(self) -> None:
        """Clear the history, and the KV with it."""
        await self._client.inf_clear_context_history(ctxid=self.ctxid)
        self._before = self._last = None
        self._next = []

    async def stop(self) -> None:
        """End the run."""
        with suppress(InfdError):
            await self._client.exec_stop(ctxid=self.ctxid)

    async def prompt_done(self) -> int:
        """Tokens of the prompt under way that are evaluated."""
        status = await self._client.inf_get_context_status(ctxid=self.ctxid)
        return int(status.keys.get("PROMPT_DONE", 0))

    async def close(self) -> None:
        """Destroy the context."""
        if self._ctxid is not None:
            await self._client.inf_destroy_context(ctxid=self._ctxid)
            self._ctxid = None


class Infd(Server):
    """The daemon with the model in one placement."""

    name: ClassVar[str] = "infd dedicated"
    table: ClassVar[dict[str, Any]] = {"placement": "dedicated"}

    def __init__(self, subject: Subject, cores: int) -> None:
        self._subject = subject
        self.cores = cores
        self._folder: Path | None = None
        self._process: Process | None = None
        self._clients: dict[str, AsyncClient] = {}
        shown = ", ".join(f"{key} = {value}" for key, value in self.table.items())
        self.about = f"infd serve, {shown}; read through AsyncClient, each user a connection"

    async def start(self) -> None:
        """See Side."""
        folder = self._folder = Path(tempfile.mkdtemp(prefix="infd-compare-"))
        state = folder / "state"
        acctok = await asyncio.to_thread(offline.init, state, ADMIN, None, self.cores)
        lines = [f"[models.{json.dumps(self._subject.name)}]"]
        table = {"path": str(self._subject.path.resolve()), "load": True, "ctxsize": BUDGET,
                 "n_gpu_layers": self._subject.gpu_layers}  # fmt: skip
        lines += [f"{key} = {json.dumps(value)}" for key, value in {**table, **self.table}.items()]
        (state / "infd.toml").write_text("\n".join(lines) + "\n")
        reading, writing = os.pipe()
        try:
            command = children.command(
                "infd", "serve", "--state", str(state), "--listen", "127.0.0.1:0",
                "--log-format", "json", "--ready-fd", str(writing),
            )  # fmt: skip
            self._process = Process(command, children.environment(), pass_fds=(writing,))
        finally:
            os.close(writing)
        with os.fdopen(reading) as pipe:
            address = (await asyncio.to_thread(pipe.readline)).strip()
        if not address:
            raise SideError(f"the daemon did not start: {self._process.said()}")
        self._port = int(address.rpartition(":")[2])
        try:
            await self._make_users(acctok)
        except (InfdError, ClientError) as error:
            raise SideError(f"the daemon refused: {error}") from None

    async def _make_users(self, acctok: str) -> None:
        admin = await self._log_in(ADMIN, acctok)
        for user in USERS:
            await admin.inf_create_new_user(
                username=user, acctok=_TOKEN, acclimit=1, ctxlength=65536, batch_set=512,
                max_proc_threads=self.cores, proc_threads=self.cores, authflags=[],
            )  # fmt: skip
            await admin.inf_modify_user_accept_models(username=user, model=[self._subject.name])
            await self._log_in(user, _TOKEN)

    async def _log_in(self, user: str, token: str) -> AsyncClient:
        client = AsyncClient("127.0.0.1", self._port, timeout=PATIENCE, reconnect=0)
        self._clients[user] = client
        await client.login(user, token)
        return client

    def chat(self, user: str = "", *, system: str = "", cold: bool = True) -> InfdChat:
        """See Server. A system prompt is the user's: `prompt_of` sets it."""
        if system:
            user = "prompted"
        client = self._clients[user or "one"]
        return InfdChat(client, self._subject.name, self._subject.n_ctx)

    async def prompt_of(self, user: str, system: str) -> None:
        """Set a user's system prompt."""
        await self._clients[ADMIN].inf_modify_user_system_prompt(username=user, data=system)

    async def threads_of(self, user: str, threads: int) -> None:
        """Set with how many threads each of a user's contexts computes at most."""
        await self._clients[ADMIN].inf_modify_user_processor_thread_count(
            username=user, proc_threads=threads
        )

    async def processor(self) -> dict[str, float] | None:
        """Milliseconds of processor time that each user's contexts have had; None where the
        daemon does not say."""
        stats = await self._clients[ADMIN].inf_get_server_stats()
        users = {row["USERNAME"]: row for row in stats.keys.get("USERS", [])}
        if not all("PROCESSOR_MS" in row for row in users.values()):
            return None
        return {name: float(row["PROCESSOR_MS"]) for name, row in users.items()}

    def resident(self) -> int:
        """Bytes of the daemon's memory in use."""
        assert self._process is not None
        return self._process.resident()

    async def close(self) -> None:
        """See Side."""
        for client in self._clients.values():
            with suppress(InfdError, ClientError, OSError):
                await client.close()
        self._clients.clear()
        if self._process is not None:
            await self._process.close()
            self._process = None
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None


class Batched(Infd):
    """All contexts in the batches of one instance."""

    name = "infd batched"
    # Flash attention as llama-server has it: "auto" would have it for one context of this size,
    # not for eight together.
    table: ClassVar[dict[str, Any]] = {"placement": "batched", "flash_attention": "on"}


class Strict(Infd):
    """The same, with few sequences in a step."""

    name = "infd batched strict"
    table: ClassVar[dict[str, Any]] = {**Batched.table, "batched_fair": "strict"}
