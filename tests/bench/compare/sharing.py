"""Scenarios of sharing: what one user's work does to another's stream. infd's placements only:
the other servers know no users."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from time import perf_counter

from bench.compare.daemon import Infd, InfdChat, Strict
from bench.compare.measures import Reply, jain, percentile
from bench.compare.rounds import Scenario, Values
from bench.compare.side import BREATH, PATIENCE, Side, SideError, pause


async def _begun(chat: InfdChat, task: asyncio.Task[Reply], pieces: int) -> None:
    """Until the reply under way has so many pieces. Raises SideError."""
    deadline = perf_counter() + PATIENCE
    while chat.reply is None or len(chat.reply.times) < pieces:
        await _goes_on(task, deadline)


async def _goes_on(task: asyncio.Task[Reply], deadline: float) -> None:
    """Let a reply go on for a moment. Raises SideError if it is over, or too much for PATIENCE."""
    if task.done():
        await task
        raise SideError("infd: a reply was over before it could be looked at")
    if perf_counter() > deadline:
        raise SideError("infd: a reply does not come")
    await pause(10 * BREATH)


@asynccontextmanager
async def _under_way(
    chats: Sequence[InfdChat], texts: Sequence[str], tokens: int
) -> AsyncIterator[list[asyncio.Task[Reply]]]:
    """The chats are replying, or reading their prompts; afterwards they are not."""
    for chat in chats:
        chat.reply = None
    tasks = [
        asyncio.ensure_future(chat.say(text, tokens))
        for chat, text in zip(chats, texts, strict=True)
    ]
    try:
        yield tasks
    finally:
        for chat in chats:
            await chat.stop()
        for task in tasks:
            # One that was aborted says so.
            with suppress(SideError):
                await task


class Light(Scenario):
    """A user with one stream beside one with eight."""

    name = "light beside heavy"
    what = "a user with one stream beside one with eight"

    def takes(self, side: Side) -> bool:
        """infd, in every placement."""
        return isinstance(side, Infd)

    async def prepare(self, side: Side) -> None:
        """The contexts of both users."""
        assert isinstance(side, Infd)
        heavy = [side.chat("many") for _ in range(self.sizes.heavy)]
        chats = self.held[side.name] = [side.chat("one"), *heavy]
        for chat in chats:
            await chat.open()
            await chat.say(self.subject.text(4, 99), 2)

    async def once(self, side: Side, number: int) -> Values:
        """gap, alone: the light user's 99th percentile of gaps in seconds, beside the heavy one
        and alone; jain: over both users' processor time, where the daemon says it."""
        assert isinstance(side, Infd)
        light, *heavy = self.held[side.name]
        for chat in (light, *heavy):
            await chat.forget()
        text = self.subject.text(self.sizes.short, number)
        alone = await light.say(text, self.sizes.watched)
        await light.forget()
        texts = [self.subject.text(8, 30 + at) for at in range(len(heavy))]
        async with _under_way(heavy, texts, self.subject.n_ctx // 2) as tasks:
            for chat, task in zip(heavy, tasks, strict=True):
                await _begun(chat, task, 2)
            before = await side.processor()
            beside = await light.say(text, self.sizes.watched)
            after = await side.processor()
        found = {"gap": percentile(beside.gaps, 0.99), "alone": percentile(alone.gaps, 0.99)}
        if before is not None and after is not None:
            found["jain"] = jain([after[user] - before[user] for user in ("one", "many")])
        return found

    async def finish(self, side: Side) -> None:
        """Free the contexts."""
        for chat in self.held.get(side.name, ()):
            await chat.close()


class BesidePrompt(Scenario):
    """A stream beside another user's long prompt, and the prompt beside the stream.

    The prompt has its full length; its speed is that of its first part, after which it is
    aborted: how it goes on is known then, and a whole one takes most of a minute.
    """

    name = "beside a prompt"
    what = "a stream beside another user's prompt of 4,000 tokens"

    def takes(self, side: Side) -> bool:
        """infd, dedicated and batched."""
        return isinstance(side, Infd) and not isinstance(side, Strict)

    async def prepare(self, side: Side) -> None:
        """A context of each user."""
        assert isinstance(side, Infd)
        self.held[side.name] = side.chat("one"), side.chat("many")
        for chat in self.held[side.name]:
            await chat.open()
            await chat.say(self.subject.text(4, 99), 2)

    async def once(self, side: Side, number: int) -> Values:
        """gap: the stream's 99th percentile beside the prompt; alone: its median gap alone, both
        in seconds; prompt, undisturbed: tokens/s; abort: seconds from the abort of the prompt to
        the context's being idle, over those of a micro-batch."""
        stream, reader = self.held[side.name]
        await stream.forget()
        await reader.forget()
        alone = await stream.say(self.subject.text(self.sizes.short, number), self.sizes.alone)
        await stream.forget()
        # Two texts: of one that was read before, infd keeps the beginning.
        first, second = (self.subject.text(self.sizes.prompt, 2 * number + at) for at in (0, 1))
        async with _under_way([reader], [first], 1) as (task,):
            undisturbed, _ = await self._read(reader, task)
            began = perf_counter()
            await reader.forget()
            abort = perf_counter() - began
        words = self.subject.text(self.sizes.short, 50 + number)
        async with _under_way([stream], [words], self.subject.n_ctx // 2) as (streaming,):
            await _begun(stream, streaming, 2)
            async with _under_way([reader], [second], 1) as (task,):
                prompt, (begin, end) = await self._read(reader, task)
                await reader.forget()
            assert stream.reply is not None
            times = [at for at in stream.reply.times if begin <= at <= end]
        # The gap that the window's end cut off counts as far as it had come.
        gaps = [b - a for a, b in zip([begin, *times], [*times, end], strict=True)]
        return {
            "gap": percentile(gaps, 0.99), "alone": percentile(alone.gaps, 0.5),
            "prompt": prompt, "undisturbed": undisturbed,
            "abort": abort / (512 / undisturbed),
        }  # fmt: skip

    async def _read(
        self, reader: InfdChat, task: asyncio.Task[Reply]
    ) -> tuple[float, tuple[float, float]]:
        """Tokens a second of the first part of the prompt under way, and when it was read."""
        began = perf_counter()
        deadline = began + PATIENCE
        done = 0
        while done < self.sizes.prompt_part:
            await _goes_on(task, deadline)
            done = await reader.prompt_done()
        now = perf_counter()
        return done / (now - began), (began, now)

    async def finish(self, side: Side) -> None:
        """Free the contexts."""
        for chat in self.held.get(side.name, ()):
            await chat.close()
