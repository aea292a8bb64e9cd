"""Huge pages for what llama.cpp allocates.

A model's weights are read from one end to the other for every token, which takes 1 to 3 % less
time in huge pages. All of a context's cache is written when it is made, which takes a fifth of the
time in huge pages (415 MB: 60 ms instead of 300; a 1.1 B model, four slots of 4,608 tokens).

Where the kernel gives huge pages only to who asks for them ("madvise", Ubuntu's setting, for one),
glibc's malloc asks when a variable of the environment tells it to. It reads that before a
process's first line of code: so a process that wants them begins again, once. Where the owner of
the machine has set "never", or the variable himself, it stays at that.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

_VARIABLE, _TUNABLE = "GLIBC_TUNABLES", "glibc.malloc.hugetlb"
_SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def asking(environment: Mapping[str, str]) -> dict[str, str]:
    """The variables that a process needs beside its `environment` to be given huge pages; none
    where that changes nothing, or somebody has decided already."""
    present = environment.get(_VARIABLE, "")
    if _TUNABLE in present:
        return {}
    with suppress(OSError):
        if "[madvise]" in _SETTING.read_text():
            return {_VARIABLE: f"{present}:{_TUNABLE}=1".lstrip(":")}
    return {}


def begin_again() -> None:
    """Have this process begin again with huge pages, if that changes anything: same process
    number, same open files that are inherited. Returns where it need not, or cannot."""
    more = asking(os.environ)
    if more:
        sys.stdout.flush()
        with suppress(OSError):
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], {**os.environ, **more})
