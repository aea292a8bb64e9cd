"""Model files that end the process that reads them: for probes only, never loaded in a test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gguf
from support.gguf_factory import CHATML, bpe, write_llama


def _with(key: str, value: Any, kind: gguf.GGUFValueType) -> Callable[[Path], Path]:
    """A Llama whose header says this in place of what is true."""

    def change(writer: gguf.GGUFWriter) -> None:
        for part in writer.kv_data:
            part.pop(key, None)
        writer.add_key_value(key, value, kind)

    return lambda path: write_llama(path, bpe(), template=CHATML, change=change)


CRASHING: dict[str, Callable[[Path], Path]] = {
    # llama-model.cpp: GGML_ASSERT(n_expert_used_max > 0)
    "crashes-loading": _with("llama.expert_count", 4, gguf.GGUFValueType.UINT32),
    # ggml-cpu/ops.cpp: GGML_ASSERT(eps >= 0.0f)
    "crashes-decoding": _with(
        "llama.attention.layer_norm_rms_epsilon", -1.0, gguf.GGUFValueType.FLOAT32
    ),
}
"""By kind: when it is loaded, and when the first token is computed."""


def make_crashing(folder: Path, kind: str) -> Path:
    """`folder/kind.gguf`."""
    return CRASHING[kind](folder / f"{kind}.gguf")
