"""What contenders have in common: how they are started, talked to and ended.

A `Side` is one contender with one model; a `Chat` is one conversation with it. Processes run in
groups of their own, which are killed whole when the comparison ends, in whatever way.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from bench.compare.measures import Reply

from infd import children
from infd.bench.synthetic import text as synthetic_text

PATIENCE = 180.0
"""Seconds that a contender may take to be ready, and a reply to come."""
BREATH = 0.01
"""Seconds between two askings whether something is so."""


class SideError(Exception):
    """A contender cannot take part, or failed; one line for people."""


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to compare on."""

    name: str
    path: Path
    synthetic: bool
    n_ctx: int
    """Tokens of one context, or of one slot."""
    gpu_layers: int = 0
    """Layers that every contender computes on a GPU; -1 is all."""

    @property
    def layers(self) -> str:
        """The same for llama.cpp's own programs, to which -1 means something else."""
        return str(self.gpu_layers if self.gpu_layers >= 0 else 999)

    def text(self, words: int, variant: int) -> str:
        """A message of about so many tokens; another for each variant, from its beginning."""
        if self.synthetic:
            return synthetic_text(words, variant)
        # The bundled model was trained on this; from 50 on its reply has more than 100 tokens.
        return f"Count from 1 to {51 + variant % 45}."


class Chat(ABC):
    """One conversation. Its replies become part of its history."""

    reply: Reply | None = None
    """The reply that is under way, or the last one, as far as it has come."""

    @abstractmethod
    async def open(self) -> None:
        """Make what it needs at the contender, if anything."""

    @abstractmethod
    async def say(self, text: str, tokens: int) -> Reply:
        """A user message and its reply of at most so many tokens. Raises SideError."""

    @abstractmethod
    async def rewind(self) -> None:
        """Forget the last message and its reply; what came before stays."""

    @abstractmethod
    async def forget(self) -> None:
        """Forget everything."""

    @abstractmethod
    async def stop(self) -> None:
        """End the reply that is under way, if any."""

    @abstractmethod
    async def close(self) -> None:
        """Free it."""


class Side(ABC):
    """One contender with one model. `name` is what the tables call it."""

    name: ClassVar[str]
    about: str = ""
    """How it was started, and what is peculiar about it."""

    @abstractmethod
    async def start(self) -> None:
        """Start it; returns when it can answer. Raises SideError."""

    @abstractmethod
    async def close(self) -> None:
        """End it, and everything that it started. Harmless when it is not started."""


class Server(Side):
    """A contender that one talks to."""

    slots: ClassVar[int | None] = None
    """How many conversations it can compute at one time; None: as many as come."""

    @abstractmethod
    def chat(self, user: str = "", *, system: str = "", cold: bool = True) -> Chat:
        """A new conversation. `user`: one of the contender's users, where it has such.
        `system`: the system prompt. `cold`: nothing may be taken from a prompt cache."""


class Process:
    """A process in a group of its own, with what it says in a file."""

    def __init__(
        self, command: Sequence[str], env: Mapping[str, str], *, pass_fds: Sequence[int] = ()
    ) -> None:
        """Raises SideError if it cannot be started."""
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        parent = os.getpid()
        try:
            self._process = subprocess.Popen(
                command, env=dict(env), pass_fds=pass_fds, process_group=0,
                preexec_fn=lambda: children.end_with_parent(parent),
                stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log,
            )  # fmt: skip
        except OSError as error:
            self._log.close()
            raise SideError(f"{command[0]}: {error.strerror}") from None

    @property
    def pid(self) -> int:
        """The first process of the group."""
        return self._process.pid

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._process.poll() is not None

    def said(self) -> str:
        """The last line that it wrote."""
        self._log.seek(0)
        lines = self._log.read().decode("utf-8", "replace").strip().splitlines()
        return " ".join(lines[-1].split())[:300] if lines else "it said nothing"

    def resident(self) -> int:
        """Bytes of memory in use by it now (RSS)."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        line = next(line for line in status.splitlines() if line.startswith("VmRSS:"))
        return int(line.split()[1]) * 1024

    async def close(self) -> None:
        """SIGTERM to the group, and SIGKILL to what is left of it after some seconds."""
        if not self.ended:
            self._kill(signal.SIGTERM)
            with suppress(subprocess.TimeoutExpired):
                await asyncio.to_thread(self._process.wait, 10)
        self._kill(signal.SIGKILL)
        await asyncio.to_thread(self._process.wait)
        self._log.close()

    def _kill(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)


async def pause(seconds: float) -> None:
    """Let the contender be for a moment, between two askings."""
    loop = asyncio.get_running_loop()
    over = loop.create_future()
    loop.call_later(seconds, over.set_result, None)
    await over


def python(module: str, *arguments: str) -> list[str]:
    """The command line of a Python module in a process of its own."""
    return [sys.executable, "-P", "-m", module, *arguments]
