"""What is computed from what was measured: rates, gaps, medians of ratios. Pure."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

T = TypeVar("T")


@dataclass(slots=True)
class Reply:
    """One reply as its reader saw it. Times in seconds of one clock."""

    sent: float
    """Before the request was sent."""
    tokens: int = 0
    """Tokens of the reply."""
    prompt: int = 0
    """Tokens of the prompt; 0 where the contender does not say."""
    cached: int = 0
    """Of them not computed again."""
    text: str = ""
    times: list[float] = field(default_factory=list)
    """When each piece of text came."""
    sizes: list[int] = field(default_factory=list)
    """Bytes of the reply up to and with each piece."""

    def add(self, now: float, piece: str) -> None:
        """A piece of text that came now; an empty one is none."""
        if piece:
            self.text += piece
            self.times.append(now)
            self.sizes.append((self.sizes[-1] if self.sizes else 0) + len(piece.encode()))

    @property
    def first(self) -> float:
        """Seconds from the request to the first piece of text."""
        return self.times[0] - self.sent

    @property
    def seconds(self) -> float:
        """Seconds from the request to the last piece of text."""
        return self.times[-1] - self.sent

    @property
    def gaps(self) -> list[float]:
        """Seconds between neighbouring pieces."""
        return [b - a for a, b in pairwise(self.times)]

    def made_by(self, moment: float) -> float:
        """Tokens that had come by then. A piece's tokens are its share of the reply's bytes,
        which is exact where all tokens have as many bytes."""
        index = bisect_right(self.times, moment)
        return self.tokens * self.sizes[index - 1] / self.sizes[-1] if index else 0.0

    @property
    def decoded(self) -> tuple[float, float]:
        """Tokens that came after the first piece, and the seconds from it to the last."""
        return self.tokens - self.made_by(self.times[0]), self.times[-1] - self.times[0]


def decode_rate(replies: Sequence[Reply]) -> float:
    """Tokens a second of replies that came one after another, first pieces not counted."""
    parts = [reply.decoded for reply in replies]
    return sum(made for made, _ in parts) / sum(seconds for _, seconds in parts)


def rate_together(replies: Sequence[Reply]) -> float:
    """Tokens a second, in all, of replies that came at the same time: while all of them came,
    from the last one's first piece to the first one's end. Where they hardly overlap (a server
    that computes one after another), from the first piece of all to the last."""
    begin = max(reply.times[0] for reply in replies)
    end = min(reply.times[-1] for reply in replies)
    made = sum(reply.made_by(end) - reply.made_by(begin) for reply in replies)
    if end > begin and made >= sum(reply.tokens for reply in replies) / 4:
        return made / (end - begin)
    begin = min(reply.times[0] for reply in replies)
    end = max(reply.times[-1] for reply in replies)
    made = sum(reply.tokens - reply.made_by(begin) for reply in replies)
    return made / (end - begin)


def percentile(values: Sequence[float], part: float) -> float:
    """The nearest-rank percentile: the least value that `part` of all are not above.

    `part` in (0, 1]. Raises ValueError without values.
    """
    if not values:
        raise ValueError("no values")
    return sorted(values)[max(0, math.ceil(part * len(values)) - 1)]


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness: 1 when all have the same, 1/n when one has all."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0


def ratios(over: Sequence[float | None], under: Sequence[float | None]) -> tuple[float, ...]:
    """Round by round; a round in which either is missing has none."""
    return tuple(
        a / b for a, b in zip(over, under, strict=False) if a is not None and b is not None and b
    )


def middle(values: Sequence[float | None]) -> float | None:
    """The median of those that are there; None without any."""
    there = [value for value in values if value is not None]
    return statistics.median(there) if there else None


def order(names: Sequence[T], number: int) -> list[T]:
    """Who goes first in round `number`: everybody in turn, each second time round backwards, so
    that nobody has always the same neighbour before."""
    if not names:
        return []
    at = number // 2 % len(names)
    turned = [*names[at:], *names[:at]]
    return turned[::-1] if number % 2 else turned
