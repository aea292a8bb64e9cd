"""How much memory the process may count on, and how it is given back.

The limit is the machine's memory or that of the tightest cgroup (v1 or v2) around the process.
Weights are counted by their files' sizes: llama.cpp maps or copies what the file holds, and
repacked weights take as much again as they replace, not more.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

LARGE_BLOCK = 2**20
"""Bytes. Weights, KV caches and compute buffers are larger, what Python makes is smaller."""
_M_MMAP_THRESHOLD = -3  # <malloc.h>


def machine_memory(root: Path = Path("/")) -> int:
    """Bytes of memory of the machine, from /proc/meminfo."""
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo says no MemTotal")


def available_memory(root: Path = Path("/")) -> int:
    """Bytes that the process may use at most: the least of the machine and every cgroup."""
    return min([machine_memory(root), *_cgroup_limits(root)])


def weights_limit(memory_limit: float | int, root: Path = Path("/")) -> int:
    """`memory_limit` in bytes: a float is a fraction of what is available."""
    if isinstance(memory_limit, float):
        return int(available_memory(root) * memory_limit)
    return memory_limit


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


def _cgroup_limits(root: Path) -> Iterator[int]:
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _limits_above(mount, path, "memory.max")
        elif "memory" in controllers.split(","):
            yield from _limits_above(mount / "memory", path, "memory.limit_in_bytes")


def _limits_above(mount: Path, path: str, file: str) -> Iterator[int]:
    """The limits of a cgroup and of all above it. In a container the path may not be there, and
    the mount's own files speak of the container."""
    relative = PurePosixPath(path.lstrip("/"))
    for group in (relative, *relative.parents):
        try:
            text = (mount / group / file).read_text().strip()
        except OSError:
            continue
        if text.isdigit():  # "max" otherwise
            yield int(text)
