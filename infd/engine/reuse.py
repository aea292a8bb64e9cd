"""What a run need not compute: what its context holds already, or a kept prefix of the prompt.

Rules: used by the thread that owns the KV. A prefix is put in place of what the context holds
only where it is longer. While the rest is evaluated a piece ends exactly where the prompt is to
be copied for later contexts, because a KV cannot always be cut back (recurrent models, sliding
windows), while a copy made there serves every kind.
"""

from __future__ import annotations

from array import array
from typing import Protocol

import structlog

from infd.engine.prefixes import LEAST, Shelf
from infd.engine.snapshot import Snapshot, SnapshotError
from infd.engine.state import common_prefix

_log = structlog.get_logger("infd.engine.reuse")


class Holder(Protocol):
    """Whoever holds a conversation's KV: a LlamaContext, or a seat in its slot."""

    @property
    def tokens(self) -> list[int]:
        """What is held."""

    @property
    def layout(self) -> str:
        """How the KV is laid out; a snapshot of another layout does not fit."""

    def keep_prefix(self, n: int) -> int:
        """Hold the first `n` tokens only; how many are left, 0 where it cannot be cut."""

    def snapshot(self) -> Snapshot:
        """A copy of what is held. Raises SnapshotError."""

    def restore(self, snapshot: Snapshot) -> bool:
        """Hold what the snapshot does; False: nothing is held."""


class Reuse:
    """One run's. `cached`: how many tokens of the prompt are held when it begins."""

    __slots__ = ("_holder", "_shelf", "_stops", "cached")

    def __init__(
        self, holder: Holder, shelf: Shelf | None, prompt: list[int], *, head: int = 0,
        least: int = LEAST,
    ) -> None:  # fmt: skip
        """Let the holder hold as much of the prompt as can be had, never its last token: its
        logits choose the first of the reply. `head`: where what all such prompts begin with ends.
        `least`: tokens that are worth a copy."""
        common = min(common_prefix(holder.tokens, prompt), len(prompt) - 1)
        self.cached = kept = holder.keep_prefix(common)
        self._holder = holder
        self._shelf = shelf
        self._stops: list[int] = []
        if shelf is None or len(prompt) <= kept + least:
            return
        wanted = array("i", prompt)
        found = shelf.find(holder.layout, wanted, beyond=kept, least=least)
        if found is not None:
            self.cached = len(found.tokens) if holder.restore(found) else 0
        self._stops = shelf.stops(wanted, head=head, done=self.cached, least=least)
        if not kept:
            shelf.begins(wanted)

    def until(self, done: int, end: int) -> int:
        """Where a piece that begins at `done` and may go to `end` ends."""
        if self._stops and done < self._stops[0] < end:
            return self._stops[0]
        return end

    def passed(self, done: int) -> None:
        """So many tokens of the prompt are held now: copy them if it is time to."""
        if not self._stops or done < self._stops[0]:
            return
        here = self._stops.pop(0) == done
        if here and self._shelf is not None:
            try:
                self._shelf.put(self._holder.layout, self._holder.snapshot())
            except SnapshotError as error:
                _log.warning("a prompt's beginning was not kept", problem=str(error))
