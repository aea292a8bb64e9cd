"""A llama_context: what it holds after each kind of call, and that it gives everything back."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from infd.engine.context import Decoded, LlamaContext
from infd.engine.errors import ContextError
from infd.engine.library import INFO, captured_log, lib
from infd.engine.model import Model
from infd.models.memory import give_back

Models = Callable[[str], Model]
TOKENS = [(i * 37 + 11) % 600 for i in range(200)]


@pytest.fixture
def context(models: Models) -> Iterator[LlamaContext]:
    made = LlamaContext(models("bpe"), ctxsize=256, n_ubatch=32)
    yield made
    made.close()


def fresh_logits(model: Model, tokens: list[int]) -> np.ndarray:
    made = LlamaContext(model, ctxsize=256, n_ubatch=32)
    assert made.decode(tokens, want_logits=True) is Decoded.OK
    logits = np.array(made.logits())
    made.close()
    return logits


def test_what_is_for_debugging_llama_cpp_is_not_collected(models: Models) -> None:
    model = models("bpe")
    with captured_log() as said:
        lib.llama_free(lib.llama_init_from_model(model.pointer, lib.llama_context_default_params()))
    assert said
    assert all(level >= INFO for level, _ in said)


def test_a_kept_prefix_computes_what_a_fresh_context_does(
    models: Models, context: LlamaContext
) -> None:
    context.decode(TOKENS[:100], want_logits=False)
    assert context.keep_prefix(150) == 100
    assert context.keep_prefix(60) == 60
    assert context.tokens == TOKENS[:60]
    other = [5, 6, 7, 8]
    assert context.decode(other[:3], want_logits=False) is Decoded.OK
    assert context.decode_one(other[3]) is None
    expected = fresh_logits(models("bpe"), TOKENS[:60] + other)
    np.testing.assert_allclose(context.logits(), expected, atol=2e-2)
    assert int(np.argmax(context.logits())) == int(np.argmax(expected))
    assert context.keep_prefix(0) == 0
    assert context.tokens == []


def test_a_full_context_takes_no_more_and_loses_nothing(context: LlamaContext) -> None:
    context.decode((TOKENS * 2)[:250], want_logits=False)
    assert context.decode(TOKENS[:7], want_logits=True) is Decoded.NO_ROOM
    assert len(context.tokens) == 250
    assert context.decode(TOKENS[:6], want_logits=True) is Decoded.OK
    assert context.decode_one(3) is Decoded.NO_ROOM
    assert len(context.tokens) == 256
    with pytest.raises(ValueError, match="nothing to decode"):
        context.decode([], want_logits=True)


def test_an_abort_keeps_the_finished_micro_batches(models: Models, context: LlamaContext) -> None:
    context.decode(TOKENS[:40], want_logits=False)
    context.abort()
    assert context.decode(TOKENS[40:], want_logits=True) is Decoded.ABORTED
    # The flag was up before the first micro-batch.
    assert context.tokens == TOKENS[:40]
    assert context.decode_one(1) is Decoded.ABORTED
    context.rearm()
    assert context.decode(TOKENS[40:60], want_logits=True) is Decoded.OK
    np.testing.assert_allclose(
        context.logits(), fresh_logits(models("bpe"), TOKENS[:60]), atol=2e-2
    )


def test_an_abort_from_another_thread_leaves_whole_micro_batches(models: Models) -> None:
    context = LlamaContext(models("quantised"), ctxsize=2048, n_ubatch=32)
    tokens = (TOKENS * 11)[:2000]
    begun = threading.Event()
    ended: list[Decoded] = []

    def compute() -> None:
        begun.set()
        ended.append(context.decode(tokens, want_logits=True))

    thread = threading.Thread(target=compute)
    thread.start()
    begun.wait()
    context.abort()
    thread.join()
    # Wherever it was met, what is held is a whole number of micro-batches, and a prefix.
    assert ended == [Decoded.ABORTED]
    assert len(context.tokens) % 32 == 0
    assert len(context.tokens) < len(tokens)
    assert context.tokens == tokens[: len(context.tokens)]
    context.rearm()
    assert context.decode(tokens[len(context.tokens) :], want_logits=True) is Decoded.OK
    context.close()


def test_a_recurrent_model_is_cleared_instead_of_cut(models: Models) -> None:
    context = LlamaContext(models("recurrent"), ctxsize=256, n_ubatch=32)
    context.decode(TOKENS[:50], want_logits=False)
    assert context.keep_prefix(50) == 50
    assert context.keep_prefix(20) == 0
    assert context.tokens == []
    context.decode(TOKENS[:50], want_logits=False)
    context.abort()
    assert context.decode(TOKENS[50:100], want_logits=True) is Decoded.ABORTED
    assert context.tokens == []
    context.rearm()
    assert context.decode(TOKENS[:60], want_logits=True) is Decoded.OK
    np.testing.assert_allclose(
        context.logits(), fresh_logits(models("recurrent"), TOKENS[:60]), atol=1e-3
    )
    context.close()


def test_threads_change_nothing_in_the_result(models: Models, context: LlamaContext) -> None:
    context.set_threads(2, 2)
    context.decode(TOKENS[:30], want_logits=True)
    np.testing.assert_allclose(
        context.logits(), fresh_logits(models("bpe"), TOKENS[:30]), atol=2e-2
    )


def _resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_closing_gives_the_memory_back(models: Models) -> None:
    model = models("quantised")
    LlamaContext(model, ctxsize=4096, n_ubatch=512).close()
    give_back()  # what earlier tests freed would be taken again without being counted
    before = _resident()
    contexts = [LlamaContext(model, ctxsize=16384, n_ubatch=512) for _ in range(4)]
    took = sum(c.memory.total for c in contexts)
    kv = sum(c.memory.kv_bytes for c in contexts)
    assert kv == 4 * 16384 * 2 * (256 + 256) * 2
    assert _resident() - before > kv * 0.9
    for context in contexts:
        context.close()
    assert _resident() - before < took * 0.1
    assert model.open_contexts == 0


def test_a_context_that_cannot_be_made_leaves_nothing(models: Models) -> None:
    model = models("quantised")
    for ctxsize, why in (
        (2**31 - 256, "MiB of memory"),
        (2**32 - 1, "llama.cpp takes"),
        (0, "1 to"),
    ):
        with pytest.raises(ContextError, match=why):
            LlamaContext(model, ctxsize=ctxsize, n_ubatch=64)
    assert model.open_contexts == 0
