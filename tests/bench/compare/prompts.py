"""Scenarios of prompts: long ones, later turns, a shared system prompt, contexts that go again."""

from __future__ import annotations

from time import perf_counter

from bench.compare.alone import Alone, LlamaBench
from bench.compare.daemon import Infd, Strict
from bench.compare.rounds import Scenario, Values
from bench.compare.servers import LlamaServer
from bench.compare.side import Chat, Server, Side

TURNS = 10


def _everybody(side: Side) -> bool:
    return isinstance(side, Server) and not isinstance(side, Strict)


class LongPrompt(Scenario):
    """The first token after a long message that nobody has seen before."""

    name = "long prompt"
    what = "first token after a message of 192 tokens"

    def takes(self, side: Side) -> bool:
        """Servers and llama-bench."""
        return _everybody(side) or isinstance(side, LlamaBench)

    async def prepare(self, side: Side) -> None:
        """A conversation."""
        if isinstance(side, Server):
            chat = self.held[side.name] = side.chat()
            await chat.open()
            await chat.say(self.subject.text(4, 99), 2)

    async def once(self, side: Side, number: int) -> Values:
        """first: seconds; prompt: tokens/s."""
        if isinstance(side, LlamaBench):
            return {"prompt": await side.prompt(self.sizes.long)}
        chat: Chat = self.held[side.name]
        await chat.forget()
        reply = await chat.say(self.subject.text(self.sizes.long, number), 1)
        return {"first": reply.first, "prompt": self.sizes.long / reply.first}

    async def finish(self, side: Side) -> None:
        """End the conversation."""
        if side.name in self.held:
            await self.held[side.name].close()


class Turn10(Scenario):
    """The first token of a conversation's tenth turn, another message in each round. Everybody
    may use what it kept of the nine turns before."""

    name = "turn 10"
    what = "first token of turn 10"

    def takes(self, side: Side) -> bool:
        """Servers."""
        return _everybody(side)

    async def prepare(self, side: Side) -> None:
        """The nine turns, and a tenth."""
        assert isinstance(side, Server)
        chat = self.held[side.name] = side.chat(cold=False)
        for turn in range(TURNS):
            await chat.say(self.subject.text(self.sizes.turn, turn), self.sizes.turn_reply)

    async def once(self, side: Side, number: int) -> Values:
        """first: seconds; new: tokens that were computed for it, where the contender says."""
        chat: Chat = self.held[side.name]
        await chat.rewind()
        text = self.subject.text(self.sizes.turn, 20 + number)
        reply = await chat.say(text, self.sizes.turn_reply)
        found = {"first": reply.first}
        if reply.prompt:
            found["new"] = float(reply.prompt - reply.cached)
        return found

    async def finish(self, side: Side) -> None:
        """End the conversation."""
        if side.name in self.held:
            await self.held[side.name].close()


class SystemPrompt(Scenario):
    """The first token in a new context under a system prompt that was used before.

    infd: from before the context is created, as a user with that system prompt. llama-server:
    cold (its prompt cache off), and warm as it comes. llama-cpp-python, which cannot be told to
    forget: warm only. Alone: evaluating those tokens that are the message's own.
    """

    name = "system prompt"
    what = "first token of a new context under a system prompt of 500 tokens"
    own = 16
    """Tokens of the message."""

    def takes(self, side: Side) -> bool:
        """Servers, and llama.cpp alone."""
        return _everybody(side) or isinstance(side, Alone)

    @property
    def _system(self) -> str:
        return self.subject.text(self.sizes.system, 77)

    async def prepare(self, side: Side) -> None:
        """The system prompt is used once."""
        if isinstance(side, Infd):
            await side.prompt_of("prompted", self._system)
        await self._first(side, 99)

    async def once(self, side: Side, number: int) -> Values:
        """first: seconds, as warm as it gets; cold: seconds with nothing kept; new: tokens that
        were computed for `first`."""
        found = await self._first(side, number)
        if isinstance(side, LlamaServer):
            chat = side.chat(system=self._system)
            reply = await chat.say(self.subject.text(self.own, 50 + number), 2)
            found["cold"] = reply.first
        return found

    async def _first(self, side: Side, number: int) -> Values:
        text = self.subject.text(self.own, number)
        if isinstance(side, Alone):
            tokens, seconds = await side.own_tokens(
                self._system, text, self.subject.text(self.own, number + 1)
            )
            return {"first": seconds, "new": float(tokens)}
        assert isinstance(side, Server)
        began = perf_counter()
        chat = side.chat(system=self._system, cold=False)
        await chat.open()
        reply = await chat.say(text, 2)
        found = {"first": reply.times[0] - began}
        if reply.prompt:
            found["new"] = float(reply.prompt - reply.cached)
        await chat.close()
        return found


class Contexts(Scenario):
    """Contexts made and destroyed, one after another: is the memory back?"""

    name = "contexts"
    what = "200 contexts created and destroyed"

    def takes(self, side: Side) -> bool:
        """infd."""
        return _everybody(side) and isinstance(side, Infd)

    def rounds_of(self, side: Side) -> int:
        """No contender is compared with another, and each round is some seconds."""
        return min(3, self.sizes.rounds)

    async def prepare(self, side: Side) -> None:
        """Some, so that what is made once is there."""
        await self._make(side, max(2, self.sizes.contexts // 10))

    async def once(self, side: Side, number: int) -> Values:
        """kept: memory afterwards over memory before; each: seconds for one context."""
        assert isinstance(side, Infd)
        before, began = side.resident(), perf_counter()
        await self._make(side, self.sizes.contexts)
        each = (perf_counter() - began) / self.sizes.contexts
        return {"kept": side.resident() / before, "each": each}

    async def _make(self, side: Side, count: int) -> None:
        assert isinstance(side, Infd)
        for _ in range(count):
            chat = side.chat()
            await chat.open()
            await chat.close()
