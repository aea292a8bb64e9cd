"""Models with random weights and real shapes, for measuring speed where no weights are at hand.

What such a model says has no meaning; what it costs is what a trained model of its shape costs.
The file is written here, without the `gguf` package, so that the bench needs what the daemon
needs and no more. Quantised blocks are drawn directly instead of quantising drawn floats.

The vocabulary is made so that a reply can be read back: every token that the model can say is a
space and four letters, which the tokenizer takes whole, so the text of a reply becomes the same
tokens again. Bytes and control tokens have an output row of zeros and are never the likeliest;
a greedy reply therefore never ends before its limit.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
_CONTROLS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
_SILENT = 256 + len(_CONTROLS)
"""Tokens at the head of the vocabulary that are never generated: the bytes and the controls."""

# GGUF version 3 (ggml's docs/gguf.md): value types, ggml_type numbers, token types, alignment.
_UINT32, _INT32, _FLOAT32, _BOOL, _STRING, _ARRAY = 4, 5, 6, 7, 8, 9
_F32, _Q4_0, _Q8_0 = 0, 2, 8
_NORMAL, _CONTROL = 1, 3
_ALIGNMENT = 32
_BLOCK = 32  # weights in a block of Q4_0 and of Q8_0, after a scale in 16 bits
_FILE_TYPES = {_Q4_0: 2, _Q8_0: 7}  # llama.h, enum llama_ftype
_BYTES = {_Q4_0: 16, _Q8_0: 32}
# Standard deviation of what a block's random bytes stand for, in units of its scale: whole
# numbers of -8 to 7, and of -128 to 127.
_DEVIATION = {_Q4_0: 4.61, _Q8_0: 73.9}
_CHUNK_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Shape:
    """A Llama's shape; `kind` is the ggml type of its matrices."""

    name: str
    n_embd: int
    n_layer: int
    n_head: int
    n_head_kv: int
    n_ff: int
    n_vocab: int
    n_ctx: int = 4096
    kind: int = _Q4_0

    @property
    def n_params(self) -> int:
        """Weights in the matrices."""
        return sum(rows * columns for _, rows, columns in _matrices(self))


LARGE = Shape("llama-0.5b-q4_0", 1024, 24, 16, 4, 5632, 32000)
"""0.54 thousand million parameters, between Qwen2-0.5B and TinyLlama-1.1B in shape."""
SMALL = Shape("llama-3m-q8_0", 192, 6, 6, 6, 512, 1024, 1024, _Q8_0)
"""The bundled model's shape."""
TINY = Shape("llama-tiny-q8_0", 64, 2, 2, 2, 128, 512, 2048, _Q8_0)
"""For trying the bench itself."""


def word(number: int) -> str:
    """The text of the `number`-th token that can be generated, without its space."""
    letters = []
    for _ in range(4):
        number, digit = divmod(number, 26)
        letters.append(chr(ord("a") + digit))
    return "".join(letters)


def text(words: int, variant: int = 0) -> str:
    """A message of about so many tokens, in words that every shape's vocabulary has."""
    known = TINY.n_vocab - _SILENT
    return " ".join(word((n + 17 * variant) % known) for n in range(words))


def ensure(shape: Shape, folder: Path) -> Path:
    """The shape's file in `folder`, written first if it is not there. Raises OSError."""
    path = folder / f"{shape.name}.gguf"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{shape.name}.{os.getpid()}.part"
        try:
            with partial.open("wb") as file:
                write(shape, file)
            partial.rename(path)
        finally:
            partial.unlink(missing_ok=True)
    return path


def write(shape: Shape, file: BinaryIO) -> None:
    """Write the model as GGUF; the same bytes every time."""
    tensors = list(_tensors(shape))
    metadata = list(_metadata(shape))
    head = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(metadata)))
    for key, value in metadata:
        head += _string(key) + value
    offset = 0
    for name, dimensions, kind, size, _ in tensors:
        head += _string(name) + struct.pack("<I", len(dimensions))
        head += struct.pack(f"<{len(dimensions)}QIQ", *dimensions, kind, offset)
        offset += size + -size % _ALIGNMENT
    file.write(head + bytes(-len(head) % _ALIGNMENT))
    random = np.random.default_rng(0)
    for _, _, _, size, data in tensors:
        for part in data(random):
            file.write(part)
        file.write(bytes(-size % _ALIGNMENT))


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _metadata(shape: Shape) -> Iterator[tuple[str, bytes]]:
    def spelled(value: str) -> bytes:
        return struct.pack("<I", _STRING) + _string(value)

    def number(value: int) -> bytes:
        return struct.pack("<II", _UINT32, value)

    def texts(values: list[str]) -> bytes:
        return struct.pack("<IIQ", _ARRAY, _STRING, len(values)) + b"".join(map(_string, values))

    yield "general.architecture", spelled("llama")
    yield "general.name", spelled(shape.name)
    yield "general.file_type", number(_FILE_TYPES[shape.kind])
    for key, value in (
        ("context_length", shape.n_ctx),
        ("embedding_length", shape.n_embd),
        ("block_count", shape.n_layer),
        ("feed_forward_length", shape.n_ff),
        ("attention.head_count", shape.n_head),
        ("attention.head_count_kv", shape.n_head_kv),
        ("rope.dimension_count", shape.n_embd // shape.n_head),
        ("vocab_size", shape.n_vocab),
    ):
        yield f"llama.{key}", number(value)
    yield "llama.attention.layer_norm_rms_epsilon", struct.pack("<If", _FLOAT32, 1e-5)
    tokens = [*_byte_letters(), *_CONTROLS]
    kinds = [_NORMAL] * 256 + [_CONTROL] * len(_CONTROLS)
    tokens += ["\u0120" + word(n) for n in range(shape.n_vocab - _SILENT)]
    kinds += [_NORMAL] * (shape.n_vocab - _SILENT)
    yield "tokenizer.ggml.model", spelled("gpt2")
    # This pre-tokenizer takes a word that is a token whole, without merges to build it.
    yield "tokenizer.ggml.pre", spelled("llama-bpe")
    yield "tokenizer.ggml.tokens", texts(tokens)
    yield (
        "tokenizer.ggml.token_type",
        struct.pack("<IIQ", _ARRAY, _INT32, len(kinds)) + (np.array(kinds, dtype="<i4").tobytes()),
    )
    yield "tokenizer.ggml.merges", texts([])
    yield "tokenizer.ggml.bos_token_id", number(256)
    yield "tokenizer.ggml.eos_token_id", number(258)
    yield "tokenizer.ggml.add_bos_token", struct.pack("<IB", _BOOL, False)
    yield "tokenizer.chat_template", spelled(CHATML)


def _byte_letters() -> list[str]:
    """GPT-2's table: a printable character for each of the 256 bytes."""
    printable = {*range(33, 127), *range(161, 173), *range(174, 256)}
    spare = iter(range(256, 512))
    return [chr(b if b in printable else next(spare)) for b in range(256)]


def _matrices(shape: Shape) -> Iterator[tuple[str, int, int]]:
    """Name, rows and columns of every matrix."""
    n_embd, n_ff = shape.n_embd, shape.n_ff
    kv = n_embd // shape.n_head * shape.n_head_kv
    yield "token_embd", shape.n_vocab, n_embd
    yield "output", shape.n_vocab, n_embd
    for i in range(shape.n_layer):
        yield f"blk.{i}.attn_q", n_embd, n_embd
        yield f"blk.{i}.attn_k", kv, n_embd
        yield f"blk.{i}.attn_v", kv, n_embd
        yield f"blk.{i}.attn_output", n_embd, n_embd
        yield f"blk.{i}.ffn_gate", n_ff, n_embd
        yield f"blk.{i}.ffn_up", n_ff, n_embd
        yield f"blk.{i}.ffn_down", n_embd, n_ff


_Data = Callable[[np.random.Generator], Iterator[bytes]]
_Tensor = tuple[str, tuple[int, ...], int, int, _Data]


def _tensors(shape: Shape) -> Iterator[_Tensor]:
    """Name, dimensions (columns first), ggml type, bytes, and what draws the bytes."""
    for name, rows, columns in _matrices(shape):
        size = rows * columns // _BLOCK * (2 + _BYTES[shape.kind])
        silent = _SILENT if name == "output" else 0
        deviation = 1.0 if name == "token_embd" else columns**-0.5
        data = _blocks(shape.kind, rows, columns, deviation, silent)
        yield f"{name}.weight", (columns, rows), shape.kind, size, data
    norms = [f"blk.{i}.{part}_norm" for i in range(shape.n_layer) for part in ("attn", "ffn")]
    for name in ("output_norm", *norms):
        yield f"{name}.weight", (shape.n_embd,), _F32, 4 * shape.n_embd, _ones(shape.n_embd)


def _ones(n: int) -> _Data:
    def draw(_: np.random.Generator) -> Iterator[bytes]:
        yield np.ones(n, dtype="<f4").tobytes()

    return draw


def _blocks(kind: int, rows: int, columns: int, deviation: float, silent: int) -> _Data:
    """Quantised rows of this standard deviation; the first `silent` ones are zeros."""
    block: np.dtype[Any] = np.dtype([("scale", "<f2"), ("weights", "u1", (_BYTES[kind],))])

    def draw(random: np.random.Generator) -> Iterator[bytes]:
        for first in range(0, rows, _CHUNK_ROWS):
            n = min(_CHUNK_ROWS, rows - first)
            blocks = np.empty((n, columns // _BLOCK), dtype=block)
            blocks["scale"] = deviation / _DEVIATION[kind]
            blocks["scale"][: max(0, silent - first)] = 0.0
            blocks["weights"] = random.integers(0, 256, blocks["weights"].shape, dtype=np.uint8)
            yield blocks.tobytes()

    return draw
