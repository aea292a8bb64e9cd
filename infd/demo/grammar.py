"""The notation of wordings, and the draw that holds a tenth of them out of training.

Rules: a wording is a sentence with slots such as ``{x}``. A pattern such as ``[please |]say {x}``
stands for every choice of its alternatives. A skill's wordings are listed in a fixed order, and
a tenth of them is drawn with a fixed seed before any training. Two wordings that differ only in
case or punctuation are one. Every word of a held-out wording occurs in a training wording of the
same group, or the wording stays in training.
Limits: brackets nest, but have no escape; slots are lower-case letters.
"""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property

HOLDOUT_SEED = 4633
HOLDOUT_SHARE = 0.1
PLAIN = 16
PLAIN_SHARE = 0.25

_INNER = re.compile(r"\[([^\[\]]*)\]")
_WORD = re.compile(r"\{[a-z]\}|[^\W_]+(?:'[a-z]+)?")


def expand(pattern: str) -> list[str]:
    """Every sentence that a pattern stands for, in a fixed order."""
    found = _INNER.search(pattern)
    if found is None:
        return [" ".join(pattern.split())]
    head, tail = pattern[: found.start()], pattern[found.end() :]
    return [line for choice in found[1].split("|") for line in expand(head + choice + tail)]


def words(wording: str) -> tuple[str, ...]:
    """The words and slots of a wording, without case and punctuation: what makes it the same."""
    return tuple(_WORD.findall(wording.lower()))


def capital(sentence: str) -> str:
    """The sentence with its first letter upper-case, unless it begins with a slot."""
    return sentence[:1].upper() + sentence[1:]


@dataclass(frozen=True)
class Group:
    """The wordings of one intent: those trained on, and those held out for evaluation."""

    train: tuple[str, ...]
    held: tuple[str, ...]

    @cached_property
    def plain(self) -> list[str]:
        """The shortest wordings of training."""
        return sorted(self.train, key=len)[:PLAIN]

    def pick(self, rng: random.Random, held: bool) -> str:
        """One wording of the wanted side; in training often a short one, as people do."""
        if not held and rng.random() < PLAIN_SHARE:
            return rng.choice(self.plain)
        return rng.choice(self.held if held else self.train)


def unique(patterns: Iterable[str]) -> list[str]:
    """All sentences of the patterns, the first of each set of equal words, in order."""
    seen: dict[tuple[str, ...], str] = {}
    for pattern in patterns:
        for line in expand(pattern):
            seen.setdefault(words(line), capital(line))
    return list(seen.values())


def draw(name: str, patterns: Iterable[str]) -> Group:
    """Divide the wordings of one intent; at least one is held out if the words rule allows it."""
    lines = unique(patterns)
    order = lines.copy()
    random.Random(f"{HOLDOUT_SEED}:{name}").shuffle(order)
    left = Counter(word for line in lines for word in set(words(line)))
    wanted = max(1, round(len(lines) * HOLDOUT_SHARE))
    held: list[str] = []
    for line in order:
        if len(held) == wanted:
            break
        mine = set(words(line))
        if all(left[word] > 1 for word in mine):
            held.append(line)
            left.subtract(mine)
    if not held:
        raise ValueError(f"no wording of {name!r} can be held out: give it more wordings")
    away = set(held)
    return Group(tuple(line for line in lines if line not in away), tuple(held))
