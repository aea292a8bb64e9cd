"""What a sequence's KV cache held, copied out of llama.cpp: to put it into another context, or
onto disk and back.

Rules: a `Snapshot` never changes and may be shared between threads. `take` and `put` are calls
into a llama_context, so they are its thread's; both release the GIL. What is put must come from a
context of the same model and the same `layout` (see LlamaContext): llama.cpp looks at the shapes
and refuses others, but two models of one shape it cannot tell apart. How many sequences the context
has does not matter: llama.cpp writes a count for each into what it copies, and takes it back only
with as many, so `put` writes them anew where they differ.

A file carries a key and a checksum: bytes that were not written by this build of the library, for
this model, with these settings, or that changed on their way, are never given to llama.cpp, whose
reader trusts them. It is a cache: nothing is synchronised to the disk, and who cannot read one
computes it again. A sliding-window model's snapshot has only what its window reaches.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import struct
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from stat import S_ISREG
from typing import Any

from infd.engine.errors import EngineError
from infd.engine.library import lib

_MAGIC = b"infd-KV\n"
_VERSION = 2
_DIGEST = 32
_MOST_PARTS = 2
# What llama.cpp writes first: a magic number and the sequence's; then how many sequences there are.
_FRONT = 8
_COUNT = struct.Struct("=I")
_BEHIND = 1  # LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY
# Magic, version, digest of the key, tokens, bytes of data, its parts; then the tokens, the data,
# the checksum.
_HEAD = struct.Struct(f"<8sI{_DIGEST}sQQQQ")
# Read and hashed at once; hashing lets go of the GIL.
_PIECE = 4 * 1024 * 1024
_NO_MEMORY = "there is no memory for a copy"


class SnapshotError(EngineError):
    """It cannot be taken, written or read; the text is one line."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The tokens of a sequence and llama.cpp's bytes for them."""

    tokens: array[int]
    data: bytearray
    parts: tuple[int, ...] = ()
    """The lengths of the parts of `data` that count sequences: one for each attention cache."""

    @property
    def size(self) -> int:
        """What it takes of memory or disk, in bytes; nearly."""
        return len(self.data) + len(self.tokens) * self.tokens.itemsize


def take(pointer: Any, seq_id: int, tokens: Sequence[int]) -> Snapshot:
    """Copy a sequence out of the context at `pointer`; `tokens` are what it holds.

    Raises SnapshotError; the context is as before.
    """
    size = lib.llama_state_seq_get_size(pointer, seq_id)
    try:
        data, held = bytearray(size), array("i", tokens)
    except MemoryError:
        raise SnapshotError(_NO_MEMORY) from None
    if not size or lib.llama_state_seq_get_data(pointer, _bytes(data), size, seq_id) != size:
        raise SnapshotError("llama.cpp gave no state of the sequence")
    return Snapshot(held, data, _parts(pointer, seq_id, data))


def _parts(pointer: Any, seq_id: int, data: bytearray) -> tuple[int, ...]:
    """See `Snapshot.parts`. A recurrent state counts none; what is laid out in a way that is not
    known has none either, and only goes where as many sequences are."""
    model = lib.llama_get_model(pointer)
    if lib.llama_model_is_recurrent(model):
        return ()
    rest = len(data) - _FRONT
    parts: tuple[int, ...] = (rest,)
    hybrid = lib.llama_model_is_hybrid(model)
    if hybrid or lib.llama_model_n_swa(model):
        # What stands behind the first cache: the recurrent state, or the windows' cache.
        behind: int = lib.llama_state_seq_get_size_ext(pointer, seq_id, _BEHIND) - _FRONT
        if 0 < behind < rest:
            parts = (rest - behind,) if hybrid else (rest - behind, behind)
    at = _FRONT
    for length in parts:
        if length < 2 * _COUNT.size or _count(data, at) != lib.llama_n_seq_max(pointer):
            return ()
        at += length
    return parts


def put(pointer: Any, seq_id: int, snapshot: Snapshot) -> bool:
    """Make a sequence of the context at `pointer` hold what the snapshot does, in place of what
    it held; False: llama.cpp refused, or there is no memory, and the sequence is to be cleared."""
    try:
        data = _counting(snapshot, lib.llama_n_seq_max(pointer))
    except MemoryError:
        return False
    size = len(data)
    read: int = lib.llama_state_seq_set_data(pointer, _bytes(data), size, seq_id)
    if read != size:
        return False
    last: int = lib.llama_memory_seq_pos_max(lib.llama_get_memory(pointer), seq_id)
    return last == len(snapshot.tokens) - 1


def _counting(snapshot: Snapshot, sequences: int) -> bytearray:
    """The snapshot's data for a context of so many sequences.

    A part is the number of sequences and then, for each, a count of cells and the cells; all but
    one have none.
    """
    data, parts = snapshot.data, snapshot.parts
    if not parts or _count(data, _FRONT) == sequences:
        return data
    made, at = data[:_FRONT], _FRONT
    for length in parts:
        others = _count(data, at) - 1
        begin, at = at + _COUNT.size, at + length
        before = 0
        while before < others and not _count(data, begin + before * _COUNT.size):
            before += 1
        made += _COUNT.pack(sequences)
        made += memoryview(data)[
            begin + before * _COUNT.size : at - (others - before) * _COUNT.size
        ]
        made += bytes((sequences - 1) * _COUNT.size)
    made += memoryview(data)[at:]
    return made


def _count(data: bytearray, at: int) -> int:
    count: int = _COUNT.unpack_from(data, at)[0]
    return count


def _bytes(data: bytearray) -> Any:
    return (ctypes.c_uint8 * len(data)).from_buffer(data)


def write(path: Path, snapshot: Snapshot, key: str) -> int:
    """Write a file that only its owner may read; how long it is, in bytes. All of it is there or
    nothing. `key` says who may read it again: see `read`. Raises SnapshotError."""
    partial = path.with_name(path.name + ".part")
    # In the machine's byte order: no other one reads it.
    tokens = snapshot.tokens.tobytes()
    parts = (*snapshot.parts, 0, 0)[:_MOST_PARTS]
    head = _HEAD.pack(_MAGIC, _VERSION, _key(key), len(snapshot.tokens), len(snapshot.data), *parts)
    checksum = hashlib.blake2b(digest_size=_DIGEST)
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with FileIO(handle, "wb") as file:
                for part in (head, tokens, snapshot.data):
                    checksum.update(part)
                    _write_all(file, part)
                _write_all(file, checksum.digest())
            partial.rename(path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise SnapshotError(f"{path} cannot be written: {error.strerror or error}") from None
    return len(head) + len(tokens) + len(snapshot.data) + _DIGEST


def read(path: Path, key: str) -> Snapshot:
    """What `write` wrote with the same key. Raises SnapshotError: no such file, another key or
    version, too short, too long, changed since, or no memory for it."""
    try:
        with FileIO(path, "rb", opener=_open_at_once) as file:
            return _read(path, file, key)
    except MemoryError:
        raise SnapshotError(f"{path} cannot be read: {_NO_MEMORY}") from None
    except OSError as error:
        raise SnapshotError(f"{path} cannot be read: {error.strerror or error}") from None


def _open_at_once(path: str, flags: int) -> int:
    """A pipe in the file's place would be waited for otherwise, for ever."""
    return os.open(path, flags | os.O_NONBLOCK)


def _read(path: Path, file: FileIO, key: str) -> Snapshot:
    if not S_ISREG(os.fstat(file.fileno()).st_mode):
        raise SnapshotError(f"{path} is no regular file")
    head = file.read(_HEAD.size)
    if len(head) < _HEAD.size:
        raise SnapshotError(f"{path} is damaged: it is too short")
    magic, version, digest, n_tokens, n_data, *parts = _HEAD.unpack(head)
    if (magic, version) != (_MAGIC, _VERSION):
        raise SnapshotError(f"{path} is no snapshot of this version")
    if digest != _key(key):
        raise SnapshotError(f"{path} is of another model, library or setting")
    tokens: array[int] = array("i")
    n_head = n_tokens * tokens.itemsize
    # The lengths are believed only when the file has them: memory is asked for by them.
    if os.fstat(file.fileno()).st_size != _HEAD.size + n_head + n_data + _DIGEST:
        raise SnapshotError(f"{path} is damaged: its length is wrong")
    checksum = hashlib.blake2b(head, digest_size=_DIGEST)
    tokens.frombytes(_read_all(file, n_head, checksum))
    data = _read_all(file, n_data, checksum)
    if file.read(_DIGEST) != checksum.digest():
        raise SnapshotError(f"{path} is damaged: its checksum is wrong")
    return Snapshot(tokens, data, tuple(part for part in parts if part))


def _key(key: str) -> bytes:
    return hashlib.blake2b(key.encode(), digest_size=_DIGEST).digest()


def _write_all(file: FileIO, data: bytes | bytearray) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[file.write(rest) :]


def _read_all(file: FileIO, size: int, checksum: Any) -> bytearray:
    data = bytearray(size)
    with memoryview(data) as whole:
        at = 0
        while at < size:
            n = file.readinto(whole[at : at + _PIECE])
            if not n:
                break
            checksum.update(whole[at : at + n])
            at += n
    return data
