"""Tiny model files with random weights, made in milliseconds and the same every time.

For tests that need a model of some kind, not one that says something sensible: vocabularies of
both families, chat templates present, missing or awkward, models that cannot chat, and damaged
files. `make(folder, kind)` writes `folder/kind.gguf` once and gives its path.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gguf
import numpy as np

BUNDLED = Path(__file__).parents[2] / "infd" / "demo" / "demo.gguf"

NORMAL, UNKNOWN, CONTROL, USER_DEFINED, BYTE = 1, 2, 3, 4, 6

CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
REFUSES_SYSTEM = (
    "{{ bos_token }}{% if messages[0]['role'] == 'system' %}"
    "{{ raise_exception('System role not supported') }}{% endif %}"
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + "
    "message['content'] | trim + '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system = '' %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}{% if loop.index0 == 0 and system %}"
    "{% set content = '<<SYS>>\\n' + system + '\\n<</SYS>>\\n\\n' + message['content'] %}"
    "{% else %}{% set content = message['content'] %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}"
    "{% else %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
UPPERCASE = CHATML.replace("message['content'] +", "message['content'] | upper +")

_WORDS = (
    "the and you that was for are with his they have this from one had word but not what all "
    "were when your can said there use each which she how their will other about out many then "
    "them these some her would make like him into time has look two more write see number "
    "hello name system user assistant Ada blue green count repeat please answer question"
)


@dataclass(frozen=True)
class Vocabulary:
    """Tokens with their types, and what the tokenizer of that family needs beside them."""

    model: str
    tokens: list[str]
    types: list[int]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    bos: int | None = None
    eos: int | None = None
    add_bos: bool = False


def _byte_letters() -> list[str]:
    """GPT-2's table: a printable character for each of the 256 bytes."""
    keep = [*range(33, 127), *range(161, 173), *range(174, 256)]
    letters, spare = {b: chr(b) for b in keep}, 256
    for b in range(256):
        if b not in letters:
            letters[b] = chr(spare)
            spare += 1
    return [letters[b] for b in range(256)]


def bpe(extra: Sequence[tuple[str, int]] = ()) -> Vocabulary:
    """A byte-level BPE of about 500 tokens: bytes, some English words, then special tokens."""
    letters = _byte_letters()
    tokens, merges = list(letters), []
    known = set(tokens)
    for word in _WORDS.split():
        for spelled in (word, letters[ord(" ")] + word):
            left = spelled[0]
            for right in spelled[1:]:
                if left + right not in known:
                    known.add(left + right)
                    tokens.append(left + right)
                    merges.append(f"{left} {right}")
                left += right
    specials = [
        ("<|endoftext|>", CONTROL),
        ("<|im_start|>", CONTROL),
        ("<|im_end|>", CONTROL),
        *extra,
    ]
    types = [NORMAL] * len(tokens) + [kind for _, kind in specials]
    tokens += [text for text, _ in specials]
    return Vocabulary(
        "gpt2",
        tokens,
        types,
        merges=merges,
        eos=tokens.index("<|im_end|>"),
        bos=tokens.index("<|endoftext|>"),
    )


def plain_bpe() -> Vocabulary:
    """The same without ChatML's tokens."""
    whole = bpe()
    n = whole.tokens.index("<|im_start|>")
    return Vocabulary(
        "gpt2", whole.tokens[:n], whole.types[:n], merges=whole.merges, bos=n - 1, eos=n - 1
    )


def spm(byte_tokens: bool = True) -> Vocabulary:
    """A SentencePiece vocabulary: <unk>, <s>, </s>, bytes, ASCII, some English words."""
    tokens, types, scores = ["<unk>", "<s>", "</s>"], [UNKNOWN, CONTROL, CONTROL], [0.0] * 3
    if byte_tokens:
        tokens += [f"<0x{b:02X}>" for b in range(256)]
        types += [BYTE] * 256
        scores += [0.0] * 256
    pieces: dict[str, None] = {}
    for word in _WORDS.split():
        for spelled in ("▁" + word, word):
            for end in range(2, len(spelled) + 1):
                pieces[spelled[:end]] = None
    pieces |= {"▁▁": None, "▁▁▁▁": None}
    pieces |= {"▁": None} | {chr(c): None for c in range(33, 127)}
    tokens += list(pieces)
    types += [NORMAL] * len(pieces)
    scores += [-float(i) for i in range(len(pieces))]
    return Vocabulary("llama", tokens, types, scores=scores, bos=1, eos=2, add_bos=True)


def _write_vocabulary(writer: gguf.GGUFWriter, vocabulary: Vocabulary) -> None:
    writer.add_tokenizer_model(vocabulary.model)
    if vocabulary.model == "gpt2":
        writer.add_tokenizer_pre("gpt-2")
        writer.add_token_merges(vocabulary.merges)
    writer.add_token_list(vocabulary.tokens)
    writer.add_token_types(vocabulary.types)
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    if vocabulary.bos is not None:
        writer.add_bos_token_id(vocabulary.bos)
    if vocabulary.eos is not None:
        writer.add_eos_token_id(vocabulary.eos)
    writer.add_add_bos_token(vocabulary.add_bos)


class _Weights:
    """Random tensors, seeded by name, so that no order of writing matters."""

    def __init__(self, writer: gguf.GGUFWriter, kind: gguf.GGMLQuantizationType) -> None:
        self._writer = writer
        self._kind = kind

    def matrix(self, name: str, rows: int, columns: int, scale: float | None = None) -> None:
        rng = np.random.default_rng(zlib.crc32(name.encode()))
        size = columns**-0.5 if scale is None else scale
        data = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(size)
        if self._kind == gguf.GGMLQuantizationType.F32:
            self._writer.add_tensor(name, data)
        else:
            packed = gguf.quants.quantize(data, self._kind)
            self._writer.add_tensor(name, packed, raw_dtype=self._kind)

    def vector(self, name: str, value: float, n: int) -> None:
        self._writer.add_tensor(name, np.full(n, value, dtype=np.float32))


def write_llama(
    path: Path,
    vocabulary: Vocabulary,
    *,
    template: str | None = None,
    n_embd: int = 64,
    n_layer: int = 2,
    n_head: int = 4,
    n_head_kv: int | None = None,
    n_ff: int = 128,
    n_ctx: int = 2048,
    quantization: str = "F32",
    window: int = 0,
    change: Callable[[gguf.GGUFWriter], None] | None = None,
) -> Path:
    """A Llama with random weights (`quantization`: F32, F16, Q8_0, Q4_0), or with a `window`
    a Gemma 3, whose layers but every sixth look back so many tokens."""
    kind = gguf.GGMLQuantizationType[quantization]
    writer = gguf.GGUFWriter(path, "gemma3" if window else "llama")
    writer.add_name(path.stem)
    if window:
        writer.add_sliding_window(window)
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(n_embd)
    writer.add_block_count(n_layer)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(n_head)
    writer.add_head_count_kv(n_head_kv or n_head)
    writer.add_rope_dimension_count(n_embd // n_head)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary.tokens))
    _write_vocabulary(writer, vocabulary)
    if template is not None:
        writer.add_chat_template(template)
    if change is not None:
        change(writer)
    weights = _Weights(writer, kind)
    kv = n_embd // n_head * (n_head_kv or n_head)
    n_vocab = len(vocabulary.tokens)
    weights.matrix("token_embd.weight", n_vocab, n_embd, scale=1.0)
    weights.vector("output_norm.weight", 1.0, n_embd)
    # Twice the usual scale: the likeliest token stands out, so rounding cannot change it.
    weights.matrix("output.weight", n_vocab, n_embd, scale=2 * n_embd**-0.5)
    for i in range(n_layer):
        b = f"blk.{i}."
        weights.vector(b + "attn_norm.weight", 1.0, n_embd)
        weights.matrix(b + "attn_q.weight", n_embd, n_embd, scale=2 * n_embd**-0.5)
        weights.matrix(b + "attn_k.weight", kv, n_embd, scale=2 * n_embd**-0.5)
        weights.matrix(b + "attn_v.weight", kv, n_embd)
        weights.matrix(b + "attn_output.weight", n_embd, n_embd)
        weights.vector(b + "ffn_norm.weight", 1.0, n_embd)
        weights.matrix(b + "ffn_gate.weight", n_ff, n_embd)
        weights.matrix(b + "ffn_up.weight", n_ff, n_embd)
        weights.matrix(b + "ffn_down.weight", n_embd, n_ff)
        if window:
            for name in ("post_attention_norm", "post_ffw_norm"):
                weights.vector(f"{b}{name}.weight", 1.0, n_embd)
            for name in ("attn_q_norm", "attn_k_norm"):
                weights.vector(f"{b}{name}.weight", 1.0, n_embd // n_head)
    return _finish(writer, path)


def _finish(writer: gguf.GGUFWriter, path: Path) -> Path:
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def write_bert(path: Path) -> Path:
    """An embedding-only model: BERT with mean pooling."""
    n_embd, n_ff, n_ctx = 32, 64, 128
    tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    tokens += ["▁" + w for w in dict.fromkeys(_WORDS.split())]
    writer = gguf.GGUFWriter(path, "bert")
    writer.add_context_length(n_ctx)
    writer.add_embedding_length(n_embd)
    writer.add_block_count(1)
    writer.add_feed_forward_length(n_ff)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    writer.add_pooling_type(gguf.PoolingType.MEAN)
    writer.add_tokenizer_model("bert")
    writer.add_token_type_count(2)
    writer.add_token_list(tokens)
    writer.add_token_types([CONTROL] * 5 + [NORMAL] * (len(tokens) - 5))
    for key, value in (("unknown", 1), ("seperator", 3), ("padding", 0), ("mask", 4)):
        writer.add_uint32(f"tokenizer.ggml.{key}_token_id", value)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(3)
    weights = _Weights(writer, gguf.GGMLQuantizationType.F32)
    weights.matrix("token_embd.weight", len(tokens), n_embd)
    weights.matrix("token_types.weight", 2, n_embd)
    weights.matrix("position_embd.weight", n_ctx, n_embd)

    def norm(name: str) -> None:
        weights.vector(name + ".weight", 1.0, n_embd)
        weights.vector(name + ".bias", 0.0, n_embd)

    def linear(name: str, rows: int, columns: int) -> None:
        weights.matrix(name + ".weight", rows, columns)
        weights.vector(name + ".bias", 0.0, rows)

    norm("token_embd_norm")
    for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
        linear(f"blk.0.{part}", n_embd, n_embd)
    norm("blk.0.attn_output_norm")
    linear("blk.0.ffn_up", n_ff, n_embd)
    linear("blk.0.ffn_down", n_embd, n_ff)
    norm("blk.0.layer_output_norm")
    return _finish(writer, path)


def write_mamba(path: Path) -> Path:
    """A recurrent model: its memory cannot be cut back to a prefix."""
    n_embd, inner, state, conv, rank, vocabulary = 32, 64, 8, 4, 4, bpe()
    writer = gguf.GGUFWriter(path, "mamba")
    writer.add_context_length(2048)
    writer.add_embedding_length(n_embd)
    writer.add_feed_forward_length(0)
    writer.add_head_count(0)
    writer.add_block_count(2)
    writer.add_ssm_conv_kernel(conv)
    writer.add_ssm_inner_size(inner)
    writer.add_ssm_state_size(state)
    writer.add_ssm_time_step_rank(rank)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(len(vocabulary.tokens))
    _write_vocabulary(writer, vocabulary)
    writer.add_chat_template(CHATML)
    weights = _Weights(writer, gguf.GGMLQuantizationType.F32)
    weights.matrix("token_embd.weight", len(vocabulary.tokens), n_embd, scale=1.0)
    weights.vector("output_norm.weight", 1.0, n_embd)
    weights.matrix("output.weight", len(vocabulary.tokens), n_embd)
    for i in range(2):
        b = f"blk.{i}."
        weights.vector(b + "attn_norm.weight", 1.0, n_embd)
        weights.matrix(b + "ssm_in.weight", 2 * inner, n_embd)
        weights.matrix(b + "ssm_conv1d.weight", inner, conv)
        weights.vector(b + "ssm_conv1d.bias", 0.0, inner)
        weights.matrix(b + "ssm_x.weight", rank + 2 * state, inner)
        weights.matrix(b + "ssm_dt.weight", inner, rank)
        weights.vector(b + "ssm_dt.bias", 0.1, inner)
        writer.add_tensor(b + "ssm_a", np.full((inner, state), -1.0, dtype=np.float32))
        weights.vector(b + "ssm_d", 1.0, inner)
        weights.matrix(b + "ssm_out.weight", n_embd, inner)
    return _finish(writer, path)


def _damage(source: Path, target: Path, change: Callable[[bytearray], Any]) -> Path:
    data = bytearray(source.read_bytes())
    changed = change(data)
    target.write_bytes(data if changed is None else changed)
    return target


def _mangled(data: bytearray) -> bytearray:
    rng = np.random.default_rng(7)
    for at in rng.integers(64, len(data) // 2, 400):
        data[int(at)] = int(rng.integers(256))
    return data


def _huge_count(data: bytearray) -> bytearray:
    data[8:16] = (2**60).to_bytes(8, "little")  # GGUF's tensor count
    return data


MODELS: dict[str, Callable[[Path], Path]] = {
    "bpe": lambda p: write_llama(p, bpe(), template=CHATML),
    "spm": lambda p: write_llama(p, spm(), template=LLAMA2),
    "chatml-tokens": lambda p: write_llama(p, bpe()),
    "no-template": lambda p: write_llama(p, plain_bpe()),
    "refuses-system": lambda p: write_llama(p, bpe(), template=REFUSES_SYSTEM),
    "uppercase": lambda p: write_llama(p, bpe(), template=UPPERCASE),
    "bad-template": lambda p: write_llama(p, bpe(), template="{% for x in %}"),
    "endless-template": lambda p: write_llama(
        p,
        bpe(),
        template="{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
    ),
    "thinking": lambda p: write_llama(
        p,
        bpe([("<think>", USER_DEFINED), ("</think>", USER_DEFINED), ("\n\n", USER_DEFINED)]),
        template=CHATML.replace(
            "message['content'] +", "message['content'].split('</think>')[-1].lstrip('\\n') +"
        ),
    ),
    "quantised": lambda p: write_llama(
        p, bpe(), template=CHATML, n_embd=256, n_ff=512, n_head=4, quantization="Q4_0"
    ),
    "no-byte-tokens": lambda p: write_llama(p, spm(byte_tokens=False), template=LLAMA2),
    "embedding": write_bert,
    "recurrent": write_mamba,
    "sliding": lambda p: write_llama(p, bpe(), template=CHATML, n_layer=7, window=32),
}
"""Files that llama.cpp loads (`no-byte-tokens` is refused after that), by kind."""

DAMAGED: dict[str, Callable[[Path], Path]] = {
    "empty": lambda p: _damage(make(p.parent, "bpe"), p, lambda d: d[:0]),
    "cut-header": lambda p: _damage(make(p.parent, "bpe"), p, lambda d: d[:1000]),
    "cut-tensors": lambda p: _damage(make(p.parent, "bpe"), p, lambda d: d[: len(d) // 2]),
    "not-gguf": lambda p: _damage(make(p.parent, "bpe"), p, lambda d: b"This is no model.\n" * 99),
    "mangled": lambda p: _damage(make(p.parent, "bpe"), p, _mangled),
    "huge-count": lambda p: _damage(make(p.parent, "bpe"), p, _huge_count),
}
"""Files that no loader should take, by kind."""


def make(folder: Path, kind: str) -> Path:
    """`folder/kind.gguf`, written if it is not there yet; "demo" is the bundled model."""
    path = folder / f"{kind}.gguf"
    if kind == "demo":
        return BUNDLED
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{kind}.part"
        {**MODELS, **DAMAGED}[kind](partial).rename(path)
    return path
