"""One loaded model: its weights, its vocabulary, what its file says of itself.

Rules: a `Model` is shared by all contexts over it and may be used from any thread; loading and
tokenising release the GIL. It is closed only when no context is open (checked). Nothing here
computes: see context.py.

Limits of knowledge: a damaged file may end the process inside llama.cpp. Who lets files in
tries them out in a subprocess first (infd/models); here only what can be seen before loading
is refused.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import structlog

from infd.engine.errors import ModelFileError
from infd.engine.library import captured_log, last_error, lib, supports_gpu
from infd.engine.options import ModelOptions
from infd.engine.pace import Pace
from infd.engine.pages import gather_pages, own_memory
from infd.engine.vocabulary import VOCAB_NONE, Vocabulary

# llama.cpp rounds n_ctx up to a multiple of this (llama-context.cpp, GGML_PAD(n_ctx, 256)).
CTX_PAD = 256
# llama-kv-cells.h: position, shift and a set of 256 sequences for each cell.
_CELL_BYTES = 64
# A context of 2,048 tokens, 32 heads and prompts of 512: what the models that people run on
# processors have. Longer ones have longer prompts.
_MOST_SCORE_BYTES, _LONG_PROMPT = 128 * 1024 * 1024, 512
# Beyond so many bytes of scores micro-batches are made smaller, but not below 128 tokens: so many
# evaluate a prompt as fast as 512 do.
_SCORE_BYTES, _MICRO_BATCH = 32 * 1024 * 1024, 128
# Where flash attention pays because there is little else to compute: rows of a model, tokens of a
# context.
_TINY, _SHORT = 256, 1024
# What even the smallest context's compute buffer has beside its rows.
_GRAPH_BYTES = 128 * 1024
_DEFAULTS = ModelOptions()
# llama.h, llama_model_params.devices: a list that ends at once.
_NO_DEVICES = (ctypes.c_void_p * 1)()

_log = structlog.get_logger("infd.engine.model")


@dataclass(frozen=True, slots=True)
class ModelInfo:
    """What a model file says of itself. Sizes in bytes, contexts in tokens."""

    path: str
    size_bytes: int
    n_params: int
    architecture: str
    description: str
    n_ctx_train: int
    n_vocab: int
    n_layer: int
    n_embd: int
    has_template: bool
    has_tokenizer: bool
    is_embedding_only: bool
    cannot_generate: str
    """Why it can hold no conversation, as a sentence; empty when it can."""
    is_recurrent: bool
    """Its memory cannot be cut back to a prefix (recurrent and hybrid models)."""
    is_hybrid: bool = False
    """Its memory has a recurrent part and a KV cache."""
    n_swa: int = 0
    """Tokens that a sliding-window layer looks back; 0: every layer sees all."""


class Model:
    """One llama_model. Make it with `Model.load`; close it when its contexts are closed."""

    def __init__(self, pointer: Any, path: str, options: ModelOptions = _DEFAULTS) -> None:
        self.pointer: Any = pointer
        self.options = options
        self.vocab: Any = lib.llama_model_get_vocab(pointer)
        self._contexts = 0
        self._beyond_training: set[int] = set()
        self._lock = threading.Lock()
        self.info = self._read_info(path)
        self._head_sizes = self._read_head_sizes()
        kv = options.kv
        if any(size % kv.block for size in self._head_sizes):
            raise ModelFileError(
                f'kv_type "{options.kv_type}" cannot hold the heads of the model file {path}: '
                f"their sizes ({' and '.join(map(str, sorted(set(self._head_sizes))))}) are no "
                f"multiples of {kv.block}"
            )
        self.vocabulary = Vocabulary(self.vocab, self.info.has_tokenizer)
        if not self.vocabulary.has_byte_tokens:
            raise ModelFileError(
                f"the model file {path} has a SentencePiece vocabulary without its 256 byte "
                "tokens; llama.cpp would crash on text outside of it"
            )
        self.pieces = self.vocabulary.pieces
        self.end_tokens = self.vocabulary.end_tokens
        self.newline_tokens = self.vocabulary.newline_tokens
        self.template: str | None = self._read_template()
        self.pace = Pace()
        """What its prompts' tokens take, learnt by its dedicated contexts."""
        self.lookup = 0 if self.info.is_recurrent else options.lookup
        """Tokens guessed at one time; 0: none. What a recurrent model has read it cannot unread."""
        self.on_gpu = options.n_gpu_layers != 0 and supports_gpu()
        """Whether a GPU computes it: then contexts wait for the device, not for cores."""
        self.compute: Callable[[Any, Any], int] = (
            _decode_and_wait if self.on_gpu else lib.llama_decode
        )
        """llama_decode of a llama_context and a llama_batch, but done when it returns."""
        self.flash_refused = False
        """Whether llama.cpp found that the GPU has no flash attention for its heads."""

    @classmethod
    def load(
        cls,
        path: str | os.PathLike[str],
        *,
        extra_bufts: bool = True,
        progress: Callable[[float], bool] | None = None,
        options: ModelOptions = _DEFAULTS,
    ) -> Model:
        """Read a GGUF file (for a split one: its first part) and keep its weights.

        `options` hold for every context over it. `extra_bufts` False leaves the weights as the
        file has them: slower, and without the kernels that some builds crash in. `progress` is
        called on this thread with 0.0 to 1.0; False from it ends the load. Raises
        ModelFileError, also for a cache type that the model's heads do not fit.
        """
        name = os.fspath(path)
        _check_file(name)
        params = lib.llama_model_default_params()
        params.use_extra_bufts = extra_bufts
        # Not mapped: whoever writes into a mapped file would end the daemon, or change what
        # everybody is answered.
        params.load_mode = lib.LLAMA_LOAD_MODE_NONE
        params.n_gpu_layers = options.n_gpu_layers
        if not options.n_gpu_layers and supports_gpu():
            # Otherwise llama.cpp would compute large prompts of any model on the GPU, out of
            # turn, and keep every cache there.
            params.devices = ctypes.cast(_NO_DEVICES, ctypes.c_void_p)
        if options.n_gpu_layers and not supports_gpu():
            _log.warning(
                "this build of llama.cpp has no GPU support: the model is computed on processors",
                path=name, n_gpu_layers=options.n_gpu_layers,
            )  # fmt: skip
        stopped = False
        if progress is not None:
            report = progress

            def on_progress(part: float, _user_data: object) -> bool:
                nonlocal stopped
                try:
                    stopped = stopped or not report(part)
                except Exception:
                    stopped = True
                return not stopped

            # Held in a local, so that it outlives the call.
            callback = lib.llama_progress_callback(on_progress)
            params.progress_callback = callback
        before = own_memory()
        with captured_log() as said:
            pointer = lib.llama_model_load_from_file(os.fsencode(name), params)
        if not pointer:
            why = (
                "the load was ended" if stopped else last_error(said) or "llama.cpp gave no reason"
            )
            raise ModelFileError(f"the model file {name} cannot be loaded: {why}")
        try:
            gather_pages(before, lambda: progress is None or progress(1.0))
            model = cls(pointer, name, options)
        except BaseException:
            lib.llama_model_free(pointer)
            raise
        if options.lookup and not model.lookup:
            _log.warning(
                "lookup is off: a recurrent model cannot take back what was guessed wrong",
                path=name, lookup=options.lookup,
            )  # fmt: skip
        return model

    def tokenize(self, text: str, *, special: bool, bos: bool) -> list[int]:
        """The tokens of `text`. `special`: spelled control tokens become control tokens.

        `bos`: begin with BOS if the vocabulary wants one (and the text did not bring it).
        Raises TokenizeError.
        """
        return self.vocabulary.tokenize(text, special=special, bos=bos)

    def piece(self, token: int, *, special: bool = False) -> bytes:
        """The bytes of one token, of any length; control tokens are empty unless `special`."""
        return self.vocabulary.piece(token, special=special)

    def is_end(self, token: int) -> bool:
        """Whether this token ends a reply."""
        return token in self.end_tokens

    def bytes_for_context(self, ctxsize: int, n_ubatch: int, *, together: bool = False) -> int:
        """An estimate, from above, of what a context will take; llama.cpp says it exactly later.
        `together`: one of several that are computed in one call.

        Keys and values of every layer in the cache's type, llama.cpp's books on each cell, and
        the compute buffer, whose largest parts are the attention scores (none with flash
        attention), the feed-forward activations and the logits of the last token.
        """
        n_ctx = padded(ctxsize)
        info = self.info
        kv_heads: int = max(1, lib.llama_model_n_head_kv(self.pointer))
        cell = sum(self.options.kv.bytes_for(kv_heads * size) for size in self._head_sizes)
        cache = n_ctx * (info.n_layer * cell + _CELL_BYTES)
        ff = self._number("feed_forward_length") or 4 * info.n_embd
        rows = min(n_ubatch, n_ctx)
        # 8 * n_ctx: the attention mask in 32 and in 16 bits, and the copy made on its way.
        compute = rows * (4 * (4 * info.n_embd + 2 * ff) + 8 * n_ctx) + 4 * info.n_vocab
        if not self.flash_attention(ctxsize, n_ubatch, together=together):
            compute += self._score_bytes(ctxsize, n_ubatch)
        if self.on_gpu:
            # The same buffers lie at both ends of the bus; and whether its flash attention takes
            # the model's heads is seen with the first context.
            compute += compute // 4
        return cache + compute + _GRAPH_BYTES

    def flash_attention(self, ctxsize: int, n_ubatch: int, *, together: bool = False) -> bool:
        """Whether a context of this size uses it: as the options say, or by this rule.
        `together`: one of several that are computed in one call.

        On processors it makes replies slower, but near their beginning: a 1.1 B model on two
        threads (AVX2) makes 1.08 times as many tokens at a depth of 16, 1.03 times as many at 128,
        0.96 at 200, 0.91 at 500 and 0.84 at 1,000; a prompt of 16 tokens takes 1.4 times as long
        at 1,000, one of 256 0.97 times, one of 512 0.89. Without it the compute buffer holds every
        attention score, and llama.cpp takes no quantised cache. A tiny model's time is that of the
        graph's nodes, of which it has fewer: the bundled one makes 1.15 to 1.4 times the tokens to
        a depth of 500. Not so in a batch, whose rows should round as they do alone. On a GPU it
        costs nothing.
        """
        if self.flash_refused:
            return False
        if self.options.flash_attention != "auto":
            return self.options.flash_attention == "on"
        if self.options.kv.quantised or self.on_gpu:
            return True
        if not together and self.info.n_embd <= _TINY and padded(ctxsize) <= _SHORT:
            return True
        rows = n_ubatch if together else max(n_ubatch, _LONG_PROMPT)
        return self._score_bytes(ctxsize, rows) > _MOST_SCORE_BYTES

    def micro_batch(self, ctxsize: int, most: int) -> int:
        """Tokens of a prompt, at most `most`, that a context of its own computes in one graph."""
        if self.flash_attention(ctxsize, most):
            return most
        while most > _MICRO_BATCH and self._score_bytes(ctxsize, most) > _SCORE_BYTES:
            most = max(_MICRO_BATCH, most // 2)
        return most

    def _score_bytes(self, ctxsize: int, n_ubatch: int) -> int:
        n_ctx = padded(ctxsize)
        heads: int = max(1, lib.llama_model_n_head(self.pointer))
        return 4 * heads * n_ctx * min(n_ubatch, n_ctx)

    def opened(self, ctxsize: int) -> None:
        """A context of so many tokens is made over this model. One that is longer than what the
        model was trained with is warned of, once for each size: a batch makes its own often."""
        trained = self.info.n_ctx_train
        with self._lock:
            if self.pointer is None:
                raise RuntimeError("the model is closed")
            self._contexts += 1
            warns = 0 < trained < ctxsize and ctxsize not in self._beyond_training
            if warns:
                self._beyond_training.add(ctxsize)
        if warns:
            _log.warning(
                "a context is longer than those that the model was trained with: what it says "
                "beyond that may be of no use",
                path=self.info.path, ctxsize=ctxsize, training_context=trained,
            )  # fmt: skip

    def closed(self) -> None:
        """A context over this model is gone."""
        with self._lock:
            self._contexts -= 1

    @property
    def open_contexts(self) -> int:
        """How many contexts are open over this model."""
        return self._contexts

    def close(self) -> None:
        """Free the weights now. Calling it twice is harmless; with open contexts it raises."""
        with self._lock:
            if self._contexts:
                raise RuntimeError(f"{self._contexts} contexts of the model are still open")
            pointer, self.pointer = self.pointer, None
        if pointer is not None:
            self.vocab = None
            lib.llama_model_free(pointer)

    # What the file says.

    def _meta(self, key: str) -> str | None:
        size = 256
        buffer = ctypes.create_string_buffer(size)
        n = lib.llama_model_meta_val_str(self.pointer, key.encode(), buffer, size)
        if n >= size:
            buffer = ctypes.create_string_buffer(n + 1)
            n = lib.llama_model_meta_val_str(self.pointer, key.encode(), buffer, n + 1)
        return None if n < 0 else buffer.value.decode("utf-8", "replace")

    def _number(self, key: str) -> int:
        value = self._meta(f"{self.info.architecture}.{key}") or ""
        return int(value) if value.isdigit() else 0

    def _read_info(self, path: str) -> ModelInfo:
        pointer = self.pointer
        buffer = ctypes.create_string_buffer(256)
        lib.llama_model_desc(pointer, buffer, len(buffer))
        architecture = self._meta("general.architecture") or ""
        pooling = self._meta(f"{architecture}.pooling_type") or "0"
        causal = self._meta(f"{architecture}.attention.causal")
        has_tokenizer = lib.llama_vocab_type(self.vocab) != VOCAB_NONE
        embedding = (
            causal == "false"
            or (pooling.isdigit() and int(pooling) > 0)
            or not lib.llama_model_has_decoder(pointer)
        )
        cannot = ""
        if lib.llama_model_is_diffusion(pointer):
            embedding, cannot = False, "the model makes text by diffusion, not from left to right"
        elif embedding:
            cannot = "the model only makes embeddings; it cannot hold a conversation"
        elif lib.llama_model_has_encoder(pointer):
            cannot = "the model has an encoder, which infd does not run"
        return ModelInfo(
            path=path,
            size_bytes=lib.llama_model_size(pointer),
            n_params=lib.llama_model_n_params(pointer),
            architecture=architecture,
            description=buffer.value.decode("utf-8", "replace"),
            n_ctx_train=lib.llama_model_n_ctx_train(pointer),
            n_vocab=lib.llama_vocab_n_tokens(self.vocab),
            n_layer=lib.llama_model_n_layer(pointer),
            n_embd=lib.llama_model_n_embd(pointer),
            has_template=bool(lib.llama_model_chat_template(pointer, None)),
            has_tokenizer=has_tokenizer,
            is_embedding_only=embedding,
            cannot_generate=cannot,
            is_recurrent=bool(
                lib.llama_model_is_recurrent(pointer) or lib.llama_model_is_hybrid(pointer)
            ),
            is_hybrid=bool(lib.llama_model_is_hybrid(pointer)),
            n_swa=lib.llama_model_n_swa(pointer),
        )

    def _read_head_sizes(self) -> tuple[int, int]:
        """Values of one key and of one value head."""
        heads: int = max(1, lib.llama_model_n_head(self.pointer))
        per_head = self.info.n_embd // heads
        return (
            self._number("attention.key_length") or per_head,
            self._number("attention.value_length") or per_head,
        )

    def _read_template(self) -> str | None:
        raw = lib.llama_model_chat_template(self.pointer, None)
        return raw.decode("utf-8", "replace") if raw else None


def _decode_and_wait(context: Any, batch: Any) -> int:
    """On a GPU llama_decode returns when the work is handed out: nobody else is to have the turn
    before it is done, nor is the time that it takes to be taken for somebody else's."""
    result: int = lib.llama_decode(context, batch)
    lib.llama_synchronize(context)
    return result


def padded(ctxsize: int) -> int:
    """The length that llama.cpp gives a context of so many tokens."""
    return -(-ctxsize // CTX_PAD) * CTX_PAD


def _check_file(path: str) -> None:
    try:
        with open(path, "rb") as file:
            magic = file.read(4)
    except OSError as error:
        raise ModelFileError(
            f"the model file {path} cannot be read: {error.strerror or error}"
        ) from None
    if magic != b"GGUF":
        raise ModelFileError(f"the file {path} is no GGUF model: it does not begin with GGUF")
