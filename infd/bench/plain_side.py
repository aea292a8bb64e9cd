"""The other side of every comparison: llama.cpp's plain loop, in a process of its own.

This is the parent's end; plain_process.py is the process.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from infd import children

Messages = list[dict[str, str]]


class PlainSideError(Exception):
    """The plain loop cannot run; one line for people."""


class PlainSide:
    """The process, with one model loaded. A context manager."""

    def __init__(self, model: Path, *, n_ctx: int) -> None:
        """Raises PlainSideError."""
        self._process = subprocess.Popen(
            children.command("infd.bench.plain_process"),
            env=children.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._model = model.name
        try:
            self.about = self._ask(do="load", path=str(model), n_ctx=n_ctx)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def run(self, messages: Messages, *, threads: int, max_tokens: int) -> dict[str, Any]:
        """A greedy reply: prompt_s, decode_s, text, and `ends`: the reply's bytes after each token.

        Seconds; decode_s begins when the prompt is evaluated. Raises PlainSideError.
        """
        return self._ask(do="run", messages=messages, threads=threads, max_tokens=max_tokens)

    def turn(self, messages: Messages, *, threads: int, held: int) -> float:
        """Seconds to evaluate the prompt's tokens from the `held`-th on, the others being held."""
        answer = self._ask(do="run", messages=messages, threads=threads, max_tokens=1, held=held)
        return float(answer["prompt_s"])

    def memory(self, *, ctxsize: int, n_ubatch: int) -> int:
        """Bytes that llama.cpp says it allocated for a context."""
        return int(self._ask(do="memory", ctxsize=ctxsize, n_ubatch=n_ubatch)["bytes"])

    def _ask(self, **request: Any) -> dict[str, Any]:
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        try:
            pipe_in.write(json.dumps(request).encode() + b"\n")
            pipe_in.flush()
            line = pipe_out.readline()
        except OSError:
            line = b""
        if not line:
            raise PlainSideError(
                f"the process that runs {self._model} without the daemon ended; try: infd doctor"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise PlainSideError(f"{self._model} without the daemon: {answer['error']}")
        return answer
