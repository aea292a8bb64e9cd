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
ALONE = 2.0
# Fewer tokens at once are computed as slowly as so many; kernels take them by the dozens.
LEAST = 32
GRAIN = 32
# Before anything is known.
FIRST = 64
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

    def learn(self, prompt: int, replies: int, threads: int, seconds: float) -> None:
        """A step with so many prompt tokens and replies took so long."""
        if not prompt:
            self._reply_step = _mean(self._reply_step, seconds)
            return
        if prompt < LEAST:
            return
        rest = seconds - (self._reply_step if replies else 0.0)
        self._per_token = _mean(self._per_token, max(rest, seconds / 4) / prompt)

    def seconds(self, prompt: int) -> float:
        """What so many prompt tokens probably take; 0.0 before anything is known."""
        return prompt * self._per_token

    def budget(self, *, decoding: bool) -> int:
        """Tokens of prompts for the next step; at least `LEAST`."""
        if not self._per_token:
            return FIRST
        seconds = self._slice * ALONE
        if decoding:
            seconds = self._slice
            if self._reply_step:
                seconds = min(seconds, self._stretch * self._reply_step)
        tokens = int(seconds / self._per_token)
        return max(LEAST, tokens // GRAIN * GRAIN)


def _mean(old: float, new: float) -> float:
    return new if not old else old + _NEW * (new - old)
