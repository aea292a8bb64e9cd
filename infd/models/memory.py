"""How much memory models may take, and how it is given back.

Weights are counted by their files' sizes: llama.cpp maps or copies what the file holds, and
repacked weights take as much again as they replace, not more.
"""

from __future__ import annotations

import asyncio
import ctypes
from contextlib import suppress
from pathlib import Path

from infd.machine import ROOT, usable_memory

LARGE_BLOCK = 2**20
"""Bytes. Weights, KV caches and compute buffers are larger, what Python makes is smaller."""
_M_MMAP_THRESHOLD = -3  # <malloc.h>


def bytes_of(setting: float | int, root: Path = ROOT) -> int:
    """`memory_limit` and its like in bytes: a float is a fraction of what the process may use."""
    if isinstance(setting, float):
        return int(usable_memory(root) * setting)
    return setting


def return_large_blocks() -> None:
    """Have glibc's allocator give blocks of LARGE_BLOCK and more back when they are freed.

    By itself it raises that size to that of the largest block freed so far (mallopt(3)), and what
    a thread's own arena then keeps at its end no malloc_trim gives back: up to 64 MiB a thread.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)
    if set_option is not None:  # musl always maps large blocks
        set_option(_M_MMAP_THRESHOLD, LARGE_BLOCK)


def give_back() -> None:
    """Return freed memory to the system, which glibc's allocator would keep."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:  # musl has none, and keeps little
        trim(0)


async def given_back() -> None:
    """`give_back` beside the loop: 1 ms. Where no thread is to be had the next one does it.

    The small blocks of a context that ended, 1 to 2 MiB, would stay with the allocator.
    """
    with suppress(RuntimeError):
        await asyncio.to_thread(give_back)


def describe(size: int) -> str:
    """A number of bytes for people: 1.5 GiB."""
    if size < 1024:
        return f"{size} bytes"
    amount, unit = size / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if amount < 1024:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f} {unit}"
