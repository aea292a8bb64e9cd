"""The process in which llama.cpp runs alone, asked by alone.py: told what to do as
infd/bench/answering.py says."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import takewhile
from time import perf_counter
from typing import Any

from infd.bench.answering import answer_requests
from infd.engine import library
from infd.engine.library import lib
from infd.engine.options import ModelOptions
from infd.engine.plain import PlainChat, PlainLoop


class HeldLoop(PlainLoop):
    """A loop that keeps the beginning of a prompt from one evaluation to the next."""

    held: Sequence[int] = ()

    def rest(self, prompt: Sequence[int], held: int) -> float:
        """Seconds to evaluate what stands behind the first `held` tokens."""
        if self.held == prompt[:held]:
            lib.llama_memory_seq_rm(lib.llama_get_memory(self._context), 0, held, -1)
            began = perf_counter()
            self._evaluate(prompt[held:])
            # The first logits are there when the last token is evaluated.
            lib.llama_synchronize(self._context)
            return perf_counter() - began
        self.held = list(prompt[:held])
        return self.run(prompt, 1, held=held).prompt_s


_PROMPT = 16
"""Tokens before what `together` decodes."""


class Served:
    """One model, and the loops that were asked for so far."""

    def __init__(self, path: str, n_ctx: int, gpu_layers: int) -> None:
        """Load a model."""
        self.chat = PlainChat(path, n_ctx=256, options=ModelOptions(n_gpu_layers=gpu_layers))
        self._n_ctx = n_ctx
        self._loops: dict[tuple[int, int], PlainLoop] = {}
        self._keeping: HeldLoop | None = None

    def about(self) -> dict[str, Any]:
        """The library, and the model's chat template with what it names the ends of a text."""
        model = self.chat.model
        bos, eos = (
            model.piece(token, special=True).decode("utf-8", "replace") if token >= 0 else ""
            for token in (model.vocabulary.bos, model.vocabulary.eos)
        )
        return {
            "library": library.version(), "kernels": library.kernels(),
            "template": model.template, "bos": bos, "eos": eos,
        }  # fmt: skip

    def own(self, system: str, text: str, other: str, threads: int) -> dict[str, Any]:
        """See Alone.own_tokens."""
        mine, theirs = (
            self.chat.prompt([
                {"role": "system", "content": system}, {"role": "user", "content": said}
            ])
            for said in (text, other)
        )  # fmt: skip
        held = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(mine, theirs)))  # noqa: B905
        if self._keeping is None:
            self._keeping = HeldLoop(self.chat.model, n_ctx=self._n_ctx, n_threads=threads)
        return {"tokens": len(mine) - held, "seconds": self._keeping.rest(mine, held)}

    def together(self, contexts: int, threads: int, tokens: int) -> dict[str, Any]:
        """See Alone.together."""
        loops = [self._loop(number, threads) for number in range(contexts)]
        prompt = self.chat.model.tokenize("x", special=False, bos=False)[:1] * _PROMPT
        with ThreadPoolExecutor(contexts) as pool:
            runs = list(pool.map(lambda loop: loop.run(prompt, tokens), loops))
        # Those that end last run beside fewer than the others, so this is not too little.
        made = sum(len(run.tokens) - 1 for run in runs)
        return {"rate": made / max(run.decode_s for run in runs)}

    def _loop(self, number: int, threads: int) -> PlainLoop:
        key = (number, threads)
        if key not in self._loops:
            self._loops[key] = PlainLoop(self.chat.model, n_ctx=256, n_threads=threads)
        return self._loops[key]


if __name__ == "__main__":
    answer_requests(Served)
