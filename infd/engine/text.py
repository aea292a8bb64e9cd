"""From tokens' bytes to text that may be shown: whole characters, and nothing of a stop string.

Both parts are pure and take their input in pieces; how it is cut into pieces changes nothing in
the text that comes out in the end.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence


class Utf8Joiner:
    """Bytes in, whole characters out; what is no UTF-8 becomes U+FFFD as in bytes.decode."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._begun = False
        """Whether an unfinished character is kept."""

    def feed(self, data: bytes) -> str:
        """The characters completed by `data`; the beginning of a further one is kept."""
        if not self._begun and data.isascii():
            return data.decode()  # so are most tokens, and no Python function is called
        text: str = self._decoder.decode(data)
        self._begun = bool(self._decoder.getstate()[0])
        return text

    def flush(self) -> str:
        """What is left of an unfinished character, as U+FFFD."""
        self._begun = False
        return self._decoder.decode(b"", True)


class StopMatcher:
    """Text in, text before the first stop string out.

    The first stop string is the one that is complete first. Text that may be the beginning of
    one is held back until the next text decides.
    """

    def __init__(self, stops: Sequence[str]) -> None:
        """Empty stop strings are ignored."""
        self._stops = tuple(s for s in stops if s)
        self._held = ""

    def feed(self, text: str) -> tuple[str, bool]:
        """Text to show, and whether a stop string was met (then nothing more is fed)."""
        if not self._stops:
            return text, False
        text = self._held + text
        met: tuple[int, int] | None = None
        for stop in self._stops:
            start = text.find(stop)
            if start >= 0:
                candidate = (start + len(stop), start)
                met = candidate if met is None else min(met, candidate)
        if met is not None:
            self._held = ""
            return text[: met[1]], True
        keep = max(_overlap(text, stop) for stop in self._stops)
        cut = len(text) - keep
        self._held = text[cut:]
        return text[:cut], False

    def flush(self) -> str:
        """What was held back, when no more text comes."""
        held, self._held = self._held, ""
        return held


def _overlap(text: str, stop: str) -> int:
    """How long an end of `text` begins `stop`, without being all of it."""
    for n in range(min(len(stop) - 1, len(text)), 0, -1):
        if text.endswith(stop[:n]):
            return n
    return 0
