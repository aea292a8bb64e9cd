"""Models with random weights: llama.cpp takes them, and their replies can be read back."""

from __future__ import annotations

import io
from pathlib import Path

import pytest

from infd.bench import synthetic
from infd.engine.plain import PlainChat, PlainLoop

SHAPES = (synthetic.TINY, synthetic.SMALL)


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_llama_cpp_computes_with_it(tmp_path: Path, shape: synthetic.Shape) -> None:
    with PlainChat(synthetic.ensure(shape, tmp_path)) as chat:
        # The norms are the only weights outside of matrices.
        norms = shape.n_embd * (2 * shape.n_layer + 1)
        assert chat.model.info.n_params == shape.n_params + norms
        assert chat.model.info.n_vocab == shape.n_vocab
        prompt = chat.prompt([{"role": "user", "content": synthetic.text(20)}])
        loop = PlainLoop(chat.model, n_ctx=512)
        try:
            made = loop.run(prompt, 100)
        finally:
            loop.close()
        # No end token, and the text is the same tokens again: a later turn finds them in the KV.
        assert len(made.tokens) == 100
        said = b"".join(chat.model.pieces[token] for token in made.tokens).decode()
        assert chat.model.tokenize(said, special=False, bos=False) == made.tokens


def test_a_word_is_a_token(tmp_path: Path) -> None:
    with PlainChat(synthetic.ensure(synthetic.TINY, tmp_path)) as chat:
        spoken = " " + synthetic.text(200)
        assert len(chat.model.tokenize(spoken, special=False, bos=False)) == 200


def test_the_file_is_the_same_every_time_and_written_once(tmp_path: Path) -> None:
    path = synthetic.ensure(synthetic.TINY, tmp_path / "cache")
    written = path.read_bytes()
    again = io.BytesIO()
    synthetic.write(synthetic.TINY, again)
    assert again.getvalue() == written
    path.write_bytes(b"kept")
    assert synthetic.ensure(synthetic.TINY, tmp_path / "cache").read_bytes() == b"kept"
    assert [entry.name for entry in (tmp_path / "cache").iterdir()] == [path.name]


def test_the_large_shape_has_half_a_thousand_million_parameters() -> None:
    assert synthetic.LARGE.n_params >= 500_000_000
