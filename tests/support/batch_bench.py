"""What tests of the batched placement look at: steps, slots, and what a context alone would say."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from infd.engine.context import Decoded, LlamaContext
from infd.engine.instance import Instance, Row
from infd.engine.model import Model
from infd.engine.seat import Seat
from infd.engine.slots import Slots
from infd.engine.worker import RunRequest, Worker

NEAR = 0.05
"""Logits that differ by less may change places: kernels round differently for several rows."""


def follows_the_logits(model: Model, tokens: list[int], prompt: int) -> int:
    """Check that each token behind the prompt is the likeliest one, as the same context alone
    sees it, unless another is `NEAR`; how many were far enough to tell."""
    context = LlamaContext(model, ctxsize=512, n_ubatch=512)
    told = 0
    try:
        assert context.decode(tokens[:prompt], want_logits=True) is Decoded.OK
        for token in tokens[prompt:]:
            logits = context.logits()
            best, second = sorted(logits)[:-3:-1]
            assert logits[token] >= best - NEAR
            told += best - second > NEAR
            assert context.decode([token], want_logits=True) is Decoded.OK
    finally:
        context.close()
    return told


def requests(n: int, most: int = 40) -> list[RunRequest]:
    asked = ("What is {} + 2?", "My name is Ada{}. What is my name?", "Count to {}.")
    return [
        RunRequest((("user", asked[i % 3].format(i + 1)),), max_tokens=most) for i in range(n)
    ]


def slots_of(worker: Worker) -> Slots:
    assert isinstance(worker._engine, Seat)
    assert worker._engine.engine is not None
    return worker._engine.engine._slots


class Steps:
    """Remembers the rows of every step."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.rows: list[list[Row]] = []
        original = Instance.decode

        def decode(instance: Instance, rows: Sequence[Row]) -> tuple[Decoded, list[int]]:
            self.rows.append(list(rows))
            return original(instance, rows)

        patch.setattr(Instance, "decode", decode)
