"""Model files: what is taken, what is refused and how, what they say of themselves."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import structlog.testing
from hypothesis import given
from hypothesis import strategies as st
from support.gguf_factory import DAMAGED, bpe, make, write_llama

from infd.engine.context import Decoded, LlamaContext
from infd.engine.errors import ContextError, ModelFileError, TokenizeError
from infd.engine.instance import Instance
from infd.engine.library import kernels, lib, version
from infd.engine.model import Model
from infd.engine.options import KV_TYPES, ModelOptions
from infd.engine.vocabulary import LONGEST_RUN

Models = Callable[[str], Model]

KINDS = {
    # kind: (architecture, template, embeddings only, recurrent)
    "bpe": ("llama", True, False, False),
    "spm": ("llama", True, False, False),
    "no-template": ("llama", False, False, False),
    "quantised": ("llama", True, False, False),
    "embedding": ("bert", False, True, False),
    "recurrent": ("mamba", True, False, True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_model_says_what_it_is(models: Models, kind: str) -> None:
    info = models(kind).info
    said = (info.architecture, info.has_template, info.is_embedding_only, info.is_recurrent)
    assert said == KINDS[kind]
    assert info.has_tokenizer
    assert info.n_params > 1000
    assert info.size_bytes > 1000
    assert bool(info.cannot_generate) == info.is_embedding_only


def test_an_embedding_model_makes_no_context(models: Models) -> None:
    with pytest.raises(ContextError, match="only makes embeddings"):
        LlamaContext(models("embedding"), ctxsize=64, n_ubatch=64)
    assert models("embedding").open_contexts == 0


@pytest.mark.parametrize("kind", [*DAMAGED, "no-byte-tokens"])
def test_a_bad_file_is_refused_in_one_line(folder: Path, kind: str) -> None:
    # In a process of its own: some damage ends the process, and that must not end the tests.
    path = make(folder, kind)
    code = (
        "import sys\n"
        "from infd.engine.errors import ModelFileError\n"
        "from infd.engine.model import Model\n"
        "try:\n    Model.load(sys.argv[1])\n"
        "except ModelFileError as error:\n    print('refused:', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    last = done.stdout.splitlines()[-1]
    assert last.startswith("refused: ")
    assert str(path) in last


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"nowhere\.gguf cannot be read: No such file"):
        Model.load(tmp_path / "nowhere.gguf")


def test_loading_reports_progress_and_can_be_ended(folder: Path) -> None:
    path = make(folder, "bpe")
    seen: list[float] = []

    def note(part: float) -> bool:
        seen.append(part)
        return True

    Model.load(path, progress=note, extra_bufts=False).close()
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    with pytest.raises(ModelFileError, match="the load was ended"):
        Model.load(path, progress=lambda part: False)


def test_a_model_closes_once_and_not_under_its_contexts(folder: Path) -> None:
    model = Model.load(make(folder, "bpe"))
    context = LlamaContext(model, ctxsize=64, n_ubatch=64)
    with pytest.raises(RuntimeError, match="1 contexts"):
        model.close()
    context.close()
    context.close()
    model.close()
    model.close()


@pytest.mark.parametrize("kind", ["bpe", "spm"])
@given(text=st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"])))
def test_text_survives_its_tokens(models: Models, kind: str, text: str) -> None:
    model = models(kind)
    tokens = model.tokenize(text, special=False, bos=False)
    back = b"".join(model.piece(t) for t in tokens).decode()
    # SentencePiece puts a space before the first word.
    assert back in (text, " " + text)


def test_bos_comes_once(models: Models) -> None:
    model = models("spm")
    bos = model.vocabulary.bos
    assert model.tokenize("the name", special=True, bos=True).count(bos) == 1
    assert model.tokenize("<s>the name", special=True, bos=True).count(bos) == 1
    assert model.tokenize("the name", special=True, bos=False).count(bos) == 0
    # This vocabulary wants none.
    assert models("bpe").vocabulary.bos not in models("bpe").tokenize("a", special=True, bos=True)


def test_pieces_have_any_length_and_end_with_the_vocabulary(tmp_path: Path) -> None:
    long = "<" + "long " * 40 + ">"
    vocabulary = bpe([(long, 4)])
    model = Model.load(write_llama(tmp_path / "long.gguf", vocabulary))
    try:
        (token,) = model.tokenize(long, special=True, bos=False)
        assert model.piece(token) == long.encode()
        for wrong in (-1, model.info.n_vocab):
            with pytest.raises(TokenizeError, match="there is no token"):
                model.piece(wrong)
        assert model.piece(vocabulary.tokens.index("<|im_end|>")) == b""
        assert model.is_end(vocabulary.tokens.index("<|im_end|>"))
        assert model.newline_tokens == {vocabulary.tokens.index("Ċ")}
    finally:
        model.close()


@pytest.mark.parametrize("pre", ["deepseek-llm", "tekken"])
def test_a_word_without_end_does_not_end_the_process(tmp_path: Path, pre: str) -> None:
    # llama.cpp splits these vocabularies' text with std::regex, which recurses in the stack.
    def change(writer: object) -> None:
        writer.kv_data[0].pop("tokenizer.ggml.pre")  # type: ignore[attr-defined]
        writer.add_tokenizer_pre(pre)  # type: ignore[attr-defined]

    path = write_llama(tmp_path / "pre.gguf", bpe(), change=change)
    code = (
        "import sys\n"
        "from infd.engine.model import Model\n"
        "model = Model.load(sys.argv[1])\n"
        "end = model.tokenize('<|im_end|>', special=True, bos=False)\n"
        f"text = 'a' * {LONGEST_RUN - 5} + '<|im_end|>' + 'a' * 300000\n"
        "tokens = model.tokenize(text, special=True, bos=False)\n"
        "assert b''.join(model.piece(t, special=True) for t in tokens).decode() == text\n"
        "assert sum(t == end[0] for t in tokens) == 1\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_estimate_for_a_context_covers_what_llama_cpp_takes(models: Models) -> None:
    for kind in ("bpe", "quantised"):
        for ctxsize, n_ubatch in ((64, 64), (1024, 64), (2048, 512)):
            context = LlamaContext(models(kind), ctxsize=ctxsize, n_ubatch=n_ubatch)
            took = context.memory.total
            context.close()
            assert took > 0
            estimate = models(kind).bytes_for_context(ctxsize, n_ubatch)
            assert took <= estimate <= 3 * took, (kind, ctxsize, n_ubatch)


@pytest.mark.parametrize("kv_type", list(KV_TYPES))
def test_contexts_have_the_cache_that_the_options_say(folder: Path, kv_type: str) -> None:
    took = {}
    for flash in ("on", "auto", "off"):
        if flash == "off" and KV_TYPES[kv_type].quantised:
            continue
        options = ModelOptions(flash_attention=flash, kv_type=kv_type)
        model = Model.load(make(folder, "quantised"), options=options)
        context = LlamaContext(model, ctxsize=2048, n_ubatch=512)
        assert context.decode(list(range(40)), want_logits=True) is Decoded.OK
        assert context.decode_one(7) is None
        assert context.memory.kv_bytes == pytest.approx(
            2048 * 2 * 2 * KV_TYPES[kv_type].bytes_for(256), abs=10**4
        )
        took[flash] = context.memory.total
        assert took[flash] <= model.bytes_for_context(2048, 512) <= 3 * took[flash]
        context.close()
        model.close()
    # Without flash attention every score of a micro-batch is held: 4 heads of 2,048 x 512.
    if "off" in took:
        assert took["off"] - took["on"] > 4 * 4 * 2048 * 512 / 2


def test_contexts_have_small_micro_batches_and_longer_ones_flash_attention(
    tmp_path: Path,
) -> None:
    path = write_llama(tmp_path / "heads.gguf", bpe(), n_embd=512, n_head=32)
    for flash in ("auto", "off", "on"):
        model = Model.load(path, options=ModelOptions(flash_attention=flash))
        sizes = {size: model.micro_batch(size, 512) for size in (512, 2048, 4096)}
        attention = [model.flash_attention(size, rows) for size, rows in sizes.items()]
        small, none = [512, 128, 128], [False] * 3
        expected = {
            "auto": ([512, 128, 512], [False, False, True]),
            "off": (small, none),
            "on": ([512] * 3, [True] * 3),
        }
        assert (list(sizes.values()), attention) == expected[flash]
        assert model.micro_batch(2048, 64) == 64
        model.close()


def test_a_cache_type_that_no_head_fits_is_refused_at_load(folder: Path) -> None:
    with pytest.raises(ModelFileError, match=r'kv_type "q8_0" cannot hold .* \(16\) are no'):
        Model.load(make(folder, "bpe"), options=ModelOptions(kv_type="q8_0"))


def test_a_context_beyond_the_training_is_warned_of_once_for_a_size(folder: Path) -> None:
    model = Model.load(make(folder, "bpe"))
    trained = model.info.n_ctx_train
    with structlog.testing.capture_logs() as logs:
        for size in (trained, trained + 256, trained + 256, trained + 512):
            LlamaContext(model, ctxsize=size, n_ubatch=64).close()
        for _ in range(2):
            Instance(model, slots=2, ctxsize=trained + 512).close()
    assert [line["ctxsize"] for line in logs] == [trained + 256, trained + 512]
    assert {line["training_context"] for line in logs} == {trained}
    model.close()


def test_layers_for_a_gpu_are_computed_on_processors_without_one(folder: Path) -> None:
    if lib.llama_supports_gpu_offload():
        pytest.skip("this build of llama.cpp computes on GPUs")
    with structlog.testing.capture_logs() as logs:
        model = Model.load(make(folder, "bpe"), options=ModelOptions(n_gpu_layers=-1))
    assert [line["log_level"] for line in logs] == ["warning"]
    assert "no GPU support" in logs[0]["event"]
    assert not model.on_gpu
    context = LlamaContext(model, ctxsize=64, n_ubatch=64)
    assert context.decode([1, 2, 3], want_logits=True) is Decoded.OK
    context.close()
    model.close()


def test_the_build_says_what_it_is() -> None:
    assert "llama.cpp" in version()
    assert all(name.replace("_", "").isalnum() for name in kernels())
