"""The process in which llama.cpp's plain loop runs, asked by plain_side.py.

`python -m infd.bench.plain_process` is told what to do as answering.py says. It shares nothing with
the daemon but the model file: the loop is engine/plain.py, which has no scheduler, no worker thread
and no wire.
"""

from __future__ import annotations

from typing import Any

from infd.bench.answering import answer_requests
from infd.engine import library
from infd.engine.context import LlamaContext
from infd.engine.plain import PlainChat, PlainLoop


class Served:
    """One model, and a loop for each number of threads that was asked for."""

    def __init__(self, path: str, n_ctx: int) -> None:
        """Raises ModelFileError, ContextError or TemplateError."""
        self._chat = PlainChat(path, n_ctx=n_ctx)
        self._model = self._chat.model
        self._n_ctx = n_ctx
        self._loops: dict[int, PlainLoop] = {}

    def about(self) -> dict[str, Any]:
        """The model and the library, in words and numbers."""
        info = self._model.info
        return {
            "description": info.description,
            "parameters": info.n_params,
            "weights": info.size_bytes,
            "library": library.version(),
            "kernels": library.kernels(),
        }

    def run(
        self, messages: list[dict[str, str]], threads: int, max_tokens: int, held: int = 0
    ) -> dict[str, Any]:
        """See PlainSide.run."""
        if threads not in self._loops:
            self._loops[threads] = PlainLoop(self._model, n_ctx=self._n_ctx, n_threads=threads)
        prompt = self._chat.prompt(messages)
        made = self._loops[threads].run(prompt, max_tokens, held=held)
        pieces = [self._model.pieces[token] for token in made.tokens]
        return {
            "prompt": len(prompt),
            "prompt_s": made.prompt_s,
            "decode_s": made.decode_s,
            "text": b"".join(pieces).decode("utf-8", "replace"),
            "ends": [sum(map(len, pieces[: n + 1])) for n in range(len(pieces))],
        }

    def memory(self, ctxsize: int, n_ubatch: int) -> dict[str, Any]:
        """See PlainSide.memory."""
        n_ubatch = self._model.micro_batch(ctxsize, n_ubatch)
        context = LlamaContext(self._model, ctxsize=ctxsize, n_ubatch=n_ubatch)
        try:
            return {"bytes": context.memory.total}
        finally:
            context.close()


if __name__ == "__main__":
    answer_requests(Served)
