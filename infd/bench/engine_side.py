"""infd's own engine without the daemon, in a process of its own, with the options to choose from.

This is the parent's end; engine_process.py is the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from infd.bench.side import Side
from infd.engine.options import ModelOptions

Talk = Sequence[tuple[str, str]]
"""The messages of one conversation: (role, text) each."""


@dataclass(frozen=True, slots=True)
class Together:
    """Replies that were made at one time. Seconds; the prompts' time is included."""

    tokens: int
    seconds: float
    gap: float
    """The 99th percentile of the times between two pieces of one reply."""
    texts: list[str]


class EngineSide(Side):
    """The process, with one model loaded. A context manager."""

    def __init__(self, model: Path, *, options: ModelOptions, cores: int) -> None:
        """`options`: the model's. Raises SideError."""
        super().__init__("infd.bench.engine_process", model, options=asdict(options), cores=cores)

    def together(
        self, talks: Sequence[Talk], *, max_tokens: int, ctxsize: int,
        placement: str = "dedicated", **options: int | str,
    ) -> Together:  # fmt: skip
        """A greedy reply to each, all at one time, each by a user of its own who may use every
        core. `options`: those of the model that are other ones this time. Raises SideError."""
        answer = self._ask(
            do="together", talks=talks, max_tokens=max_tokens, ctxsize=ctxsize,
            placement=placement, options=options,
        )  # fmt: skip
        return Together(**answer)
