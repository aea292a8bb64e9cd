"""One llama_context: a conversation's KV cache, and the calls that fill it.

Rules: one thread at a time uses a context (its worker's); only `abort` may be called from
another. What the KV cache holds and `tokens` agree after every call, also after an aborted or a
failed one. Logits exist after a decode that wanted them, for its last token at index -1.
"""

from __future__ import annotations

import ctypes
import enum
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infd.engine.errors import ContextError
from infd.engine.library import captured_log, last_error, lib, version
from infd.engine.model import Model, padded
from infd.engine.options import MOST_LOOKUP
from infd.engine.pools import Team
from infd.engine.snapshot import Snapshot, put, take

# llama_decode's results (llama.h).
_OK, _NO_ROOM, _ABORTED = 0, 1, 2
_MIB = 1024 * 1024
# One would do, but below 32 llama.cpp 0.5.0 plans graphs that evaluate prompts of 16 tokens and
# more at 0.7 of the speed (65 tokens of a 0.5 B model in Q4_0: 489 ms against 335, with AMX).
# The buffers of that model are as large with 32 as with 1. Prompt-lookup asks for logits of its
# guesses and of the token before them.
_OUTPUTS = max(32, MOST_LOOKUP + 1)
# A position is an int32 (llama.h, llama_pos), and n_ctx is rounded up to a multiple of 256.
_MOST_TOKENS = 2**31 - 256

# The abort callback runs at every graph node. A Python function there would take the GIL each
# time; strlen needs none: on the two bytes (x, 0) it gives 0 for x = 0, else 1.
_strlen = lib.ggml_abort_callback(ctypes.cast(ctypes.CDLL(None).strlen, ctypes.c_void_p).value)

# What llama.cpp says when the device has none for the model's heads (llama-context.cpp).
_NO_FLASH = "Flash Attention not supported, set to disabled"


class Decoded(enum.Enum):
    """How a decode ended."""

    OK = "ok"
    ABORTED = "aborted"
    NO_ROOM = "no room"
    FAILED = "failed"

    @classmethod
    def of(cls, result: int) -> Decoded:
        """What llama_decode's result means (llama.h)."""
        return _RESULTS.get(result, cls.FAILED)


_RESULTS = {_OK: Decoded.OK, _NO_ROOM: Decoded.NO_ROOM, _ABORTED: Decoded.ABORTED}


@dataclass(frozen=True, slots=True)
class ContextMemory:
    """What llama.cpp says it allocated for a context, in bytes."""

    kv_bytes: int
    compute_bytes: int
    output_bytes: int

    @property
    def total(self) -> int:
        """All of it, in bytes."""
        return self.kv_bytes + self.compute_bytes + self.output_bytes


_BUFFER = re.compile(r"\b(KV|RS|compute|output) buffer size\s*=\s*([\d.]+) MiB")


def _memory(lines: list[tuple[int, str]]) -> ContextMemory:
    sums = {"KV": 0.0, "RS": 0.0, "compute": 0.0, "output": 0.0}
    for _, line in lines:
        if " buffer size" in line and (found := _BUFFER.search(line)):
            sums[found[1]] += float(found[2])
    return ContextMemory(
        kv_bytes=int((sums["KV"] + sums["RS"]) * _MIB),
        compute_bytes=int(sums["compute"] * _MIB),
        output_bytes=int(sums["output"] * _MIB),
    )


def check_size(
    model: Model, ctxsize: int, n_ubatch: int, slots: int = 1, *, together: bool = False
) -> None:
    """Refuse what cannot be: llama.cpp would spend minutes, and the machine's memory, on it.

    Raises ContextError."""
    if not 0 < ctxsize <= _MOST_TOKENS:
        raise ContextError(f"a context of {ctxsize} tokens: llama.cpp takes 1 to {_MOST_TOKENS}")
    need = slots * model.bytes_for_context(ctxsize, n_ubatch, together=together)
    have = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if need > have:
        raise ContextError(
            f"{'a context' if slots == 1 else f'{slots} contexts'} of {ctxsize} tokens needs "
            f"about {need // _MIB} MiB; the machine has {have // _MIB} MiB of memory"
        )


@dataclass(frozen=True, slots=True)
class Allocated:
    """A llama_context, as `create` made it."""

    pointer: Any
    memory: ContextMemory
    layout: str
    """How the KV cache is laid out: snapshots pass between contexts of one layout."""
    flag: Any
    """Two bytes; while the first is not 0 every decode is aborted."""
    flash: bool
    """Whether it computes with flash attention."""


def create(
    model: Model,
    *,
    ctxsize: int,
    n_ubatch: int,
    n_batch: int | None = None,
    slots: int = 0,
    flash: bool = False,
) -> Allocated:
    """A llama_context of `slots` sequences of `ctxsize` tokens each, one thread; 0: of one, that
    is never computed together with others.

    `n_ubatch`: tokens computed in one graph. `n_batch`: tokens of one call; a context's length
    if not given. `flash`: with flash attention, although its size alone does not ask for it. Who
    frees it calls `model.closed()`. Raises ContextError.
    """
    if model.info.cannot_generate:
        raise ContextError(model.info.cannot_generate)
    together, slots = slots > 0, max(1, slots)
    check_size(model, ctxsize, n_ubatch, slots, together=together)
    params = lib.llama_context_default_params()
    flash = flash or model.flash_attention(ctxsize, n_ubatch, together=together)
    if not flash:
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    elif model.options.flash_attention == "on" and (model.options.kv.quantised or not model.on_gpu):
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_ENABLED
    else:
        # A GPU may have none for the model's heads. Told to have it all the same, llama.cpp lets
        # the processor compute it: the bundled model makes a third of its tokens then.
        params.flash_attn_type = lib.LLAMA_FLASH_ATTN_TYPE_AUTO
    params.type_k = params.type_v = model.options.kv.number
    # llama.cpp rounds a sequence's part up by itself, and says so when there are several.
    params.n_ctx = padded(ctxsize) * slots
    params.n_batch = n_batch or ctxsize
    params.n_ubatch = max(1, min(n_ubatch, ctxsize))
    params.n_seq_max = slots
    # A cache for each sequence: in one for all, each token would look at the cells of all.
    params.kv_unified = False
    # Of a prompt only the last token's logits are wanted; room for all would be n_batch rows of
    # the vocabulary's size.
    params.n_outputs_max = min(max(_OUTPUTS, slots), ctxsize * slots)
    params.n_threads = params.n_threads_batch = 1
    params.no_perf = True
    model.opened(ctxsize)
    try:
        with captured_log() as said:
            pointer = lib.llama_init_from_model(model.pointer, params)
    except BaseException:
        model.closed()
        raise
    if not pointer:
        model.closed()
        raise ContextError(
            f"llama.cpp made no context of {ctxsize} tokens: "
            + (last_error(said) or "it gave no reason")
        )
    if model.on_gpu and flash and any(_NO_FLASH in line for _, line in said):
        # Made once more without, as the later ones: its cache is laid out for flash attention.
        model.flash_refused = True
        lib.llama_free(pointer)
        model.closed()
        return create(model, ctxsize=ctxsize, n_ubatch=n_ubatch, n_batch=n_batch,
                      slots=slots if together else 0)  # fmt: skip
    flag = ctypes.create_string_buffer(2)
    lib.llama_set_abort_callback(pointer, _strlen, ctypes.cast(flag, ctypes.c_void_p))
    # Without flash attention llama.cpp keeps the values transposed.
    layout = f"k {params.type_k}, v {params.type_v}, {'as is' if flash else 'transposed'}"
    return Allocated(pointer, _memory(said), layout, flag, flash)


def reaches(model: Model, kv: Any, slot: int, n: int) -> bool:
    """Whether a sequence holds all that a token at position `n` looks at through a sliding
    window; always for models without one."""
    window = model.info.n_swa
    return not window or lib.llama_memory_seq_pos_min(kv, slot) <= max(0, n - window + 1)


def snapshot_key(model: Model, layout: str) -> str:
    """What a snapshot's file must have been written with to be read for a context of the model
    and the layout."""
    info = model.info
    return "\n".join((version(), info.path, str(info.size_bytes), str(info.n_params), layout))


class LlamaContext:
    """One llama_context over a model's shared weights, `ctxsize` tokens long."""

    def __init__(self, model: Model, *, ctxsize: int, n_ubatch: int) -> None:
        """Allocate it. `n_ubatch`: tokens computed in one graph, and the grain of an abort.

        Raises ContextError.
        """
        made = create(model, ctxsize=ctxsize, n_ubatch=n_ubatch)
        self.model = model
        self.ctxsize = ctxsize
        self.tokens: list[int] = []
        self.has_logits = False
        """Whether the last call left logits; sampling without them ends the process."""
        self.pointer: Any = made.pointer
        self.memory = made.memory
        self.layout = made.layout
        self._compute = model.compute
        self._flag = made.flag
        self._threads = (0, 0)
        self._team = Team(made.pointer)
        self._kv: Any = lib.llama_get_memory(self.pointer)
        # pos, seq_id and logits left NULL mean: after what is there, sequence 0, the last token.
        self._batch = lib.llama_batch()
        self._room = 0
        self._make_room(max(1, min(n_ubatch, ctxsize)))

    def _make_room(self, n: int) -> None:
        """Let the batch carry `n` tokens."""
        self._room = n
        self._token_buffer = (ctypes.c_int32 * n)()
        self._batch.token = ctypes.cast(self._token_buffer, lib.llama_token_p)

    def keep_prefix(self, n: int) -> int:
        """Cut the KV cache back to its first `n` tokens; how many are left.

        Recurrent models cannot be cut, nor sliding-window models beyond what they still hold:
        they are cleared, 0 is left.
        """
        if n >= len(self.tokens):
            return len(self.tokens)
        self.has_logits = False
        held = n > 0 and reaches(self.model, self._kv, 0, n)
        if not held or not lib.llama_memory_seq_rm(self._kv, 0, n, -1):
            self.clear()
            return 0
        del self.tokens[n:]
        return n

    def clear(self) -> None:
        """Forget everything."""
        self.has_logits = False
        lib.llama_memory_clear(self._kv, True)
        self.tokens.clear()

    def snapshot(self) -> Snapshot:
        """A copy of what is held. Raises SnapshotError; nothing is held: ValueError."""
        if not self.tokens:
            raise ValueError("there is nothing to copy")
        return take(self.pointer, 0, self.tokens)

    def restore(self, snapshot: Snapshot) -> bool:
        """Hold what the snapshot does, without logits; False: it does not fit, nothing is held.

        The snapshot is of a context of the same model and `layout`.
        """
        self.has_logits = False
        if len(snapshot.tokens) > self.ctxsize or not put(self.pointer, 0, snapshot):
            self.clear()
            return False
        self.tokens[:] = snapshot.tokens
        return True

    @property
    def snapshot_key(self) -> str:
        """What a snapshot's file must have been written with to be read for this context."""
        return snapshot_key(self.model, self.layout)

    def decode(self, tokens: Sequence[int], *, want_logits: bool) -> Decoded:
        """Evaluate `tokens` (1 to ctxsize of them) after what is held. Releases the GIL.

        ABORTED and FAILED leave the finished micro-batches held; NO_ROOM changes nothing.
        """
        return self._decode(tokens, int(want_logits))

    def decode_rows(self, tokens: Sequence[int], rows: int) -> Decoded:
        """As `decode`, with logits for each of the last `rows` (1 to 32) tokens: at their indexes
        in `tokens`."""
        if not 1 <= rows <= min(_OUTPUTS, len(tokens)):
            raise ValueError(f"logits for {rows} of {len(tokens)} tokens")
        return self._decode(tokens, rows)

    def _decode(self, tokens: Sequence[int], rows: int) -> Decoded:
        n = len(tokens)
        if not n:
            raise ValueError("nothing to decode")
        if len(self.tokens) + n > self.ctxsize:
            return Decoded.NO_ROOM
        if n > self._room:
            self._make_room(n)
        batch = self._batch
        self._token_buffer[:n] = list(tokens)
        batch.n_tokens = n
        if rows != 1:
            wanted = bytes(n - rows) + b"\x01" * rows
            batch.logits = (ctypes.c_int8 * n).from_buffer_copy(wanted)
        result = self._compute(self.pointer, batch)
        batch.logits = None
        if result == _OK:
            self.tokens.extend(tokens)
            self.has_logits = rows > 0
            return Decoded.OK
        return self._after(result, tokens)

    def decode_one(self, token: int) -> Decoded | None:
        """As `decode` of one token with logits, in the least time; None when all is well."""
        held = self.tokens
        if len(held) >= self.ctxsize:
            return Decoded.NO_ROOM
        self._token_buffer[0] = token
        batch = self._batch
        batch.n_tokens = 1
        result = self._compute(self.pointer, batch)
        if result == _OK:
            held.append(token)
            self.has_logits = True
            return None
        return self._after(result, (token,))

    def _after(self, result: int, tokens: Sequence[int]) -> Decoded:
        """Find out what an unfinished call left in the KV cache."""
        self.has_logits = False
        if result == _NO_ROOM:
            return Decoded.NO_ROOM
        if self.model.info.is_recurrent:
            # Its state has moved on with the unfinished call and cannot be moved back.
            self.clear()
        else:
            held = lib.llama_memory_seq_pos_max(self._kv, 0) + 1
            before = len(self.tokens)
            if held < before:
                del self.tokens[held:]
            else:
                self.tokens.extend(tokens[: held - before])
        return Decoded.ABORTED if result == _ABORTED else Decoded.FAILED

    def set_threads(self, n: int, n_batch: int) -> None:
        """Compute with `n` threads (a single token) and `n_batch` (a prompt) from now on."""
        if self._threads != (n, n_batch):
            self._threads = (n, n_batch)
            lib.llama_set_n_threads(self.pointer, n, n_batch)
            self._team.resize(max(n, n_batch))

    def abort(self) -> None:
        """End the decode that runs, and every later one until `rearm`. From any thread."""
        self._flag[0] = b"\x01"

    def rearm(self) -> None:
        """Let decodes run again."""
        self._flag[0] = b"\x00"

    def logits(self) -> list[float]:
        """The last token's logits, one a token of the vocabulary. For tests and tools: slow."""
        if not self.has_logits:
            raise ValueError("there are no logits")
        pointer = lib.llama_get_logits_ith(self.pointer, -1)
        return list(pointer[: self.model.info.n_vocab])

    def close(self) -> None:
        """Free it now; twice is harmless."""
        pointer, self.pointer = self.pointer, None
        if pointer is not None:
            lib.llama_free(pointer)
            self._team.close()
            self._kv = None
            self.tokens.clear()
            self.model.closed()
