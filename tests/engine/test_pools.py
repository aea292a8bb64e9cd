"""The threads that contexts compute with: each has its own, and they end with it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from infd.engine.context import Decoded, LlamaContext
from infd.engine.instance import Instance, Row
from infd.engine.model import Model

Models = Callable[[str], Model]
TOKENS = [(i * 37 + 11) % 600 for i in range(12)]


def threads() -> int:
    return len(os.listdir("/proc/self/task"))


def test_a_context_keeps_its_threads_until_it_is_freed(models: Models) -> None:
    before = threads()
    context = LlamaContext(models("bpe"), ctxsize=256, n_ubatch=32)
    # 1, 2, 3 as they are; 5 and 7 are of one pool of 8.
    for n, more in ((1, 0), (2, 1), (3, 3), (5, 10), (7, 10), (1, 10), (3, 10)):
        context.set_threads(n, n)
        assert context.decode([7], want_logits=True) is Decoded.OK
        assert threads() - before == more
    context.close()
    context.close()
    assert threads() == before


def test_an_instance_keeps_its_threads_until_it_is_freed(models: Models) -> None:
    before = threads()
    instance = Instance(models("bpe"), slots=2, ctxsize=256)
    for held, n in enumerate((2, 1, 2)):
        instance.set_threads(n)
        decoded, _ = instance.decode([Row(slot, held, [7], True) for slot in (0, 1)])
        assert decoded is Decoded.OK
    assert threads() - before == 1
    instance.close()
    assert threads() == before


def test_who_changes_its_threads_disturbs_nobody_who_computes(models: Models) -> None:
    """llama.cpp pauses the pool that a context computed with before: no other may use that one."""
    model = models("bpe")
    reference = LlamaContext(model, ctxsize=256, n_ubatch=32)
    reference.decode(TOKENS, want_logits=True)
    expected = reference.logits()
    best = max(range(len(expected)), key=expected.__getitem__)
    reference.close()
    right = []

    def work(first: int) -> None:
        for round_ in range(2):
            contexts = [LlamaContext(model, ctxsize=256, n_ubatch=32) for _ in range(3)]
            for at, token in enumerate(TOKENS):
                for number, context in enumerate(contexts):
                    n = 1 + (first + round_ + at // 4 + number) % 2
                    context.set_threads(n, n)
                    assert context.decode([token], want_logits=True) is Decoded.OK
            for context in contexts:
                logits = context.logits()
                right.append(logits[best] > max(logits) - 0.05)
                context.close()

    workers = [threading.Thread(target=work, args=(first,), daemon=True) for first in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
        assert not worker.is_alive(), "a context waits for threads for ever"
    assert right == [True] * 12
