"""Gathering the pages of a model's weights."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import pytest

from infd.engine.pages import gather_pages, own_memory

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
LARGE = 96 << 20


def in_huge_pages(address: int) -> int:
    """Bytes of the mapping around an address that lie in huge pages."""
    found = False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0] and not line.split()[0].endswith(":"):
            start, end = (int(part, 16) for part in line.split()[0].split("-"))
            found = start <= address < end
        elif found and line.startswith("AnonHugePages:"):
            return int(line.split()[1]) * 1024
    return 0


def large(content: bytes) -> mmap.mmap:
    memory = mmap.mmap(-1, LARGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    memory[:] = content * (LARGE // len(content))
    return memory


def test_only_what_is_new_is_gathered_and_keeps_its_content() -> None:
    if not SETTING.exists() or "[never]" in SETTING.read_text():
        pytest.skip("this machine's kernel has no huge pages, or its owner wants none")
    with large(bytes(range(256))) as old:
        before = own_memory()
        with large(bytes(range(256))) as new:
            middle = ctypes.addressof(ctypes.c_char.from_buffer(old)) + LARGE // 2
            had = in_huge_pages(middle)
            gathered = gather_pages(before, lambda: True)
            if not gathered:
                pytest.skip("this kernel gathers no pages (Linux before 6.1), or memory is short")
            assert LARGE - (4 << 20) <= gathered <= LARGE
            assert new[:] == bytes(range(256)) * (LARGE // 256)
            at = ctypes.addressof(ctypes.c_char.from_buffer(new)) + LARGE // 2
            # Both may be one mapping by now.
            assert had + LARGE - (4 << 20) <= in_huge_pages(at) <= had + LARGE


def test_gathering_ends_when_it_is_to() -> None:
    before = own_memory()
    with large(b"x"):
        assert gather_pages(before, lambda: False) == 0
