"""The pages of a model's weights.

They are read from one end to the other for every token. In huge pages that takes 1 to 3 % less
time (a 1.1 B model on AVX2); gathering them takes 0.2 to 2.7 s for each GB, once.

Contexts are left in small pages. With glibc.malloc.hugetlb=1 one is made in a fifth of the time
(415 MB: 60 ms instead of 300), but in three times that in a virtual machine whose host takes back
free memory: there huge pages come from what was taken back, small ones from what was just used.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

_MADV_HUGEPAGE, _MADV_COLLAPSE = 14, 25  # <sys/mman.h>
_HUGE = 2 << 20
_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
# Weights are what is larger than this.
_LEAST = 32 << 20
# So much is gathered between two looks whether to go on.
_PART = 64 << 20


def own_memory() -> list[tuple[int, int]]:
    """The address ranges of this process's own memory, of no file; [] where they cannot be seen."""
    with suppress(OSError, ValueError):
        return [(a, b) for a, b, mode, name in _maps() if mode == "rw-p" and not name]
    return []


def gather_pages(before: Sequence[tuple[int, int]], go_on: Callable[[], bool]) -> int:
    """Have the large parts of own memory that are not in `before` (see `own_memory`) lie in huge
    pages; how many bytes do now.

    Nothing where the machine's owner has set "never", or the kernel cannot. `go_on` is asked now
    and then whether to. Never raises of itself.
    """
    with suppress(OSError):
        if "[never]" not in _SETTING.read_text():
            return sum(_gather(a, b, go_on) for a, b in _without(own_memory(), before))
    return 0


def _gather(start: int, end: int, go_on: Callable[[], bool]) -> int:
    start, end = -(-start // _HUGE) * _HUGE, end // _HUGE * _HUGE
    if end - start < _LEAST or _advise(start, end, _MADV_HUGEPAGE):
        return 0
    gathered = 0
    for at in range(start, end, _PART):
        if not go_on():
            break
        part = min(_PART, end - at)
        if not _advise(at, at + part, _MADV_COLLAPSE):
            gathered += part
    return gathered


def _without(
    ranges: Sequence[tuple[int, int]], before: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, int]]:
    """What is in `ranges` and not in `before`; both in rising order. Neighbours may have grown
    together meanwhile."""
    for start, end in ranges:
        for a, b in before:
            if a < end and b > start:
                if start < a:
                    yield start, a
                start = max(start, b)
        if start < end:
            yield start, end


def _advise(start: int, end: int, advice: int) -> int:
    """madvise; 0 when it did."""
    advise = ctypes.CDLL(None).madvise
    advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
    result: int = advise(start, end - start, advice)
    return result


def _maps() -> Iterator[tuple[int, int, str, str]]:
    """This process's mappings: begin, end, mode and file."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
        for line in maps:
            fields = line.rstrip("\n").split(maxsplit=5)
            start, end = (int(part, 16) for part in fields[0].split("-"))
            yield start, end, fields[1], fields[5] if len(fields) == 6 else ""
