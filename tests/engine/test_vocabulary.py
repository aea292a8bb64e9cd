"""Long texts are tokenised in parts, and nobody can tell from the tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gguf_factory import CONTROL, USER_DEFINED, bpe, spm, write_llama

from infd.engine import vocabulary
from infd.engine.model import Model
from infd.engine.spellings import Finder

EXTRA = [
    ("<|a|>", CONTROL), ("|><|bb", CONTROL), ("<|a|><|b", USER_DEFINED), ("a|", CONTROL),
    ("<b>", USER_DEFINED), ("  ", USER_DEFINED), ("   ", USER_DEFINED), ("\n\n", USER_DEFINED),
]  # fmt: skip
PIECES = [
    "<|im_start|>", "<|im_end|>", "<|", "|>", "<", ">", "a", "b", "bb", " ", "  ", "\n", "word",
    "ü", "</s>", "<s>", "<unk>", "[INST]", *(spelled for spelled, _ in EXTRA),
]  # fmt: skip


def named(name: str) -> Callable[[object], None]:
    def change(writer: object) -> None:
        writer.kv_data[0].pop("general.name", None)  # type: ignore[attr-defined]
        writer.add_name(name)  # type: ignore[attr-defined]

    return change


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Model]]:
    folder = tmp_path_factory.mktemp("vocabularies")
    # Of a model with this name llama.cpp's special tokens take the white space behind them away,
    # and it expects these.
    phi = [(spelled, CONTROL) for spelled in ("<s>", "</s>", "<unk>")]
    paths = {
        "bpe": write_llama(folder / "bpe.gguf", bpe(EXTRA)),
        "spm": write_llama(folder / "spm.gguf", spm()),
        "strips": write_llama(
            folder / "strips.gguf", bpe([*EXTRA, *phi]), change=named("phi-3")
        ),
    }
    models = {kind: Model.load(path) for kind, path in paths.items()}
    yield models
    for model in models.values():
        model.close()


@pytest.mark.parametrize("special", [True, False])
@pytest.mark.parametrize("kind", ["bpe", "spm", "strips"])
@given(parts=st.lists(st.sampled_from(PIECES), max_size=60))
def test_parts_give_the_tokens_of_the_whole(
    opened: dict[str, Model], kind: str, special: bool, parts: list[str]
) -> None:
    vocabulary_ = opened[kind].vocabulary
    text = "".join(parts)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vocabulary, "PART", 8)
        in_parts = vocabulary_.tokenize(text, special=special, bos=False)
    assert in_parts == vocabulary_._tokenize(text, special)


def test_a_long_history_is_cut(opened: dict[str, Model]) -> None:
    said = opened["bpe"].vocabulary
    text = "<|im_start|>user\nword<|im_end|>\n" * 2000
    parts = list(said._parts(text, said._special))
    assert "".join(parts) == text
    assert len(parts) > 10
    assert max(map(len, parts)) <= vocabulary.PART + 40
    assert said.tokenize(text, special=True, bos=False) == said._tokenize(text, True)
    # What is no token in this text begins no part.
    assert list(said._parts(text, said._always)) == [text]


@pytest.mark.parametrize(
    ("text", "at", "apart"),
    [
        ("xx<|a|>yy", 2, True),
        ("xx<|a|>yy", 3, False),
        ("xx<|a|><|bb", 2, False),
        ("<|a|><|bb<|a|>", 9, True),
        ("none", 0, False),
    ],
)
def test_what_stands_apart(text: str, at: int, apart: bool) -> None:
    assert Finder(["<|a|>", "|><|bb", "a|"]).stands_apart(text, at) is apart


@given(
    spellings=st.sets(st.text("ab<>", min_size=1, max_size=4), max_size=6),
    text=st.text("ab<>", max_size=30),
)
def test_every_occurrence_is_found(spellings: set[str], text: str) -> None:
    expected = {
        (at, at + len(spelled))
        for spelled in spellings
        for at in range(len(text))
        if text.startswith(spelled, at)
    }
    assert sorted(Finder(spellings).find(text)) == sorted(expected)
