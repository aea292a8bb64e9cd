"""How many prompt tokens one call of a dedicated context may carry, learnt from the calls before.

A call cannot be interrupted for somebody who waits, so its length is what others may have to wait
for: `slice_s` while others wait for cores, and `ALONE` times as long while nobody does, because
then only a run that comes in the middle of it waits. (Who computes beside it on another core loses
nothing by its length.) BATCH_SET is the caller's, and an upper bound.

Pure. One `Pace` a model, shared by its contexts' threads: a lost update is one measurement less.

Limit: a token's cost grows with the depth it stands at. What is learnt follows within a few
calls, and the prompts of a model at one time share it.
"""

from __future__ import annotations

# The default of `slice_ms`, in milliseconds.
SLICE_MS = 225
# Nobody waits: a call may take so many slices.
ALONE = 4.0
# What a token takes falls with the tokens of a call, one thread on AVX2: for a 1.1 B model from
# 55 ms alone to 35 in a call of 8 and 28 in one of 16 or more; for a 0.5 B model at 1,536 tokens'
# depth with flash attention from 36 (8) to 32 (32) to 17 (64 and more, where its tiles begin).
LEAST = GRAIN = 8
LEAST_ALONE = GRAIN_ALONE = 64
# Before anything is known, beside others.
FIRST = 16
# How much a new measurement counts.
_NEW = 0.4


class Pace:
    """What a model's prompt tokens take, by the number of threads. Times in seconds."""

    __slots__ = ("_per_token",)

    def __init__(self) -> None:
        self._per_token: dict[int, float] = {}

    def learn(self, tokens: int, threads: int, seconds: float) -> None:
        """A call of so many prompt tokens on so many threads took so long."""
        if tokens < LEAST or threads < 1 or seconds <= 0:
            return
        new = seconds / tokens
        old = self._per_token.get(threads)
        self._per_token[threads] = new if old is None else old + _NEW * (new - old)

    def per_token(self, threads: int) -> float:
        """Seconds that a prompt token takes on so many threads; 0.0 while that is not known.

        What was measured with another number of threads is taken for it as if they shared the
        work evenly: with more threads that is too hopeful by what they lose to each other.
        """
        known = self._per_token
        found = known.get(threads)
        if found is not None:
            return found
        # A copy: another thread may be learning.
        near = min(list(known), key=lambda n: abs(n - threads), default=0)
        return known[near] * near / threads if near else 0.0

    def piece(self, threads: int, slice_s: float, *, contended: bool) -> int:
        """How many tokens the next call may carry. `contended`: others wait for cores; else it is
        `LEAST_ALONE` or more, below which much of the speed would be lost."""
        per_token = self.per_token(threads)
        if not per_token:
            return FIRST if contended else LEAST_ALONE
        if contended:
            return max(LEAST, int(slice_s / per_token) // GRAIN * GRAIN)
        return max(LEAST_ALONE, int(ALONE * slice_s / per_token) // GRAIN_ALONE * GRAIN_ALONE)
