"""What the event loop's side sees of a context's engine, in either placement.

Rules: the loop's side writes `limits`, `read_tokens` and a run's flags, and reads the counters;
the computing thread does it the other way round. Nothing here computes or waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING

from infd.engine.context import ContextMemory
from infd.engine.events import Finished, Limits, RunRequest, RunState
from infd.engine.sampling import draw_seed
from infd.engine.scheduler import Share

if TYPE_CHECKING:
    from infd.engine.prefixes import Shelf
    from infd.engine.swap import Away, SwapFolder

# BATCH_SET 0 (section 5 of the contract), and the most of one graph (n_ubatch).
DEFAULT_BATCH = 512
# What ESTIMATE_MS, a uint32, can tell.
_MOST_MS = 2**32 - 1


class EngineState:
    """The counters of one context and what binds it."""

    least_shared: int
    """How many tokens are worth a copy of a prompt's beginning, for the placement."""

    def __init__(self, share: Share, limits: Limits, *, ctxsize: int, run_ahead: int) -> None:
        """`ctxsize` and `run_ahead` in tokens."""
        self.share = share
        self.limits = limits
        self.ctxsize = ctxsize
        self.run_ahead = run_ahead
        self.shelf: Shelf | None = None
        """Beginnings of the user's prompts that are kept; None: none are."""
        self.swap: SwapFolder | None = None
        """Where the KV may be saved; None: the context stays in memory."""
        self.asleep = False
        """Whether it was taken out of memory; the next run brings it back."""
        self.away: Away | None = None
        """Its KV meanwhile, if it held one that could be saved."""
        self.spent = 0.0
        """Processor time for which others had to wait, beside what was computed, in seconds."""
        self.in_prompt = False
        self.prompt_tokens = 0
        self.prompt_done = 0
        self.made_tokens = 0
        self.read_tokens = 0

    @property
    def tokens_used(self) -> int:
        """How many tokens the KV cache holds."""
        raise AssertionError("each placement keeps its own tokens")

    @property
    def tokens_away(self) -> int:
        """How many tokens are saved while it is asleep."""
        away = self.away
        return 0 if away is None else away.tokens

    @property
    def needs(self) -> int:
        """What it takes when it is in memory, in bytes; nearly, before it was."""
        return 0

    def forget_away(self) -> None:
        """Delete what was saved."""
        away, self.away = self.away, None
        if away is not None:
            away.discard()

    @property
    def ahead(self) -> bool:
        """Whether the run is so far ahead of its reader that it is background work."""
        return self.made_tokens - self.read_tokens > self.run_ahead

    @property
    def memory(self) -> ContextMemory:
        """What llama.cpp allocated for this context alone."""
        return ContextMemory(0, 0, 0)

    @property
    def position(self) -> int:
        """1 for the next to be given cores; 0 when it does not wait for any."""
        return 0

    @property
    def estimate(self) -> float:
        """Seconds until it is probably given cores; 0.0 when it does not wait for any."""
        return 0.0

    @property
    def estimate_ms(self) -> int:
        """`estimate` in milliseconds, for ESTIMATE_MS; 0 only when it does not wait."""
        if not self.position:
            return 0
        # Nothing may be known yet; a wait is none of 0.
        return min(max(1, round(1000 * self.estimate)), _MOST_MS)

    @property
    def piece(self) -> int:
        """The most prompt tokens of one call, by BATCH_SET."""
        return min(self.limits.batch or DEFAULT_BATCH, self.ctxsize)

    def most_tokens(self, request: RunRequest, held: int) -> int:
        """How many tokens a reply may have after `held` ones: what its request and the context's
        size allow."""
        room = self.ctxsize - held
        return room if request.max_tokens is None else min(room, request.max_tokens)

    def forget_counters(self) -> None:
        """Before a run, and after the conversation was cleared."""
        self.read_tokens = self.made_tokens = self.prompt_done = self.prompt_tokens = 0

    def finished(
        self,
        reason: str,
        run: RunState,
        seed: int | None,
        cached: int,
        started: float,
        evaluated: float,
    ) -> Finished:
        """The end of a run: `started` and `evaluated` (the prompt was) on time.perf_counter."""
        return Finished(
            reason=reason,
            seed=draw_seed() if seed is None else seed,
            tokens_in=len(run.prepared.tokens),
            tokens_cached=cached,
            tokens_out=self.made_tokens,
            prompt_ms=round((evaluated - started) * 1000, 3),
            decode_ms=round((perf_counter() - evaluated) * 1000, 3),
        )


def common_prefix(held: Sequence[int], wanted: Sequence[int]) -> int:
    """How many tokens two lists, or two arrays, begin with in common; slices compare at C's
    speed."""
    low, high = 0, min(len(held), len(wanted))
    if held[:high] == wanted[:high]:
        return high
    while low + 1 < high:
        middle = (low + high) // 2
        if held[low:middle] == wanted[low:middle]:
            low = middle
        else:
            high = middle
    return low
