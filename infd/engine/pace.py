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
SLICE_MS = 150
# Nobody waits: a call may take so many slices.
ALONE = 4.0
# Kernels take tokens by fours to sixteens. Of a 1.1 B model on AVX2, one thread: 1 token 55 ms,
# 4 tokens 46 each, 8 tokens 35, 16 and more 28; with AMX 16 tokens take hardly more than one.
LEAST = 8
GRAIN = 8
# Before anything is known.
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
        """How many tokens the next call may carry, `LEAST` or more.

        `contended`: others wait for cores.
        """
        per_token = self.per_token(threads)
        if not per_token:
            return FIRST
        tokens = int(slice_s * (1.0 if contended else ALONE) / per_token)
        return max(LEAST, tokens // GRAIN * GRAIN)
