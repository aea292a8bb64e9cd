"""What a GGUF file says of itself, read from its header alone, without llama.cpp.

It answers questions about models that are not loaded, in milliseconds and without their weights.
The file is not trusted: every count and length is bounded by the file's size, and whatever does
not fit raises HeaderError. That a header can be read says nothing about the weights.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md, versions 2 and 3.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from math import prod
from pathlib import Path
from stat import S_ISREG
from typing import Any, BinaryIO

MAGIC = b"GGUF"
MAX_KEYS = 2**16
MAX_TENSORS = 2**20
_STRING, _ARRAY = 8, 9
_SCALARS = {
    0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q",
    12: "<d",
}  # fmt: skip
_STRUCTS = {kind: struct.Struct(form) for kind, form in _SCALARS.items()}
_U32, _U64 = struct.Struct("<I"), struct.Struct("<Q")


class HeaderError(ValueError):
    """The file is no GGUF, or a damaged one; one sentence for people."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is worth telling of a file. `parameters` counts the weights in this part only."""

    architecture: str
    parameters: int
    training_context: int
    has_template: bool
    cut_short: bool
    """Whether the file ends before all of its tensors' data have begun."""


def read_header(path: Path, *, part: bool = False) -> Header:
    """Read the header. `part`: a later part of a split file, which says little.

    Raises HeaderError; OSError if the file cannot be read.
    """
    # Read, not mapped: a mapped file that somebody cuts short meanwhile ends the process.
    if not S_ISREG(path.stat().st_mode):
        # Of a pipe not even the opening would end.
        raise HeaderError("it is no regular file")
    with path.open("rb", buffering=2**18) as file:
        return _Reader(file).header(part)


class _Reader:
    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def header(self, part: bool) -> Header:
        if self._size == 0:
            raise HeaderError("the file is empty")
        if self._file.read(4) != MAGIC:
            raise HeaderError("the file is no GGUF file")
        version = self._take(_U32)
        if version not in (2, 3):
            raise HeaderError(f"the file has GGUF version {version}; 2 and 3 can be read")
        tensors, keys = self._take(_U64), self._take(_U64)
        if tensors > MAX_TENSORS or keys > MAX_KEYS:
            raise HeaderError("the file's header is damaged: it counts more than there can be")
        values = {}
        for _ in range(keys):
            name = self._string()
            values[name] = self._value(self._take(_U32))
        architecture = values.get("general.architecture", "" if part else None)
        if not isinstance(architecture, str):
            raise HeaderError("the file does not name its architecture")
        context = values.get(f"{architecture}.context_length")
        described = [self._tensor() for _ in range(tensors)]
        last = max((offset for _, offset in described), default=0)
        return Header(
            architecture=architecture,
            parameters=sum(elements for elements, _ in described),
            cut_short=bool(tensors) and self._file.tell() + last >= self._size,
            training_context=context if type(context) is int and 0 <= context < 2**32 else 0,
            has_template=isinstance(values.get("tokenizer.chat_template"), str),
        )

    def _bytes(self, count: int) -> bytes:
        data = self._file.read(count) if count <= self._size else b""
        if len(data) != count:
            raise HeaderError("the file ends within its header, or is damaged")
        return data

    def _take(self, form: struct.Struct) -> Any:
        return form.unpack(self._bytes(form.size))[0]

    def _string(self) -> str:
        return self._bytes(self._take(_U64)).decode("utf-8", "replace")

    def _value(self, kind: int) -> Any:
        """A value; of an array only that it is one: vocabularies are long and nobody asks."""
        if kind == _STRING:
            return self._string()
        if kind in _STRUCTS:
            return self._take(_STRUCTS[kind])
        if kind != _ARRAY:
            raise HeaderError(f"the file's header is damaged: there is no kind of value {kind}")
        inner, count = self._take(_U32), self._take(_U64)
        if inner in _STRUCTS:
            self._bytes(count * _STRUCTS[inner].size)
        elif inner == _STRING:
            for _ in range(count):
                self._bytes(self._take(_U64))
        else:
            raise HeaderError("the file's header is damaged: an array of arrays")
        return None

    def _tensor(self) -> tuple[int, int]:
        """One tensor's description: its number of elements, and where in the data it begins."""
        self._string()
        dimensions = self._take(_U32)
        if dimensions > 4:  # GGML_MAX_DIMS
            raise HeaderError("the file's header is damaged: a tensor of many dimensions")
        sizes = [self._take(_U64) for _ in range(dimensions)]
        self._take(_U32)
        return prod(sizes), self._take(_U64)
