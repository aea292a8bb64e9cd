"""The other side of every comparison: llama.cpp's plain loop, in a process of its own.

This is the parent's end; plain_process.py is the process.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from infd.bench.side import Side

Messages = list[dict[str, str]]


class PlainSide(Side):
    """The process, with one model loaded. A context manager."""

    def __init__(self, model: Path, *, n_ctx: int) -> None:
        """Raises SideError."""
        super().__init__("infd.bench.plain_process", model, n_ctx=n_ctx)

    def run(self, messages: Messages, *, threads: int, max_tokens: int) -> dict[str, Any]:
        """A greedy reply: prompt_s, decode_s, text, and `ends`: the reply's bytes after each token.

        Seconds; decode_s begins when the prompt is evaluated. Raises SideError.
        """
        return self._ask(do="run", messages=messages, threads=threads, max_tokens=max_tokens)

    def turn(self, messages: Messages, *, threads: int, held: int) -> float:
        """Seconds to evaluate the prompt's tokens from the `held`-th on, the others being held."""
        answer = self._ask(do="run", messages=messages, threads=threads, max_tokens=1, held=held)
        return float(answer["prompt_s"])

    def memory(self, *, ctxsize: int, n_ubatch: int) -> int:
        """Bytes that llama.cpp says it allocated for a context."""
        return int(self._ask(do="memory", ctxsize=ctxsize, n_ubatch=n_ubatch)["bytes"])
