"""The contenders that speak HTTP: llama-server, and llama-cpp-python's own server.

Both get the conversation as one text, rendered here with the model's chat template, and stream a
completion of it: what infd does with templates and history is done here, before the clock starts.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable
from time import perf_counter
from typing import Any, ClassVar

from bench.build_llama import Programs
from bench.compare import sse
from bench.compare.measures import Reply
from bench.compare.side import (
    BREATH,
    PATIENCE,
    Chat,
    Process,
    Server,
    SideError,
    Subject,
    pause,
    python,
)

from infd import children

Render = Callable[[list[tuple[str, str]]], str]

GREEDY = {"temperature": 0.0, "top_k": 1}
SLOTS = 8


class HttpChat(Chat):
    """A conversation whose history is kept here."""

    def __init__(self, server: HttpServer, system: str, cold: bool) -> None:
        self._server = server
        self._head = [("system", system)] if system else []
        self._cold = cold
        self._history = list(self._head)
        self._exchange: sse.Exchange | None = None

    async def open(self) -> None:
        """Nothing: the server has no conversations."""

    async def say(self, text: str, tokens: int) -> Reply:
        """See Chat."""
        server = self._server
        messages = [*self._history, ("user", text)]
        path, request = server.request(server.render(messages), tokens, self._cold)
        self.reply = reply = Reply(0.0)
        try:
            self._exchange = exchange = await sse.connect(
                server.port, lambda now, event: server.take(reply, now, event)
            )
            reply.sent = perf_counter()
            exchange.send(path, request)
            async with asyncio.timeout(PATIENCE):
                await exchange.ended
        except (OSError, sse.HttpError, TimeoutError) as error:
            raise SideError(f"{server.name}: {error or type(error).__name__}") from None
        finally:
            self._exchange = None
        if not reply.times:
            raise SideError(f"{server.name}: the reply is empty")
        self._history = [*messages, ("assistant", reply.text)]
        return reply

    async def rewind(self) -> None:
        """See Chat."""
        del self._history[-2:]

    async def forget(self) -> None:
        """See Chat; what the server keeps of it is the server's."""
        self._history = list(self._head)

    async def stop(self) -> None:
        """Leave."""
        if self._exchange is not None:
            self._exchange.close()

    async def close(self) -> None:
        """See Chat."""
        await self.stop()


class HttpServer(Server):
    """What both have in common."""

    ready: ClassVar[str]
    """A path that is answered with 200 when the model can be used."""

    def __init__(self, subject: Subject, cores: int, render: Render) -> None:
        self.subject = subject
        self.cores = cores
        self.render = render
        self.port = 0
        self._process: Process | None = None

    def command(self) -> tuple[list[str], dict[str, str]]:
        """The command line and the environment."""
        raise NotImplementedError

    def request(self, prompt: str, tokens: int, cold: bool) -> tuple[str, dict[str, Any]]:
        """The path and the body of a completion."""
        raise NotImplementedError

    def take(self, reply: Reply, now: float, event: str) -> None:
        """One event of a stream."""
        raise NotImplementedError

    async def start(self) -> None:
        """See Side."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command, environment = self.command()
        self._process = Process(command, environment)
        deadline = perf_counter() + PATIENCE
        while True:
            try:
                await sse.get(self.port, self.ready)
                return
            except (OSError, sse.HttpError, ValueError):
                if self._process.ended or perf_counter() > deadline:
                    raise SideError(f"{self.name}: {self._process.said()}") from None
            await pause(10 * BREATH)

    def chat(self, user: str = "", *, system: str = "", cold: bool = True) -> HttpChat:
        """See Server."""
        return HttpChat(self, system, cold)

    async def close(self) -> None:
        """See Side."""
        if self._process is not None:
            await self._process.close()
            self._process = None


class LlamaServer(HttpServer):
    """llama.cpp's own server."""

    name = "llama-server"
    slots = SLOTS
    ready = "/health"

    def __init__(self, subject: Subject, cores: int, render: Render, programs: Programs) -> None:
        super().__init__(subject, cores, render)
        self._programs = programs
        self._flags = (
            "-np", str(SLOTS), "-c", str(SLOTS * subject.n_ctx), "-t", str(cores),
            "-tb", str(cores), "-ngl", subject.layers, "--no-webui",
        )  # fmt: skip
        self.about = f"llama-server {' '.join(self._flags)}; POST /completion, stream"

    def command(self) -> tuple[list[str], dict[str, str]]:
        """See HttpServer."""
        command = [
            self._programs.server, "-m", str(self.subject.path), "--host", "127.0.0.1",
            "--port", str(self.port), *self._flags,
        ]  # fmt: skip
        return command, self._programs.environment

    def request(self, prompt: str, tokens: int, cold: bool) -> tuple[str, dict[str, Any]]:
        """See HttpServer."""
        return "/completion", {
            "prompt": prompt, "n_predict": tokens, "stream": True, "cache_prompt": not cold,
            "samplers": ["top_k"], **GREEDY,
        }  # fmt: skip

    def take(self, reply: Reply, now: float, event: str) -> None:
        """See HttpServer."""
        said = json.loads(event)
        if "content" not in said:
            raise sse.HttpError(str(said.get("error", said))[:200])
        reply.add(now, said["content"])
        if said.get("stop"):
            reply.tokens = said["tokens_predicted"]
            reply.prompt = said["tokens_evaluated"]
            reply.cached = said["timings"].get("cache_n", 0)


class LlamaCppPython(HttpServer):
    """`python -m llama_cpp.server`. One conversation is computed at a time, the others wait."""

    name = "llama-cpp-python"
    slots = 1
    ready = "/v1/models"

    def __init__(self, subject: Subject, cores: int, render: Render) -> None:
        super().__init__(subject, cores, render)
        self._flags = (
            "--n_threads", str(cores), "--n_threads_batch", str(cores),
            "--n_ctx", str(subject.n_ctx), "--n_gpu_layers", str(subject.gpu_layers),
            # Without it a second request ends the first.
            "--interrupt_requests", "false", "--verbose", "false",
        )  # fmt: skip
        self.about = (
            f"python -m llama_cpp.server {' '.join(self._flags)}; POST /v1/completions, stream; "
            "one request at a time"
        )

    def command(self) -> tuple[list[str], dict[str, str]]:
        """See HttpServer."""
        return (
            python(
                "llama_cpp.server", "--model", str(self.subject.path), "--host", "127.0.0.1",
                "--port", str(self.port), *self._flags,
            ),
            children.environment(),
        )  # fmt: skip

    def request(self, prompt: str, tokens: int, cold: bool) -> tuple[str, dict[str, Any]]:
        """See HttpServer. It has no switch for its cache of the prompt before."""
        return "/v1/completions", {
            "prompt": prompt, "max_tokens": tokens, "stream": True, "repeat_penalty": 1.0, **GREEDY
        }  # fmt: skip

    def take(self, reply: Reply, now: float, event: str) -> None:
        """See HttpServer. Each event with text is one token, or several that make a character."""
        if event == "[DONE]":
            return
        said = json.loads(event)
        if "choices" not in said:
            raise sse.HttpError(str(said.get("error", said))[:200])
        piece = said["choices"][0]["text"]
        reply.add(now, piece)
        reply.tokens += bool(piece)
