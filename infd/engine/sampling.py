"""What the sampling keys mean, and the sampler that does it.

The contract's section 5 fixes defaults and order: penalties, top_k, typical, top_p, min_p,
temperature, draw; mirostat v2 in place of the four filters; TEMP=0 is greedy after penalties.
Penalties look at the last REPEAT_N tokens of the context, the prompt's included, as llama.cpp's
own tools do. They are applied to the logits here, not in llama.cpp's chain, whose penalties
cannot exempt newline and end tokens; the formula is llama.cpp's.

Greedy is an argmax over the logits as they lie in llama.cpp's buffer: its own sampler copies them
into a record for each token of the vocabulary first, which takes longer than all the rest here.

Limits: a distribution is computed in 32 bits by llama.cpp. TEMP below 1e-6 draws like greedy
but is not exactly it, and penalised logits stay within ±1e30, so that no softmax overflows.
"""

from __future__ import annotations

import ctypes
import secrets
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from infd.engine.context import LlamaContext
from infd.engine.library import lib
from infd.engine.model import Model

_LEAST_TEMP = 1e-6
_MOST_LOGIT = 1e30
# llama.h, LLAMA_DEFAULT_SEED: asks llama.cpp to draw a seed of its own, which nobody could repeat.
_RANDOM_SEED = 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingParams:
    """The contract's sampling keys in lower case; None is unset."""

    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    temp: float | None = None
    repeat_n: int | None = None
    repeat_penalty: float | None = None
    repeat_present: float | None = None
    repeat_frequency: float | None = None
    repeat_lf: bool | None = None
    repeat_eot: bool | None = None
    mirostat_v2_tau: float | None = None
    mirostat_v2_eta: float | None = None

    @classmethod
    def merged(cls, base: Mapping[str, Any], override: Mapping[str, Any]) -> SamplingParams:
        """The user's set with the run's own keys before it, key by key.

        Keys in either case; None is unset; keys that are not about sampling are passed over.
        """
        values: dict[str, Any] = {}
        for given in (base, override):
            for key, value in given.items():
                if value is not None and key.lower() in _KEYS:
                    values[key.lower()] = value
        return cls(**values)

    @property
    def mirostat(self) -> tuple[float, float] | None:
        """(tau, eta) when either key is set, the other at its usual value."""
        if self.mirostat_v2_tau is None and self.mirostat_v2_eta is None:
            return None
        tau = 5.0 if self.mirostat_v2_tau is None else self.mirostat_v2_tau
        eta = 0.1 if self.mirostat_v2_eta is None else self.mirostat_v2_eta
        return tau, eta

    @property
    def temperature(self) -> float:
        """TEMP, or what its absence means: 1 if anything asks for drawing, else 0 (greedy)."""
        if self.temp is not None:
            return self.temp
        drawing = (self.top_k, self.top_p, self.min_p, self.typical_p, self.mirostat)
        return 0.0 if all(key is None for key in drawing) else 1.0

    @property
    def penalises(self) -> bool:
        """Whether any penalty has an effect."""
        return self.repeat_n != 0 and (
            self.repeat_penalty not in (None, 1.0)
            or bool(self.repeat_present)
            or bool(self.repeat_frequency)
        )


_KEYS = frozenset(f.name for f in fields(SamplingParams))


def draw_seed() -> int:
    """A seed for a run that names none."""
    return secrets.randbelow(_RANDOM_SEED)


class Sampler:
    """Chooses the next token of one run. Used by one thread; `close` frees llama.cpp's part."""

    def __init__(self, model: Model, params: SamplingParams, seed: int) -> None:
        """`seed`: uint32. The same seed, parameters and logits give the same tokens."""
        self.params = params
        self.seed = seed
        self._chain: Any = None
        """None: greedy."""
        if params.temperature != 0.0:
            self._chain = self._build(params, min(seed, _RANDOM_SEED - 1))
        self._rows = _Rows(model.info.n_vocab)
        self._penalties = _Penalties(model, params) if params.penalises else None
        self.needs_history = self._penalties is not None
        """Whether `accept` and `prime` have an effect: else they need not be called."""

    @staticmethod
    def _build(params: SamplingParams, seed: int) -> Any:
        chain = lib.llama_sampler_chain_init(lib.llama_sampler_chain_default_params())

        def add(part: Any) -> None:
            lib.llama_sampler_chain_add(chain, part)

        mirostat = params.mirostat
        if mirostat is None:
            if params.top_k:
                add(lib.llama_sampler_init_top_k(min(params.top_k, 0x7FFFFFFF)))
            if params.typical_p is not None and params.typical_p < 1.0:
                add(lib.llama_sampler_init_typical(params.typical_p, 1))
            if params.top_p is not None and params.top_p < 1.0:
                add(lib.llama_sampler_init_top_p(params.top_p, 1))
            if params.min_p:
                add(lib.llama_sampler_init_min_p(params.min_p, 1))
        add(lib.llama_sampler_init_temp(max(params.temperature, _LEAST_TEMP)))
        if mirostat is None:
            add(lib.llama_sampler_init_dist(seed))
        else:
            add(lib.llama_sampler_init_mirostat_v2(seed, *mirostat))
        return chain

    def prime(self, history: Iterable[int]) -> None:
        """The context's tokens so far, so that penalties see them."""
        if self._penalties is not None:
            for token in history:
                self._penalties.accept(token)

    def follow(self, history: Iterable[int]) -> Callable[[int], None] | None:
        """Prime it with the context's tokens: what is to be told each further one; None: nothing
        has to."""
        if not self.needs_history:
            return None
        self.prime(history)
        return self.accept

    def sample(self, context: LlamaContext) -> int:
        """The next token from the logits of the context's last token (ValueError: none)."""
        if not context.has_logits:
            raise ValueError("there are no logits to sample from")
        return self.sample_at(context.pointer, -1)

    def sample_at(self, pointer: Any, index: int) -> int:
        """The next token from the logits of the `index`-th token of the latest decode.

        Without logits there it may end the process.
        """
        if self._penalties is not None:
            self._penalties.apply(self._rows.at(pointer, index))
        if self._chain is None:
            return int(self._rows.at(pointer, index).argmax())
        token: int = lib.llama_sampler_sample(self._chain, pointer, index)
        return token

    def sample_from(self, context: LlamaContext) -> Callable[[], int]:
        """`sample` bound to a context, for loops in which a microsecond counts.

        Called without logits it may end the process: only after a decode that was OK.
        """
        if self._penalties is not None:
            return lambda: self.sample(context)
        chain, pointer, row = self._chain, context.pointer, self._rows.at
        if chain is None:
            return lambda: int(row(pointer, -1).argmax())
        sample = lib.llama_sampler_sample
        return lambda: sample(chain, pointer, -1)

    def accept(self, token: int) -> None:
        """`token` is now the context's last."""
        if self._penalties is not None:
            self._penalties.accept(token)

    def close(self) -> None:
        """Free it; twice is harmless."""
        chain, self._chain = self._chain, None
        if chain is not None:
            lib.llama_sampler_free(chain)


# The package's own function makes a pointer object of each address.
_logits_at = ctypes.cast(
    lib.llama_get_logits_ith, ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int32)
)


class _Rows:
    """Logits as arrays, where llama.cpp has them: always at the same few addresses."""

    def __init__(self, n_vocab: int) -> None:
        self._row: Any = ctypes.c_float * n_vocab
        self._known: dict[int, np.ndarray[Any, np.dtype[np.float32]]] = {}

    def at(self, pointer: Any, index: int) -> np.ndarray[Any, np.dtype[np.float32]]:
        """All logits of the `index`-th token of the latest decode, one a token of the vocabulary;
        the first of the greatest is its argmax. Without logits there it may end the process."""
        address = _logits_at(pointer, index)
        row = self._known.get(address)
        if row is None:
            row = np.frombuffer(self._row.from_address(address), np.float32)
            self._known[address] = row
        return row


class _Penalties:
    """Repetition, presence and frequency penalties over a window of tokens."""

    def __init__(self, model: Model, params: SamplingParams) -> None:
        self._size = 64 if params.repeat_n is None else params.repeat_n
        self._window: deque[int] = deque()
        self._counts = np.zeros(model.info.n_vocab, np.int32)
        self._repeat = 1.0 if params.repeat_penalty is None else params.repeat_penalty
        self._present = params.repeat_present or 0.0
        self._frequency = params.repeat_frequency or 0.0
        exempt: set[int] = set()
        if params.repeat_lf is not None and not params.repeat_lf:
            exempt |= model.newline_tokens
        if not params.repeat_eot:
            exempt |= model.end_tokens
        self._exempt = exempt

    def accept(self, token: int) -> None:
        window, counts, exempt = self._window, self._counts, self._exempt
        window.append(token)
        if token not in exempt:
            counts[token] += 1
        if len(window) > self._size:
            gone = window.popleft()
            if gone not in exempt:
                counts[gone] -= 1

    def apply(self, logits: np.ndarray[Any, np.dtype[np.float32]]) -> None:
        """Change the logits, one for each token of the vocabulary, in place."""
        there = self._counts.nonzero()[0]
        old = logits[there].astype(np.float64)
        with np.errstate(all="ignore"):
            new = np.where(old <= 0, old * self._repeat, old / self._repeat)
        new -= self._counts[there] * self._frequency + self._present
        logits[there] = np.where(np.isnan(new), old, new.clip(-_MOST_LOGIT, _MOST_LOGIT))
