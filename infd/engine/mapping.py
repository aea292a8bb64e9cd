"""The mapped pages of a model file, given back once llama.cpp has its own copy of them.

llama.cpp maps a file and copies those weights that it repacks for the processor. The mapping
stays for the others, and all of its pages go on counting as the process's memory, so a repacked
model takes its size twice. Given back, a page that is needed after all comes back from the page
cache at its first use.
"""

from __future__ import annotations

import ctypes
import os
import re
from contextlib import suppress

_MADV_DONTNEED = 4  # <sys/mman.h>; on a shared mapping of a file it loses nothing
_FIRST_PART = re.compile(r"-00001-of-(\d{5})\.gguf\Z")  # llama.h, llama_split_path


def give_back_pages(path: str) -> None:
    """Give back this file's pages (a split file's: of all parts) as mapped here. Never raises."""
    wanted = {os.path.realpath(part) for part in _parts(path)}
    with suppress(OSError, ValueError):
        advise = ctypes.CDLL(None).madvise
        advise.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:
            for line in maps:
                fields = line.rstrip("\n").split(maxsplit=5)
                # Only what is shared and read-only: a changed private page would be undone.
                if len(fields) == 6 and fields[5] in wanted and fields[1] == "r--s":
                    start, end = (int(part, 16) for part in fields[0].split("-"))
                    advise(start, end - start, _MADV_DONTNEED)


def _parts(path: str) -> list[str]:
    first = _FIRST_PART.search(path)
    if first is None:
        return [path]
    stem, count = path[: first.start()], first[1]
    return [f"{stem}-{n:05d}-of-{count}.gguf" for n in range(1, int(count) + 1)]
