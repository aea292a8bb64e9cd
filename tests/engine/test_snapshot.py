"""Snapshots: going on from one equals going on without it; damaged files are never used."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from infd.engine.context import Decoded, LlamaContext
from infd.engine.instance import Instance, Row
from infd.engine.library import lib
from infd.engine.model import Model
from infd.engine.snapshot import Snapshot, SnapshotError, read, write

Models = Callable[[str], Model]
TOKENS = [(i * 37 + 11) % 500 for i in range(200)]
KEY = "a build, a model"


def held(model: Model, tokens: list[int], ctxsize: int = 256) -> LlamaContext:
    context = LlamaContext(model, ctxsize=ctxsize, n_ubatch=32)
    if tokens:
        assert context.decode(tokens, want_logits=False) is Decoded.OK
    return context


def logits_after(context: LlamaContext, tokens: list[int]) -> np.ndarray:
    assert context.decode(tokens, want_logits=True) is Decoded.OK
    return np.array(context.logits())


@pytest.mark.parametrize("kind", ["bpe", "quantised", "recurrent", "sliding", "demo"])
def test_going_on_from_a_snapshot_equals_going_on_without(models: Models, kind: str) -> None:
    first = held(models(kind), TOKENS[:100])
    snapshot = first.snapshot()
    assert list(snapshot.tokens) == first.tokens
    second = held(models(kind), TOKENS[150:])
    second.decode(TOKENS[:1], want_logits=True)
    assert second.restore(snapshot)
    assert second.tokens == TOKENS[:100]
    assert not second.has_logits
    # The same call on the same cells: not a bit may differ.
    assert (logits_after(first, TOKENS[100:120]) == logits_after(second, TOKENS[100:120])).all()
    assert (logits_after(first, TOKENS[120:121]) == logits_after(second, TOKENS[120:121])).all()
    first.close()
    second.close()


def logits_in(instance: Instance, slot: int, tokens: list[int]) -> np.ndarray:
    """Behind the 100 tokens that the slot holds."""
    result, (where,) = instance.decode([Row(slot, 100, tokens, wants_logits=True)])
    assert result is Decoded.OK
    row = lib.llama_get_logits_ith(instance.pointer, where)
    return np.array(row[: instance.model.info.n_vocab])


@pytest.mark.parametrize("kind", ["bpe", "quantised", "recurrent", "sliding", "demo"])
def test_a_snapshot_goes_into_instances_of_any_number_of_slots(models: Models, kind: str) -> None:
    first = Instance(models(kind), slots=1, ctxsize=256)
    row = Row(0, 0, TOKENS[:100], wants_logits=False)
    assert first.decode([row])[0] is Decoded.OK
    snapshot = first.take(0, TOKENS[:100])
    expected = logits_in(first, 0, [7])
    for slots, slot in [(4, 2), (2, 1), (5, 4), (5, 0), (1, 0)]:
        instance = Instance(models(kind), slots=slots, ctxsize=256)
        assert instance.put(slot, snapshot)
        snapshot = instance.take(slot, TOKENS[:100])
        instance.close()
    assert first.put(0, snapshot)
    # Not a bit was lost on the way.
    assert (logits_in(first, 0, [7]) == expected).all()
    first.close()


def test_a_snapshot_goes_into_contexts_of_other_sizes(models: Models) -> None:
    model = models("bpe")
    first = held(model, TOKENS[:100])
    snapshot = first.snapshot()
    larger, smaller = held(model, [], 1024), held(model, TOKENS[:40], 64)
    assert larger.restore(snapshot)
    assert (logits_after(first, [5, 6]) == logits_after(larger, [5, 6])).all()
    assert not smaller.restore(snapshot)
    assert smaller.tokens == []
    for context in (first, larger, smaller):
        context.close()


@pytest.mark.parametrize("kind", ["bpe", "quantised", "recurrent", "sliding"])
@pytest.mark.parametrize(("slots", "slot", "others"), [(1, 0, 4), (3, 1, 1), (2, 0, 5), (4, 3, 2)])
def test_a_snapshot_goes_into_instances_of_more_and_fewer_slots(
    models: Models, tmp_path: Path, kind: str, slots: int, slot: int, others: int
) -> None:
    """A batch's instance that grows must not lose what everybody has said."""
    first = Instance(models(kind), slots=slots, ctxsize=256)
    second = Instance(models(kind), slots=others, ctxsize=512)
    try:
        for at in range(slots):
            wanted = TOKENS[:100] if at == slot else TOKENS[100 : 120 + at]
            assert first.decode([Row(at, 0, wanted, False)])[0] is Decoded.OK
        write(tmp_path / "kv", first.take(slot, TOKENS[:100]), KEY)
        snapshot = read(tmp_path / "kv", KEY)
        assert all(second.put(at, snapshot) for at in range(others))
        # As it was copied, and as the copy would be copied again.
        assert first.put(slot, second.take(others - 1, TOKENS[:100]))
        alone = Instance(models(kind), slots=1, ctxsize=256)
        assert alone.decode([Row(0, 0, TOKENS[:100], False)])[0] is Decoded.OK
        expected = logits_in(alone, 0, TOKENS[150:160])
        alone.close()
        for instance, at in {(first, slot), (second, 0), (second, others - 1)}:
            found = logits_in(instance, at, TOKENS[150:160])
            np.testing.assert_allclose(found, expected, atol=2e-2)
    finally:
        first.close()
        second.close()


def test_bytes_that_llama_cpp_refuses_leave_a_usable_context(models: Models) -> None:
    model = models("bpe")
    context = held(model, TOKENS[:30])
    snapshot = context.snapshot()
    short = Snapshot(snapshot.tokens, snapshot.data[: len(snapshot.data) // 2])
    fewer = Snapshot(snapshot.tokens[:20], snapshot.data)
    for wrong in (short, fewer):
        assert not context.restore(wrong)
        assert context.tokens == []
    fresh = held(model, [])
    assert (logits_after(context, TOKENS[:9]) == logits_after(fresh, TOKENS[:9])).all()
    context.clear()
    with pytest.raises(ValueError, match="nothing to copy"):
        context.snapshot()
    context.close()
    fresh.close()


def test_a_sliding_window_is_not_cut_back_beyond_what_it_holds(models: Models) -> None:
    model = models("sliding")
    assert model.info.n_swa == 32
    first = held(model, TOKENS[:100])
    second = held(model, [])
    assert second.restore(first.snapshot())
    # The snapshot has the window's last 32 positions only: a token at 50 would look at 18 to 49.
    assert second.keep_prefix(50) == 0
    assert second.restore(first.snapshot())
    assert second.keep_prefix(99) == 99
    third = held(model, TOKENS[:99])
    np.testing.assert_allclose(
        logits_after(second, TOKENS[99:100]), logits_after(third, TOKENS[99:100]), atol=2e-2
    )
    for context in (first, second, third):
        context.close()


@pytest.mark.parametrize("kind", ["bpe", "recurrent"])
def test_a_file_gives_back_what_was_written(models: Models, tmp_path: Path, kind: str) -> None:
    context = held(models(kind), TOKENS[:100])
    snapshot = context.snapshot()
    path = tmp_path / "kv"
    assert write(path, snapshot, context.snapshot_key) == path.stat().st_size >= snapshot.size
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in tmp_path.iterdir()] == ["kv"]
    again = read(path, context.snapshot_key)
    assert again == snapshot
    context.close()


def test_what_cannot_be_written_or_read_says_why(tmp_path: Path, models: Models) -> None:
    context = held(models("bpe"), TOKENS[:10])
    snapshot = context.snapshot()
    with pytest.raises(SnapshotError, match="cannot be written: No such file"):
        write(tmp_path / "none" / "kv", snapshot, KEY)
    with pytest.raises(SnapshotError, match="cannot be read: No such file"):
        read(tmp_path / "kv", KEY)
    write(tmp_path / "kv", snapshot, KEY)
    with pytest.raises(SnapshotError, match="of another model, library or setting"):
        read(tmp_path / "kv", KEY + "!")
    context.close()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(SnapshotError, match="is no regular file"):
        read(tmp_path / "pipe", KEY)
    (tmp_path / "pipe").unlink()
    # A limit on the size of files stands for a full disk.
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(SnapshotError, match="cannot be written: File too large"):
            write(tmp_path / "other", snapshot, KEY)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [p.name for p in tmp_path.iterdir()] == ["kv"]


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, 2**31), bit=st.integers(0, 7), cut=st.booleans())
def test_no_changed_file_is_believed(
    tmp_path_factory: pytest.TempPathFactory, models: Models, at: int, bit: int, cut: bool
) -> None:
    folder = tmp_path_factory.mktemp("damage")
    context = held(models("bpe"), TOKENS[:2])
    path = folder / "kv"
    write(path, context.snapshot(), KEY)
    context.close()
    data = bytearray(path.read_bytes())
    at %= len(data)
    if cut:
        del data[at:]
    else:
        data[at] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(SnapshotError, match=r"damaged|no snapshot|another model"):
        read(path, KEY)
