"""Scenarios of speed: one stream, several at once, and where others' work could spoil it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from bench.compare.alone import Alone, LlamaBench
from bench.compare.daemon import Infd, Strict
from bench.compare.measures import Reply, decode_rate, middle, rate_together
from bench.compare.rounds import Scenario, Values
from bench.compare.side import Chat, Server, Side

BUSY = "while True: pass"


class Single(Scenario):
    """One stream, nothing beside it. Tokens before the first piece are not counted."""

    name = "single"
    what = "one stream"
    depth = 0
    """Tokens of the prompt, for llama-bench, which takes part after servers."""

    def takes(self, side: Side) -> bool:
        """Servers and llama-bench."""
        return (isinstance(side, Server) and not isinstance(side, Strict)) or isinstance(
            side, LlamaBench
        )

    async def prepare(self, side: Side) -> None:
        """A conversation; and llama-bench finds the model's file in the page cache."""
        if isinstance(side, LlamaBench):
            await side.decode(2, 2, 1)
        if isinstance(side, Server):
            chat = self.held[side.name] = side.chat()
            await chat.open()
            reply = await chat.say(self.subject.text(self.sizes.short, 99), 8)
            self.depth = reply.prompt or self.depth

    async def once(self, side: Side, number: int) -> Values:
        """decode: tokens/s; first: seconds to the first piece; client: the client's
        microseconds of processor time for each token."""
        tokens, runs = self.sizes.reply, self.sizes.runs
        if not self.subject.synthetic:
            tokens, runs = self.sizes.small_reply, self.sizes.small_runs
        if isinstance(side, LlamaBench):
            return {"decode": await side.decode(tokens, self.depth or self.sizes.short, runs)}
        if _one_by_one(side):
            # Of the bundled model it takes seconds for what others do in hundredths of one.
            runs = 1
        chat: Chat = self.held[side.name]
        replies: list[Reply] = []
        spent = time.process_time()
        for run in range(runs):
            await chat.forget()
            text = self.subject.text(self.sizes.short, number * runs + run)
            replies.append(await chat.say(text, tokens))
        spent = time.process_time() - spent
        made = sum(reply.tokens for reply in replies)
        first = middle([reply.first for reply in replies])
        assert first is not None
        return {"decode": decode_rate(replies), "first": first, "client": 1e6 * spent / made}

    async def finish(self, side: Side) -> None:
        """End the conversation."""
        if side.name in self.held:
            await self.held[side.name].close()


class Together(Scenario):
    """Several streams at once, begun at the same moment, each with a short message of its own."""

    count: ClassVar[int]

    def takes(self, side: Side) -> bool:
        """Servers; and what separate contexts reach, where infd is compared with that."""
        if isinstance(side, Alone):
            return self.count == 8 and self.subject.synthetic
        return isinstance(side, Server) and not isinstance(side, Strict)

    def rounds_of(self, side: Side) -> int:
        """One that computes them one after another tells nothing new after three rounds."""
        return min(3, self.sizes.rounds) if _one_by_one(side) else self.sizes.rounds

    async def prepare(self, side: Side) -> None:
        """The conversations, each with a word said in it."""
        if isinstance(side, Server):
            chats = self.held[side.name] = [side.chat() for _ in range(self.count)]
            for number, chat in enumerate(chats):
                await chat.open()
                await chat.say(self.subject.text(4, 99 - number), 2)

    async def once(self, side: Side, number: int) -> Values:
        """decode: tokens/s in all; requests: whole replies a second; last: seconds until the
        last of them has its first piece."""
        sizes = self.sizes
        tokens = sizes.small_reply
        if self.subject.synthetic:
            # Long enough that all of them are under way for most of the time.
            tokens = sizes.together_8 if self.count == 8 else sizes.together
        if isinstance(side, Alone):
            cores = side.cores
            ways = {(1, cores), (cores, 1), (self.count, 1)}
            rates = [await side.together(*way, tokens // 2) for way in sorted(ways)]
            return {"decode": max(rates)}
        chats: list[Chat] = self.held[side.name]
        for chat in chats:
            await chat.forget()
        texts = [
            self.subject.text(self.sizes.brief, number * self.count + at)
            for at in range(self.count)
        ]
        replies = await asyncio.gather(
            *(chat.say(text, tokens) for chat, text in zip(chats, texts, strict=True))
        )
        begun = min(reply.sent for reply in replies)
        ended = max(reply.times[-1] for reply in replies)
        return {
            "decode": rate_together(replies),
            "requests": self.count / (ended - begun),
            "last": max(reply.times[0] for reply in replies) - begun,
        }

    async def finish(self, side: Side) -> None:
        """End the conversations."""
        for chat in self.held.get(side.name, ()):
            await chat.close()


class Together2(Together):
    """Two."""

    name, what, count = "2 at once", "two streams at once", 2


class Together4(Together):
    """Four."""

    name, what, count = "4 at once", "four streams at once", 4


class Together8(Together):
    """Eight."""

    name, what, count = "8 at once", "eight streams at once", 8


class Many(Scenario):
    """More contexts than cores, each allowed two threads: llama.cpp alone collapses there."""

    name = "16 x 2 threads"
    what = "sixteen contexts of two threads each"

    def takes(self, side: Side) -> bool:
        """infd, dedicated."""
        return type(side) is Infd

    async def prepare(self, side: Side) -> None:
        """The contexts."""
        assert isinstance(side, Infd)
        self.held[side.name] = [side.chat() for _ in range(self.sizes.many)]
        for chat in self.held[side.name]:
            await chat.open()
        await self.held[side.name][0].say(self.subject.text(4, 99), 2)

    async def once(self, side: Side, number: int) -> Values:
        """together: tokens/s in all; single: tokens/s of one, nothing beside it."""
        chats: list[Chat] = self.held[side.name]
        for chat in chats:
            await chat.forget()
        alone = await chats[0].say(self.subject.text(8, number), 2 * self.sizes.many_reply)
        await chats[0].forget()
        replies = await asyncio.gather(
            *(chat.say(self.subject.text(8, at), self.sizes.many_reply)
              for at, chat in enumerate(chats))
        )  # fmt: skip
        return {"together": rate_together(replies), "single": decode_rate([alone])}

    async def finish(self, side: Side) -> None:
        """Free the contexts."""
        for chat in self.held.get(side.name, ()):
            await chat.close()


class Foreign(Scenario):
    """Another process fills one core; infd may use all cores."""

    name = "foreign load"
    what = "one stream beside a process that fills one core"

    def takes(self, side: Side) -> bool:
        """infd, dedicated, on a machine of several cores."""
        return type(side) is Infd and side.cores > 1

    async def prepare(self, side: Side) -> None:
        """A context."""
        assert isinstance(side, Infd)
        chat = self.held[side.name] = side.chat()
        await chat.open()
        await chat.say(self.subject.text(4, 99), 2)

    async def once(self, side: Side, number: int) -> Values:
        """beside: tokens/s beside the other processes; one thread: tokens/s of one thread, with
        nothing beside it. As many cores are filled as leave one."""
        assert isinstance(side, Infd)
        chat: Chat = self.held[side.name]
        text = self.subject.text(self.sizes.short, number)
        await side.threads_of("one", 1)
        await chat.forget()
        alone = await chat.say(text, self.sizes.reply)
        await side.threads_of("one", side.cores)
        await chat.forget()
        with _busy(side.cores - 1):
            beside = await chat.say(text, self.sizes.reply)
        return {"beside": decode_rate([beside]), "one thread": decode_rate([alone])}

    async def finish(self, side: Side) -> None:
        """Free the context."""
        if side.name in self.held:
            await self.held[side.name].close()


def _one_by_one(side: Side) -> bool:
    return isinstance(side, Server) and side.slots == 1


@contextmanager
def _busy(count: int) -> Iterator[None]:
    """So many processes that each fill a core."""
    command = [sys.executable, "-c", BUSY]
    processes = [subprocess.Popen(command, process_group=0) for _ in range(count)]
    try:
        yield
    finally:
        for process in processes:
            process.kill()
            process.wait()


def cores() -> int:
    """Threads that everybody computes with."""
    return len(os.sched_getaffinity(0))
