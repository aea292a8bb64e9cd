"""llama.cpp without a server: llama-bench as the limit, and what separate contexts reach.

`LlamaBench` runs llama-bench anew each time. `Alone` asks a process that shares nothing with the
daemon but the model file (`alone_process.py`), whose loop is the plain one of infd/engine.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from typing import Any

from bench.build_llama import Programs
from bench.compare.side import Side, SideError, Subject

from infd import children


class LlamaBench(Side):
    """llama-bench, a process for each measurement."""

    name = "llama-bench"

    def __init__(self, subject: Subject, cores: int, programs: Programs) -> None:
        self._subject = subject
        self._cores = cores
        self._programs = programs
        self.about = f"llama-bench -t {cores}, after a warm-up of its own"

    async def start(self) -> None:
        """Nothing: each measurement starts it."""

    async def close(self) -> None:
        """Nothing."""

    async def decode(self, tokens: int, depth: int, runs: int) -> float:
        """Tokens a second, decoding so many after so many, the mean of so many runs. Raises
        SideError."""
        return await self._run("-p", "0", "-n", str(tokens), "-d", str(depth), "-r", str(runs))

    async def prompt(self, tokens: int) -> float:
        """Tokens a second, evaluating a prompt of so many. Raises SideError."""
        return await self._run("-p", str(tokens), "-n", "0", "-r", "1")

    async def _run(self, *flags: str) -> float:
        command = [
            self._programs.bench, "-m", str(self._subject.path), "-o", "json",
            "-t", str(self._cores), "-ngl", self._subject.layers, *flags,
        ]  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            *command, env=self._programs.environment, start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip
        try:
            said, complaint = await process.communicate()
        except BaseException:
            process.kill()
            raise
        try:
            return float(json.loads(said)[0]["avg_ts"])
        except (ValueError, LookupError):
            last = (complaint.decode("utf-8", "replace").strip().splitlines() or ["nothing"])[-1]
            raise SideError(f"llama-bench said: {last[:200]}") from None


class Alone(Side):
    """llama.cpp's plain loop."""

    name = "llama.cpp alone"

    def __init__(self, subject: Subject, cores: int) -> None:
        self._subject = subject
        self.cores = cores
        self._process: asyncio.subprocess.Process | None = None
        self.about = "llama_decode in a loop, a process of its own, no server"

    async def start(self) -> None:
        """See Side."""
        self._process = await asyncio.create_subprocess_exec(
            *children.command("bench.compare.alone_process"), env=children.environment(),
            start_new_session=True, limit=1 << 20,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        subject = self._subject
        await self._ask(
            do="load", path=str(subject.path), n_ctx=subject.n_ctx, gpu_layers=subject.gpu_layers
        )

    async def close(self) -> None:
        """See Side."""
        if self._process is not None:
            if self._process.returncode is None:
                self._process.kill()
            await self._process.wait()
            self._process = None

    async def about_model(self) -> dict[str, Any]:
        """The library's version and kernels, and the model's template, bos and eos."""
        return await self._ask(do="about")

    async def own_tokens(self, system: str, text: str, other: str) -> tuple[int, float]:
        """How many tokens a message adds to what it has in common with another one under the
        same system prompt, and the seconds that evaluating those takes, the others being held."""
        answer = await self._ask(
            do="own", system=system, text=text, other=other, threads=self.cores
        )
        return answer["tokens"], answer["seconds"]

    async def together(self, contexts: int, threads: int, tokens: int) -> float:
        """Tokens a second, in all, of so many contexts that decode at the same time."""
        answer = await self._ask(do="together", contexts=contexts, threads=threads, tokens=tokens)
        return float(answer["rate"])

    async def _ask(self, **request: Any) -> dict[str, Any]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            line = await process.stdout.readline()
        except OSError:
            line = b""
        if not line:
            raise SideError("the process that runs llama.cpp alone ended; try: infd doctor")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SideError(f"llama.cpp alone: {answer['error']}")
        return answer
