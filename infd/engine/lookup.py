"""Prompt-lookup: guesses of the next tokens from a context's own tokens. Pure.

What follows the latest tokens now is often what followed the same tokens earlier: quotes, code
that is changed a little, lists, names. `TokenIndex` finds the earlier place, `Pace` says how many
tokens of it to guess. lookahead.py has the guesses verified.

Rules:
- A place counts when its last `LEAST` tokens are the latest ones; the one with the most such
  tokens wins, up to `LONGEST` of them, the later of two equals. Only the latest `CANDIDATES`
  places are compared: more would cost more than they find.
- `Pace` goes by what was accepted, never by a clock: how many tokens are computed at one time
  decides how sums are rounded, and a run with a seed must come out the same every time. Whether
  guessing pays on a machine at all is a question for `infd bench`.
"""

from __future__ import annotations

from collections.abc import Sequence

LEAST = 2
LONGEST = 16
CANDIDATES = 16
# llama.cpp's kernels compute rows by fours, and what is left over one by one: four rows took 1.3
# (3 M parameters), 1.4 (1.1 B, AMX) and 3.4 (1.1 B, AVX2) times as long as one, and three took
# 2.9 times on the latter. The token before the guesses is a row too.
GROUP = 4
# Decodes without guesses after many wrong ones, at most.
LONGEST_PAUSE = 64
# So many tokens in common are no chance: a passage is being quoted, and a pause ends.
QUOTED = 8


class TokenIndex:
    """Tokens in a row, and for each the latest earlier place with the same two tokens.

    Adding and dropping the last token take constant time.
    """

    __slots__ = ("_before", "_latest", "tokens")

    def __init__(self) -> None:
        self.tokens: list[int] = []
        """To be read only."""
        self._latest: dict[tuple[int, int], int] = {}
        self._before: list[int] = []

    def add(self, token: int) -> None:
        """Append a token."""
        tokens = self.tokens
        at = len(tokens)
        if at:
            key = (tokens[-1], token)
            self._before.append(self._latest.get(key, -1))
            self._latest[key] = at
        else:
            self._before.append(-1)
        tokens.append(token)

    def cut(self, n: int) -> None:
        """Keep the first `n` tokens."""
        tokens, before, latest = self.tokens, self._before, self._latest
        while len(tokens) > n:
            token, earlier = tokens.pop(), before.pop()
            if not tokens:
                return
            if earlier < 0:
                del latest[tokens[-1], token]
            else:
                latest[tokens[-1], token] = earlier

    def become(self, tokens: Sequence[int], common: int) -> None:
        """Hold `tokens`, whose first `common` are held already."""
        self.cut(common)
        for token in tokens[common:]:
            self.add(token)

    def find(self) -> tuple[int, int]:
        """Where the tokens before the end stood earlier: the index behind that place, and how
        many they are; (0, 0) if nowhere."""
        tokens, before = self.tokens, self._before
        end = len(tokens) - 1
        best = most = 0
        place = before[end] if tokens else -1
        for _ in range(CANDIDATES):
            if place < 0:
                break
            same = LEAST
            while same < LONGEST and same <= place and tokens[place - same] == tokens[end - same]:
                same += 1
            if same > most:
                best, most = place + 1, same
                if same == LONGEST:
                    break
            place = before[place]
        return best, most

    def following(self, start: int, n: int) -> list[int]:
        """The `n` tokens from `start` (below the length) on; beyond the end it goes on with what
        it gave already, so that a period goes on."""
        if not n:
            return []
        found = self.tokens[start : start + n]
        period = len(found)
        while len(found) < n:
            found.append(found[-period])
        return found


class Pace:
    """How many tokens to guess, by how the last guesses went. One for each run.

    A group of rows at first. All right: twice as many rows next time, within `most`. Less than
    half right: the fewest that would have held those, and a pause, each longer than the last;
    right guesses shorten pauses again. So where fewer than half of the guesses hold, guessing
    all but ends.
    """

    __slots__ = ("_pause", "_rest", "_width", "accepted", "drafted", "most")

    def __init__(self, most: int) -> None:
        """`most`: tokens of one guess, at least 1."""
        self.most = most
        self.drafted = 0
        """Tokens guessed in all."""
        self.accepted = 0
        """Those that were right."""
        self._width = self._fitting(GROUP)
        self._pause = self._rest = 0

    def width(self, same: int) -> int:
        """How many to guess now, where the place found has `same` tokens in common with the end;
        asked once before each decode."""
        if self._rest:
            self._rest -= 1
            if same < QUOTED:
                return 0
            self._rest = 0
        return self._width if same else 0

    def learn(self, drafted: int, accepted: int) -> None:
        """The first `accepted` of `drafted` guesses were right."""
        if not drafted:
            return
        self.drafted += drafted
        self.accepted += accepted
        if 2 * accepted < drafted:
            self._width = self._fitting(accepted + 1)
            self._rest = self._pause = min(LONGEST_PAUSE, 2 * self._pause + 1)
            return
        self._pause //= 2
        if accepted == drafted:
            self._width = max(self._width, self._fitting(2 * (drafted + 1)))

    def _fitting(self, rows: int) -> int:
        """The guesses in so many rows, rounded up to whole groups, or to as many as may be."""
        whole = -(-rows // GROUP) * GROUP
        within = (self.most + 1) // GROUP * GROUP or self.most + 1
        return min(whole, within) - 1
