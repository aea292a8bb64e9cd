"""What an owner may set for a model: how its contexts compute and what their caches hold.

Pure, so that the configuration can check it without llama.cpp. The defaults are what is right
for most models on processors; `infd bench` shows where another choice pays.

Limits of knowledge: which types llama.cpp takes for the KV cache was tried out with version
0.3.36 of the Python package; a model whose heads no block of a type fits is refused when it is
loaded (`Model.load`).
"""

from __future__ import annotations

from dataclasses import dataclass

FLASH_ATTENTION = ("auto", "on", "off")
PLACEMENTS = ("dedicated", "batched")
BATCHED_FAIR = ("throughput", "strict")
MIN_CTXSIZE = 32
"""The smallest context, in tokens (the contract's section 8)."""
MOST_LOOKUP = 16
"""The most tokens that prompt-lookup may draft at one time."""


@dataclass(frozen=True, slots=True)
class KvType:
    """A type of ggml's that a KV cache may have."""

    number: int
    """In ggml.h, enum ggml_type."""
    block: int
    """Values in one block; a head's size must be a multiple of it."""
    block_bytes: int

    @property
    def quantised(self) -> bool:
        """Whether llama.cpp takes it for values only with flash attention."""
        return self.block > 1

    def bytes_for(self, values: int) -> int:
        """Bytes that so many values take, a whole number of blocks."""
        return -(-values // self.block) * self.block_bytes


KV_TYPES = {
    "f16": KvType(1, 1, 2),
    "bf16": KvType(30, 1, 2),
    "f32": KvType(0, 1, 4),
    "q8_0": KvType(8, 32, 34),
    "q5_1": KvType(7, 32, 24),
    "q5_0": KvType(6, 32, 22),
    "q4_1": KvType(3, 32, 20),
    "q4_0": KvType(2, 32, 18),
    "iq4_nl": KvType(20, 32, 18),
}


@dataclass(frozen=True, slots=True)
class ModelOptions:
    """One model's options. Raises ValueError, one line for people, for what cannot be."""

    flash_attention: str = "auto"
    """"auto": where the scores of plain attention would take too much memory, and with a
    quantised cache."""
    kv_type: str = "f16"
    n_gpu_layers: int = 0
    """Layers computed on a GPU; -1 is all."""
    lookup: int = 0
    """Tokens that are guessed at one time at most; 0 is off. Dedicated placement only."""
    placement: str = "dedicated"
    batched_fair: str = "throughput"

    def __post_init__(self) -> None:
        for name, words in (
            ("flash_attention", FLASH_ATTENTION),
            ("kv_type", tuple(KV_TYPES)),
            ("placement", PLACEMENTS),
            ("batched_fair", BATCHED_FAIR),
        ):
            if getattr(self, name) not in words:
                raise ValueError(f"{name} must be one of {', '.join(words)}")
        if not 0 <= self.lookup <= MOST_LOOKUP:
            raise ValueError(f"lookup must be 0 to {MOST_LOOKUP}")
        if self.lookup and self.placement == "batched":
            raise ValueError(
                'lookup needs placement "dedicated": set lookup to 0, or placement to "dedicated"'
            )
        if self.n_gpu_layers < -1:
            raise ValueError("n_gpu_layers must be -1 (all) or more")
        if self.flash_attention == "off" and self.kv.quantised:
            raise ValueError(
                f'kv_type "{self.kv_type}" needs flash attention: set flash_attention to "auto" '
                f'or "on", or kv_type to "f16"'
            )

    @property
    def kv(self) -> KvType:
        """The cache's type."""
        return KV_TYPES[self.kv_type]
