"""Counters of the daemon's life, in all and by user. Loop's thread only; nothing on disk."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Totals:
    """Requests answered, runs ended, prompt tokens evaluated, tokens generated."""

    requests: int = 0
    runs: int = 0
    tokens_in: int = 0
    tokens_out: int = 0


@dataclass(slots=True)
class Metrics:
    """All counters; `started` is on the monotonic clock, in seconds."""

    started: float = field(default_factory=time.monotonic)
    total: Totals = field(default_factory=Totals)
    by_user: dict[str, Totals] = field(default_factory=dict)

    @property
    def uptime(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    def run_ended(self, username: str, tokens_in: int, tokens_out: int) -> None:
        """`tokens_in`: those evaluated, without those that the KV held already."""
        for totals in (self.total, self.by_user.setdefault(username, Totals())):
            totals.runs += 1
            totals.tokens_in += tokens_in
            totals.tokens_out += tokens_out

    def forget(self, username: str) -> None:
        self.by_user.pop(username, None)
