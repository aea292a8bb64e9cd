"""Where a text spells any of some tokens. Pure."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator


class Finder:
    """Finds some spellings in texts: by their beginnings, then by their lengths."""

    def __init__(self, spellings: Iterable[str]) -> None:
        """`spellings`: none of them empty."""
        self._known = frozenset(spellings)
        self.longest = max(map(len, self._known), default=0)
        """Characters of the longest one; 0: there are none."""
        self._sizes: dict[str, list[int]] = {}
        for first, size in sorted({(spelled[0], len(spelled)) for spelled in self._known}):
            self._sizes.setdefault(first, []).append(size)
        # The regular expression passes over most of a text that is nothing but first characters.
        heads = sorted({spelled[:2] for spelled in self._known})
        self._head = re.compile(f"(?={'|'.join(map(re.escape, heads))})") if heads else None

    def find(
        self, text: str, start: int = 0, stop: int = sys.maxsize
    ) -> Iterator[tuple[int, int]]:
        """(start, end) of every occurrence whose beginning lies from `start` to before `stop`,
        overlapping ones too; of those that begin together the shortest first."""
        if self._head is None:
            return
        known, sizes, length = self._known, self._sizes, len(text)
        for match in self._head.finditer(text, start, stop):
            at = match.start()
            for size in sizes[text[at]]:
                end = at + size
                if end <= length and text[at:end] in known:
                    yield at, end

    def stands_apart(self, text: str, at: int) -> bool:
        """Whether one begins at `at`, and no other one reaches from before into it, or out of the
        longest one there."""
        end = -1
        reach = self.longest
        for start, stop in self.find(text, max(0, at - reach), at + 2 * reach):
            if start == at:
                end = stop
            elif start < at < stop or at < start < end < stop:
                return False
        return end > 0
