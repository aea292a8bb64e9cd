"""`AsyncChat`: `infd_client.chat` for asyncio."""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from infd_client._results import ExecNextResult
from infd_client.failures import ClientError, ConnectionLost
from infd_client.stream import AsyncStream
from infd_client.turns import SUPERSEDED, ChatBase, choose, smaller, wanted
from infd_protocol.errors import (
    ExecMissingMessage,
    InfContextHalted,
    InfContextIdMismatch,
    InfdError,
    InfModelContextFull,
    InfSessionTokenMismatch,
)

if TYPE_CHECKING:
    from infd_client.aio import AsyncClient


class AsyncChat(ChatBase):
    """A chat for asyncio; made as `Chat` is, and the same but for `await`.

    `send`, `regenerate` and `edit_last` are coroutines that give an `AsyncStream`:
    `async for piece in await chat.send("hello")`.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        model: str | None = None,
        ctxsize: int | None = None,
        system: str | None = None,
        **sampling: Any,
    ) -> None:
        super().__init__(model, ctxsize, system, sampling)
        self._client = client
        self._stream: AsyncStream | None = None

    async def open(self) -> Self:
        """Make the context, unless it is there."""
        if self.ctxid is not None:
            return self
        client = self._client
        if self.model is None:
            self.model = choose((await client.inf_get_accessible_models()).model)
        if self.ctxsize is not None:
            made = await client.inf_create_context(model=self.model, ctxsize=self.ctxsize)
        else:
            name = client.username
            user = await client.inf_get_user(username=name) if name else None
            size = first = wanted(await client.inf_get_model_info(model=self.model), user)
            while True:
                try:
                    made = await client.inf_create_context(model=self.model, ctxsize=size)
                    break
                except InfModelContextFull as error:
                    less = smaller(size, error)
                    if less is None:
                        raise
                    size = less
            self.ctxsize = size
            self.wanted = first if size < first else None
        self.ctxid = made.ctxid
        self._closed = False
        return self

    async def send(self, text: str, **sampling: Any) -> AsyncStream:
        """Send a message; the reply as an asynchronous iterator of pieces, already under way."""
        self._check(sampling, text)
        await self._settle(cut=SUPERSEDED)
        ids = [*await self._opening(), await self._store("user", text)]
        return await self._run(ids, sampling)

    async def regenerate(self, **sampling: Any) -> AsyncStream:
        """Answer the last message again. Raises ValueError if there is none."""
        self._check(sampling)
        await self._settle(cut=SUPERSEDED)
        if self._turns.last is None:
            raise ValueError("Nothing was sent yet.")
        return await self._run([self._turns.last], sampling)

    async def edit_last(self, text: str, **sampling: Any) -> AsyncStream:
        """Put `text` in place of the last message, and answer it. Raises ValueError if none."""
        self._check(sampling, text)
        await self._settle(cut=SUPERSEDED)
        before = self._turns.before_last()
        if before is None:
            await self.clear()
            return await self.send(text, **sampling)
        return await self._run([before, await self._store("user", text)], sampling)

    async def stop(self, offset: int | None = None) -> None:
        """End the reply; the history keeps what was handed out of it, or `offset` bytes."""
        await self._settle(offset)

    def is_reading(self, stream: AsyncStream) -> bool:
        """Whether this is the stream of the last reply."""
        return stream is self._stream

    async def clear(self) -> None:
        """Forget the conversation; the context stays."""
        self._stream = None
        self._unsure = False
        if self.ctxid is not None:
            await self._client.inf_clear_context_history(ctxid=self.ctxid)
        self._turns.clear()

    async def close(self) -> None:
        """Free the context; one that is gone already, alone or with its session, is free.

        Nothing can be sent then, until `open` makes another context.
        """
        self._forget()
        if self.ctxid is not None:
            ctxid, self.ctxid = self.ctxid, None
            with suppress(InfContextIdMismatch, InfSessionTokenMismatch):
                try:
                    await self._client.inf_destroy_context(ctxid=ctxid)
                except ConnectionLost:  # whether it was done is unknown, so it is done again
                    await self._client.inf_destroy_context(ctxid=ctxid)

    async def __aenter__(self) -> Self:
        return await self.open()

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            await self.close()
        elif isinstance(error, ConnectionLost):
            # Nobody is there to be asked; the context ends with its session.
            self._forget()
            self.ctxid = None
        else:
            # What went wrong in the block is what its writer wants to hear of.
            with suppress(InfdError, ClientError):
                await self.close()

    def _forget(self) -> None:
        self._closed = True
        self._unsure = False
        self._stream = None
        self._turns.clear()

    async def _id(self) -> int:
        ctxid = (await self.open()).ctxid
        assert ctxid is not None
        return ctxid

    async def _store(self, role: str, text: str) -> int:
        stored = await self._client.exec_set_input(ctxid=await self._id(), role=role, data=text)
        return stored.msgid

    async def _opening(self) -> list[int]:
        turns = self._turns
        if turns.system and turns.system_id is None:
            turns.system_id = await self._store("system", turns.system)
        return turns.opening()

    async def _run(self, ids: list[int], sampling: dict[str, Any]) -> AsyncStream:
        ctxid = await self._id()
        keys = {**self.sampling, **sampling}
        try:
            await self._client.exec_execute_input(ctxid=ctxid, msgid=ids, **keys)
        except InfdError:
            raise  # refused: nothing has changed
        except BaseException:
            self._unsure = True
            raise
        self._turns.executed(ids)
        self._stream = self._client.stream(ctxid)
        return self._stream

    async def _settle(self, offset: int | None = None, *, cut: str = "") -> None:
        """Bring the last reply to its end, and learn its id. `cut`: why its reader gets no more."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cut(cut)
        if self._unsure:
            ctxid = await self._id()
            await self._client.exec_stop(ctxid=ctxid)
            self._turns.adopt(await self._client.exec_get_messages(ctxid=ctxid))
            self._unsure = False
        if stream is None:
            return
        result: ExecNextResult | None = stream.result
        if result is None:
            try:
                at = stream.position if offset is None else offset
                await self._client.exec_stop(ctxid=await self._id(), offset=at)
                while result is None or not result.is_special:
                    result = await self._client.exec_next(ctxid=await self._id(), offset=at)
                    at = result.offset + len(result.text.encode())
            except (ExecMissingMessage, InfContextHalted):
                self._turns.aborted()
                return
        self._turns.replied(result.msgid)
