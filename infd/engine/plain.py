"""The plain loop: llama.cpp with nothing around it.

It is the reference that the bench compares the wire with and that tests compare replies with,
so it shares no code with context.py, sampling.py and worker.py: one batch, llama.cpp's greedy
sampler, until an end token. `PlainChat` is the shortest way from a model file to an answer, for
tools such as the bundled model's evaluation; it renders the template in this process, so it is
for files that one trusts.
"""

from __future__ import annotations

import ctypes
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from typing import Any

from infd.closing import Closing
from infd.engine.errors import ContextError, TemplateError
from infd.engine.library import lib
from infd.engine.model import Model
from infd.engine.options import ModelOptions
from infd.engine.renderer import compile_template


@dataclass(frozen=True, slots=True)
class PlainRun:
    """What a plain run made: the reply's tokens (no end token) and its times in seconds."""

    tokens: list[int]
    prompt_s: float
    decode_s: float


class PlainLoop:
    """One llama_context, decoded greedily. Not for use from several threads."""

    def __init__(
        self, model: Model, *, n_ctx: int = 1024, n_threads: int = 1, n_ubatch: int = 512
    ) -> None:
        """Raises ContextError."""
        self._model = model
        params = lib.llama_context_default_params()
        n_ubatch = model.micro_batch(n_ctx, n_ubatch)
        flash = model.flash_attention(n_ctx, n_ubatch)
        params.flash_attn_type = (
            lib.LLAMA_FLASH_ATTN_TYPE_AUTO if flash else lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
        )
        params.n_ctx = params.n_batch = n_ctx
        params.n_ubatch = min(n_ctx, n_ubatch)
        params.n_threads = params.n_threads_batch = n_threads
        model.opened(n_ctx)
        pointer = lib.llama_init_from_model(model.pointer, params)
        if not pointer:
            model.closed()
            raise ContextError(f"llama.cpp made no context of {n_ctx} tokens")
        self._context: Any = pointer
        self._sampler: Any = lib.llama_sampler_init_greedy()
        self._n_ctx = n_ctx

    def run(self, prompt: Sequence[int], max_tokens: int, *, held: int = 0) -> PlainRun:
        """Evaluate `prompt` from nothing and generate up to `max_tokens`, or until the end.

        The first `held` tokens of the prompt are evaluated before the clock starts.
        """
        if not 0 <= held < len(prompt) < self._n_ctx:
            raise ValueError(
                f"a prompt of {len(prompt)} tokens, {held} held, in a context of {self._n_ctx}"
            )
        context, sampler, vocab = self._context, self._sampler, self._model.vocab
        lib.llama_memory_clear(lib.llama_get_memory(context), True)
        made: list[int] = []
        if held:
            self._evaluate(prompt[:held])
        started = time.perf_counter()
        self._evaluate(prompt[held:])
        begun = time.perf_counter()
        one = (ctypes.c_int32 * 1)()
        batch = lib.llama_batch_get_one(one, 1)
        room = min(max_tokens, self._n_ctx - len(prompt))
        while len(made) < room:
            token = lib.llama_sampler_sample(sampler, context, -1)
            if lib.llama_vocab_is_eog(vocab, token):
                break
            made.append(token)
            if len(made) == room:
                break
            one[0] = token
            if lib.llama_decode(context, batch):
                raise ContextError("llama.cpp did not evaluate a token")
        return PlainRun(made, begun - started, time.perf_counter() - begun)

    def _evaluate(self, prompt: Sequence[int]) -> None:
        tokens = (ctypes.c_int32 * len(prompt))(*prompt)
        if lib.llama_decode(self._context, lib.llama_batch_get_one(tokens, len(prompt))):
            raise ContextError("llama.cpp did not evaluate the prompt")

    def close(self) -> None:
        """Free it; twice is harmless."""
        if self._context is not None:
            lib.llama_sampler_free(self._sampler)
            lib.llama_free(self._context)
            self._context = None
            self._model.closed()


class PlainChat(Closing):
    """A model file that answers: greedy, in this process, one call after another."""

    def __init__(
        self,
        path: str | PathLike[str],
        *,
        n_ctx: int = 1024,
        n_threads: int = 1,
        options: ModelOptions | None = None,
    ) -> None:
        """Raises ModelFileError, ContextError or TemplateError (no template in the file)."""
        self.model = self._model = Model.load(path, options=options or ModelOptions())
        self._loop: PlainLoop | None = None
        try:
            self._render = self._compile()
            self._loop = PlainLoop(self._model, n_ctx=n_ctx, n_threads=n_threads)
        except BaseException:
            self.close()
            raise

    def _compile(self) -> Any:
        model = self._model
        if model.template is None:
            raise TemplateError(f"the model file {model.info.path} has no chat template")
        bos, eos = (
            model.piece(t, special=True).decode("utf-8", "replace") if t >= 0 else ""
            for t in (model.vocabulary.bos, model.vocabulary.eos)
        )
        try:
            return compile_template(model.template, bos, eos)
        except ValueError as error:
            raise TemplateError(str(error)) from None

    def prompt(self, messages: Sequence[Mapping[str, str]]) -> list[int]:
        """The tokens of these messages ({"role", "content"} each) and the generation prompt."""
        try:
            text = self._render([(m["role"], m["content"]) for m in messages])
        except ValueError as error:
            raise TemplateError(str(error)) from None
        return self._model.tokenize(text, special=True, bos=True)

    def reply(self, messages: list[dict[str, str]], max_tokens: int = 128) -> str:
        """The model's greedy answer. Raises TemplateError, or ValueError for too long a prompt."""
        if self._loop is None:
            raise RuntimeError("the chat is closed")
        made = self._loop.run(self.prompt(messages), max_tokens)
        return b"".join(self._model.pieces[t] for t in made.tokens).decode("utf-8", "replace")

    def close(self) -> None:
        """Free the context and the weights; twice is harmless."""
        if self._loop is not None:
            self._loop.close()
            self._loop = None
        self._model.close()
