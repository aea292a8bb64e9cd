"""A tiny model with random weights that never ends a reply by itself.

Its text is nonsense with many characters beyond ASCII, the same every time on one machine; a
reply of 30,000 tokens takes it many seconds, so whoever stops it meets it running.
"""

from __future__ import annotations

import functools
import tempfile
from pathlib import Path

import gguf
from support.gguf_factory import plain_bpe, write_llama

BUDGET = 1 << 20
TABLE = {"endless": {"load": True, "ctxsize": BUDGET}}


@functools.cache
def endless() -> Path:
    """The model's file."""
    vocabulary = plain_bpe()
    assert vocabulary.eos is not None
    path = write_llama(Path(tempfile.mkdtemp(prefix="infd-endless-")) / "endless.gguf", vocabulary)
    reader = gguf.GGUFReader(path, "r+")
    output = next(tensor for tensor in reader.tensors if tensor.name == "output.weight")
    # Its logit is 0 always; the largest of 500 random ones is not.
    output.data[vocabulary.eos] = 0.0
    reader.data.flush()
    return path
