"""How many prompt tokens a batch's step may carry, learnt from the steps before. Pure.

A step beside running replies is a gap between two of their tokens: prompts may make it longer by
`slice_s`, or by `STRETCH` of the usual step where that is less, so that a fast model's replies
stay smooth too. Without replies a step may take `ALONE` times as long: only a run that comes in
the middle of it waits.
"""

from __future__ import annotations

# Six steps' time for prompts in a step of replies: the prompt keeps 6/7 of its speed.
STRETCH = 6.0
# Where short gaps were asked for ("strict") prompts may make them twice as long.
STRICT_STRETCH = 1.0
ALONE = 4.0
# Kernels compute four rows together, replies' and prompts' alike. On two cores with AVX2 a row of a
# 1.1 B model takes 30 ms alone, 20 in a step of 8 and 17 in one of 16 and more.
TILE = 4
LEAST = 4
GRAIN_ALONE = 32
# Before anything is known.
FIRST = 16
# How much a new measurement counts.
_NEW = 0.3


class Rhythm:
    """One batch's. Times in seconds."""

    def __init__(self, slice_s: float, *, strict: bool = False) -> None:
        """`slice_s`: the most that prompts may add to a step beside replies."""
        self._slice = slice_s
        self._stretch = STRICT_STRETCH if strict else STRETCH
        self._reply_step = 0.0
        self._per_token = 0.0

    def learn(self, prompt: int, replies: int, seconds: float) -> None:
        """A step with so many prompt tokens and replies took so long."""
        if not prompt:
            self._reply_step = _mean(self._reply_step, seconds)
            return
        rest = seconds - (self._reply_step if replies else 0.0)
        self._per_token = _mean(self._per_token, max(rest, seconds / 4) / prompt)

    def seconds(self, prompt: int) -> float:
        """What so many prompt tokens probably take; 0.0 before anything is known."""
        return prompt * self._per_token

    def budget(self, *, replies: int) -> int:
        """Tokens of prompts for the next step, beside so many replies; at least `LEAST`."""
        if not self._per_token:
            return FIRST if replies else GRAIN_ALONE
        if not replies:
            tokens = int(self._slice * ALONE / self._per_token)
            return max(GRAIN_ALONE, tokens // GRAIN_ALONE * GRAIN_ALONE)
        seconds = self._slice
        if self._reply_step:
            usual = max(self._reply_step, replies * self._per_token)
            seconds = min(seconds, self._stretch * usual)
        rows = seconds / self._per_token + replies
        return max(LEAST, round(rows / TILE) * TILE - replies)


def _mean(old: float, new: float) -> float:
    return new if not old else old + _NEW * (new - old)
