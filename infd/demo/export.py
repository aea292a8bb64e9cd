"""Writes the trained network as a GGUF file: ``python -m infd.demo.export CHECKPOINT FILE``.

Rules: matrices in Q8_0, norms in float32; queries and keys permuted from halves to pairs, as
llama.cpp's ``llama`` architecture turns them; the averaged weights of the checkpoint are taken.
The tokenizer is written as GPT-2's with its merges, no beginning token, the end marker as the end.
Limits: overwrites FILE.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import torch

from infd.demo.network import Shape
from infd.demo.tokenizer import END, MARKERS, SIZE, TEMPLATE, build, chosen

PARTS = {
    "attention_norm": "attn_norm",
    "query": "attn_q",
    "key": "attn_k",
    "value": "attn_v",
    "merge": "attn_output",
    "inner_norm": "ffn_norm",
    "gate": "ffn_gate",
    "up": "ffn_up",
    "down": "ffn_down",
}


def renamed(name: str) -> str:
    """The name that llama.cpp has for one of the network's weights."""
    if name == "embedding.weight":
        return "token_embd.weight"
    if name == "norm.weight":
        return "output_norm.weight"
    _, number, part, _ = name.split(".")
    return f"blk.{number}.{PARTS[part]}.weight"


def paired(weight: np.ndarray[Any, Any], heads: int) -> np.ndarray[Any, Any]:
    """Rows of each head from (first half, second half) to pairs of one of each."""
    rows, columns = weight.shape
    halves = weight.reshape(heads, 2, rows // heads // 2, columns)
    return halves.swapaxes(1, 2).reshape(rows, columns)


def describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    """The metadata of the model and of its tokenizer."""
    writer.add_name("infd demo")
    writer.add_description("A small chat model that shows infd at work.")
    writer.add_license("Apache-2.0")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.inner)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(shape.theta)
    writer.add_layer_norm_rms_eps(shape.epsilon)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_Q8_0)
    tokenizer = build()
    number = tokenizer.token_to_id
    tokens = sorted(tokenizer.get_vocab(), key=number)
    kinds = gguf.TokenType
    alphabet = len(tokens) - len(MARKERS) - len(merges := chosen(SIZE - 256 - len(MARKERS)))
    if alphabet != 256:
        raise ValueError(f"{alphabet} single bytes in the vocabulary")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types([kinds.CONTROL if t in MARKERS else kinds.NORMAL for t in tokens])
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_eos_token_id(number(END))
    writer.add_eot_token_id(number(END))
    writer.add_pad_token_id(number(END))
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_chat_template(TEMPLATE)


def export(checkpoint: Path, file: Path) -> None:
    """Write ``file`` from a checkpoint of ``train``."""
    state = torch.load(checkpoint, weights_only=False)
    shape: Shape = state["shape"]
    writer = gguf.GGUFWriter(file, "llama")
    describe(writer, shape)
    for name, tensor in state["average"].items():
        weight = tensor.detach().float().numpy()
        if name.endswith(("query.weight", "key.weight")):
            weight = paired(weight, shape.heads)
        if weight.ndim == 1:
            writer.add_tensor(renamed(name), weight)
            continue
        kind = gguf.GGMLQuantizationType.Q8_0
        writer.add_tensor(renamed(name), gguf.quantize(weight, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main() -> None:
    """Export from the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("file", type=Path)
    options = parser.parse_args()
    export(options.checkpoint, options.file)
    print(f"{options.file}: {options.file.stat().st_size} bytes")


if __name__ == "__main__":
    main()
