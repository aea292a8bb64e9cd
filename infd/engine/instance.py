"""One llama_context whose sequences are the contexts of a batch: the slots.

Rules: one thread uses an instance; only `abort` may be called from another. Every slot has a KV
cache of its own, of the same size (streams, in llama.cpp's words): one cache for all would make
every token look at the tokens of all. Sequences are computed together only when their numbers
follow each other; a step with gaps is computed in several parts. After a decode that was not OK
the slots that took part hold anything: cut them back.
"""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from infd.engine.context import Decoded, create, reaches
from infd.engine.library import lib
from infd.engine.model import Model
from infd.engine.pools import Team
from infd.engine.snapshot import Snapshot, put, take

# On processors pieces of prompts gain nothing from larger micro-batches, and a small one keeps
# plain attention, whose score buffer grows with it. A GPU is not filled by so few tokens.
MICRO_BATCH, GPU_MICRO_BATCH = 128, 512
# The most tokens of a step beside one for each slot.
MOST_PROMPT = 1024


@dataclass(frozen=True, slots=True)
class Row:
    """One slot's part of a step: `tokens` after the `held` ones; logits of the last if wanted."""

    slot: int
    held: int
    tokens: Sequence[int]
    wants_logits: bool


class Instance:
    """`slots` sequences of up to `ctxsize` tokens each over a model's shared weights."""

    def __init__(
        self, model: Model, *, slots: int, ctxsize: int, flash: bool = False,
        nice: int | None = None,
    ) -> None:  # fmt: skip
        """`flash`: whether the one in whose place it comes had flash attention: it keeps it.
        `nice`: see `Team`. Raises ContextError."""
        self.model = model
        self.slots = slots
        self.ctxsize = ctxsize
        self._room = room = slots + min(MOST_PROMPT, ctxsize)
        micro = GPU_MICRO_BATCH if model.on_gpu else MICRO_BATCH
        made = create(
            model, ctxsize=ctxsize, n_ubatch=micro, n_batch=room, slots=slots, flash=flash
        )
        self.pointer: Any = made.pointer
        self.memory = made.memory
        self.layout = made.layout
        self.flash = made.flash
        self._flag = made.flag
        self._kv: Any = lib.llama_get_memory(self.pointer)
        self._threads = 0
        self._team = Team(made.pointer, nice=nice)
        self._tokens = (ctypes.c_int32 * room)()
        self._positions = (ctypes.c_int32 * room)()
        self._counts = (ctypes.c_int32 * room)(*[1] * room)
        self._ids = (ctypes.c_int32 * room)()
        size = ctypes.sizeof(ctypes.c_int32)
        first = ctypes.addressof(self._ids)
        self._id_pointers = (ctypes.c_void_p * room)(*(first + i * size for i in range(room)))
        self._logits = (ctypes.c_int8 * room)()
        batch = self._batch = lib.llama_batch()
        batch.token = ctypes.cast(self._tokens, type(batch.token))
        batch.pos = ctypes.cast(self._positions, type(batch.pos))
        batch.n_seq_id = ctypes.cast(self._counts, type(batch.n_seq_id))
        batch.seq_id = ctypes.cast(self._id_pointers, type(batch.seq_id))
        batch.logits = ctypes.cast(self._logits, type(batch.logits))

    @property
    def most_prompt(self) -> int:
        """The most tokens of prompts that a step with all slots can carry."""
        return self._room - self.slots

    def decode(self, rows: Sequence[Row]) -> tuple[Decoded, list[int]]:
        """Compute one step; rows in the order of their slots. Releases the GIL.

        Also where each row's logits are, for `Sampler.sample_at`; of no use unless it was OK.
        """
        at = 0
        where: list[int] = []
        for row in rows:
            n = len(row.tokens)
            end = at + n
            if n == 1:
                self._tokens[at] = row.tokens[0]
                self._positions[at] = row.held
                self._ids[at] = row.slot
                self._logits[at] = row.wants_logits
            else:
                self._tokens[at:end] = list(row.tokens)
                self._positions[at:end] = list(range(row.held, row.held + n))
                self._ids[at:end] = [row.slot] * n
                self._logits[at:end] = [0] * n
                self._logits[end - 1] = row.wants_logits
            where.append(end - 1)
            at = end
        self._batch.n_tokens = at
        result = self.model.compute(self.pointer, self._batch)
        return Decoded.of(result), where

    def cut(self, slot: int, n: int) -> bool:
        """Let the slot hold its first `n` tokens only. False: it cannot be cut (recurrent
        models, or behind a sliding window), and holds nothing now."""
        held = n > 0 and reaches(self.model, self._kv, slot, n)
        if held and lib.llama_memory_seq_rm(self._kv, slot, n, -1):
            return True
        lib.llama_memory_seq_rm(self._kv, slot, -1, -1)
        return n == 0

    def take(self, slot: int, tokens: Sequence[int]) -> Snapshot:
        """A copy of what the slot holds. Raises SnapshotError."""
        return take(self.pointer, slot, tokens)

    def put(self, slot: int, snapshot: Snapshot) -> bool:
        """Let the slot hold what the snapshot does; False: it holds nothing now."""
        if put(self.pointer, slot, snapshot):
            return True
        self.cut(slot, 0)
        return False

    def set_threads(self, n: int) -> None:
        """Compute with `n` threads from now on."""
        if self._threads != n:
            self._threads = n
            lib.llama_set_n_threads(self.pointer, n, n)
            self._team.resize(n)

    def abort(self) -> None:
        """End the decode that runs, and every later one until `rearm`. From any thread."""
        self._flag[0] = b"\x01"

    def rearm(self) -> None:
        """Let decodes run again."""
        self._flag[0] = b"\x00"

    def close(self) -> None:
        """Free it now; twice is harmless."""
        pointer, self.pointer = self.pointer, None
        if pointer is not None:
            lib.llama_free(pointer)
            self._team.close()
            self._kv = None
            self.model.closed()
