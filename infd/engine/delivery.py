"""The text of one run on its way out of the engine.

Rules: `take` gets every token of the reply in order, end tokens excepted; what comes out are
whole characters and nothing of a stop string. The first token's text and that of a slow model
goes out at once; a fast one's is gathered for `GATHER` seconds, because waking the event loop
costs more than making a token. Used by one thread; whoever makes tokens calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from infd.engine.events import Event, Text
from infd.engine.model import Model
from infd.engine.text import StopMatcher, Utf8Joiner

# Twice a frame of a 120 Hz screen would be seen; half of one is not.
GATHER = 0.004
# A step longer than this is a slow model's: nothing is held back for the next one.
SLOW_STEP = 0.002


class Delivery:
    """One reply's tokens to `Text` events. `made` counts the tokens taken."""

    __slots__ = (
        "_before", "_emit", "_feed", "_gathered", "_joiner", "_matcher", "_pieces", "_sent",
        "_told", "made",
    )  # fmt: skip

    def __init__(self, model: Model, stop: Sequence[str], emit: Callable[[Event], None]) -> None:
        """`stop`: strings that end the reply and are not part of it; empty ones are ignored."""
        self.made = 0
        self._pieces = model.pieces
        self._joiner = Utf8Joiner()
        self._feed = self._joiner.feed
        self._matcher = StopMatcher(stop) if any(stop) else None
        self._emit = emit
        self._gathered: list[str] = []
        self._told = 0
        self._sent = self._before = 0.0

    def take(self, token: int, now: float) -> bool:
        """One more token at `now` (seconds); whether it completed a stop string."""
        self.made += 1
        text = self._feed(self._pieces[token])
        if self._matcher is not None:
            text, met = self._matcher.feed(text)
            if met:
                self._gathered.append(text)
                self._matcher = None
                return True
        gathered = self._gathered
        if text:
            gathered.append(text)
        if gathered and (now - self._sent >= GATHER or now - self._before >= SLOW_STEP):
            self._emit(Text("".join(gathered), self.made - self._told))
            gathered.clear()
            self._told, self._sent = self.made, now
        self._before = now
        return False

    def send(self, now: float) -> None:
        """Send what was gathered, if anything, at `now` (seconds): the next token will be long."""
        if self._gathered:
            self._emit(Text("".join(self._gathered), self.made - self._told))
            self._gathered.clear()
            self._told, self._sent = self.made, now

    def finish(self, *, stopped: bool) -> None:
        """No more tokens: what was held back goes out. `stopped`: a stop string was met, and
        nothing stands behind it."""
        if not stopped:
            rest = self._joiner.flush()
            if self._matcher is not None:
                rest, met = self._matcher.feed(rest)
                if not met:
                    rest += self._matcher.flush()
            self._gathered.append(rest)
        if text := "".join(self._gathered):
            self._emit(Text(text, self.made - self._told))
