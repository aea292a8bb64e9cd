"""What a run is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Execution:
    """What exec_execute_input asks for; `sampling` overrides the user's set key by key."""

    msgids: Sequence[int]
    sampling: Mapping[str, Any]
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()
