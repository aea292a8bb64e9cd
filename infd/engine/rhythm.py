"""How long a batch's steps are, learnt from the steps before. Pure.

A step computes replies, a token of each, or pieces of prompts; while there are both, the two kinds
follow each other, because llama.cpp would compute them one after the other in any case. What
prompts take is then a gap between two tokens of the replies: `slice_s`, or `STRETCH` times what
the replies take where that is less, so that a fast model's replies stay smooth too. Without
replies to disturb a step may take `ALONE` times as long: only a run that comes in the middle of
it waits. Where a prompt can be computed aside (aside.py), replies have a step after `ASIDE` times
what it takes, in the middle of the prompt's call.

Where users have different numbers of replies, those of one make the step of all longer: then it
has so many rows that it takes `FAIR` times (`STRICT` times, where short gaps were asked for) as
long as that of one.
"""

from __future__ import annotations

# A gap is then below ten times what it is without the prompt, and the prompt keeps 0.7 of its speed
# beside one reply, and more beside several.
STRETCH = 8.6
STRICT_STRETCH = 1.0
FAIR, STRICT = 4.0, 2.2
ALONE = 4.0
# Kernels compute 16 rows of a prompt together, and 4 of what is left. On two cores with AVX2 a row
# of a 1.1 B model takes 23 ms alone, 17 in a step of 4, 8 or 12 and 13 to 14 in one of 16 and more.
TILE, LEAST = 16, 4
# A prompt computed aside (aside.py) lets replies go first after so many times what their step
# takes: their gaps are then 7 to 7.5 times as long as without it, and it keeps 0.8 of its speed.
ASIDE = 5.3
# With flash attention, and a long context before it, from 64 on only half of the time.
GRAIN_ALONE = 64
# Before anything is known.
FIRST = 16
# How much a new measurement counts. A step of replies is seldom too fast by accident: of those a
# shorter one counts for more.
_NEW, _SHORTER = 0.3, 0.6
# More sequences in a step than this make hardly more tokens a second on processors.
MOST_ROWS = 64
# After so many others a step of one row is due.
_LOOK = 200
# What was learnt of so many rows is forgotten after so many steps without one of them: an accident
# would else be believed for ever, because steps are kept below what is thought too long.
_STALE = 400


class Rhythm:
    """One batch's. Times in seconds."""

    def __init__(self, slice_s: float, *, strict: bool = False) -> None:
        """`slice_s`: the most that prompts may take beside replies."""
        self._slice = slice_s
        self._stretch = STRICT_STRETCH if strict else STRETCH
        self._limit = STRICT if strict else FAIR
        self._steps: dict[int, float] = {}
        self._learnt: dict[int, int] = {}
        """When each of `_steps` was learnt last, counted in steps."""
        self._count = 0
        self._since_one = 0
        self._short = self._long = 0.0

    def learn_prompts(self, tokens: int, seconds: float) -> None:
        """A step of so many tokens of prompts took so long. A few tell nothing."""
        if tokens < LEAST:
            return
        if tokens < TILE:
            self._short = _mean(self._short, seconds / tokens)
        else:
            self._long = _mean(self._long, seconds / tokens)

    def learn_replies(self, rows: int, seconds: float) -> None:
        """A step of so many replies took so long."""
        old = self._steps.get(rows, 0.0)
        self._steps[rows] = _mean(old, seconds, _SHORTER if seconds < old else _NEW)
        self._since_one = 0 if rows == 1 else self._since_one + 1
        self._count += 1
        self._learnt[rows] = self._count
        if self._count % _LOOK == 0:
            for n in [n for n, at in self._learnt.items() if n > 1 and self._count - at >= _STALE]:
                del self._learnt[n], self._steps[n]

    def seconds(self, prompt: int) -> float:
        """What so many prompt tokens probably take; 0.0 before anything is known."""
        return prompt * (self._long or self._short)

    def step(self, rows: int) -> float:
        """What a step of so many replies probably takes; 0.0 before anything is known."""
        known = self._steps
        if rows in known or not known:
            return known.get(rows, 0.0)
        # Along a straight line through two neighbours, of which no rows in no time may be one.
        fewer = sorted(n for n in known if n < rows)
        above = min((n for n in known if n > rows), default=0)
        below = fewer[-1] if fewer else 0
        other = above or (fewer[-2] if len(fewer) > 1 else 0)
        low, high = known.get(below, 0.0), known.get(other, 0.0)
        return max(low, low + (high - low) * (rows - below) / (other - below))

    def budget(self, *, replies: int) -> int:
        """Tokens of prompts for the next step, beside so many replies; at least `LEAST`."""
        if not replies:
            tokens = ALONE * self._slice / (self._long or self._short or self._slice)
            return max(1, int(tokens) // GRAIN_ALONE) * GRAIN_ALONE
        seconds = self._slice
        if self._steps:
            seconds = min(seconds, self._stretch * self.step(replies))
        short = self._short or self._long
        long = self._long or self._short
        if not long:
            return FIRST
        if seconds >= TILE * long:
            return int(seconds / long / TILE) * TILE
        return min(TILE - LEAST, max(LEAST, int(seconds / short / LEAST) * LEAST))

    def aside(self, *, replies: int) -> float:
        """Seconds after which so many replies have their next step beside a prompt computed aside;
        0.0 where such a prompt gains nothing: pieces are as good, or short gaps were asked for."""
        if not replies or not self._steps or self._stretch < ASIDE:
            return 0.0
        if self.budget(replies=replies) > TILE:
            return 0.0
        return min(self._slice, ASIDE * self.step(replies))

    @property
    def look(self) -> bool:
        """Whether a step of one row should show anew how long such a step is."""
        return 1 not in self._steps or self._since_one >= _LOOK

    def width(self) -> int:
        """The most replies of a step where users have different numbers of them; at least 1."""
        if 1 not in self._steps:
            return LEAST
        most, rows = self._limit * self._steps[1], 1
        while rows < MOST_ROWS and self.step(rows + 1) <= most:
            rows += 1
        return rows


def _mean(old: float, new: float, part: float = _NEW) -> float:
    return new if not old else old + part * (new - old)
