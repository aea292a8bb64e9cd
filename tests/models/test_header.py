"""Headers of model files, whole and damaged: an answer or HeaderError, never anything else."""

from __future__ import annotations

import contextlib
import os
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.gguf_factory import DAMAGED, MODELS, make

from infd.demo import MODEL_PATH
from infd.engine.model import Model
from infd.models.header import HeaderError, read_header


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("headers")


@pytest.mark.parametrize("kind", sorted(set(MODELS) - {"no-byte-tokens"}))
def test_it_says_what_llama_cpp_says(folder: Path, kind: str) -> None:
    path = make(folder, kind)
    model = Model.load(path)
    try:
        header, info = read_header(path), model.info
        assert header.architecture == info.architecture
        assert header.parameters == info.n_params
        assert header.training_context == info.n_ctx_train
        assert header.has_template == info.has_template
    finally:
        model.close()


@pytest.mark.parametrize("kind", sorted(set(DAMAGED) - {"cut-tensors", "mangled"}))
def test_what_is_damaged_is_refused(folder: Path, kind: str) -> None:
    with pytest.raises(HeaderError):
        read_header(make(folder, kind))


def test_a_header_cut_anywhere_is_refused(folder: Path, tmp_path: Path) -> None:
    whole = make(folder, "no-template").read_bytes()
    path = tmp_path / "cut.gguf"
    for length in [*range(64), *range(64, 12000, 997)]:
        path.write_bytes(whole[:length])
        with pytest.raises(HeaderError):
            read_header(path)


@given(at=st.integers(4, 4000), junk=st.binary(min_size=1, max_size=16))
def test_a_mangled_header_is_an_answer_or_refused(
    tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "mangled.gguf"
    data = bytearray(MODEL_PATH.read_bytes()[:65536])
    data[at : at + len(junk)] = junk
    path.write_bytes(data)
    with contextlib.suppress(HeaderError):
        assert read_header(path).parameters >= 0


def test_a_file_without_all_of_its_weights_is_noticed(tmp_path: Path) -> None:
    whole = MODEL_PATH.read_bytes()
    path = tmp_path / "cut.gguf"
    for length, cut in ((len(whole), False), (len(whole) // 2, True), (100_000, True)):
        path.write_bytes(whole[:length])
        assert read_header(path).cut_short == cut


def test_a_pipe_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.gguf")
    with pytest.raises(HeaderError, match="no regular file"):
        read_header(tmp_path / "pipe.gguf")


@pytest.mark.parametrize(
    "data",
    [
        b"GGUF" + struct.pack("<IQQ", 1, 0, 0),
        b"GGUF" + struct.pack("<IQQ", 3, 0, 0),
        b"GGUF" + struct.pack("<IQQQ1sI", 3, 0, 1, 1, b"k", 99),
        b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 8, 2**62),
        b"GGUF" + struct.pack("<IQQQ1sIIQ", 3, 0, 1, 1, b"k", 9, 9, 1),
        b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 2**63),
    ],
)
def test_lies_about_lengths_cost_nothing(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "lies.gguf"
    path.write_bytes(data)
    with pytest.raises(HeaderError):
        read_header(path)
