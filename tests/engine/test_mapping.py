"""Giving back a model file's mapped pages, and gathering those of its copy."""

from __future__ import annotations

import ctypes
import mmap
from pathlib import Path

import pytest

from infd.engine.mapping import gather_pages, give_back_pages, own_memory

SIZE = 64 * mmap.PAGESIZE


def resident(path: Path) -> int:
    """Bytes of this file's pages that this process has mapped and touched."""
    total, found = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if "-" in line.split()[0] and not line.split()[0].endswith(":"):
            found = line.endswith(str(path))
        elif found and line.startswith("Rss:"):
            total += int(line.split()[1]) * 1024
    return total


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("model.gguf", "model.gguf"),
        ("big-00001-of-00002.gguf", "big-00001-of-00002.gguf"),
        ("big-00002-of-00002.gguf", "big-00001-of-00002.gguf"),
    ],
)
def test_pages_are_given_back_and_come_again(tmp_path: Path, name: str, asked: str) -> None:
    content = bytes(range(256)) * (SIZE // 256)
    (tmp_path / name).write_bytes(content)
    with (
        (tmp_path / name).open("rb") as file,
        mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped,
    ):
        assert mapped[:] == content
        assert resident(tmp_path / name) == SIZE
        give_back_pages(str(tmp_path / asked))
        assert resident(tmp_path / name) == 0
        assert mapped[:] == content


def test_other_files_keep_theirs(tmp_path: Path) -> None:
    (tmp_path / "other.gguf").write_bytes(b"x" * SIZE)
    with (
        (tmp_path / "other.gguf").open("rb") as file,
        mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_READ) as mapped,
    ):
        assert mapped[:] == b"x" * SIZE
        give_back_pages(str(tmp_path / "model.gguf"))
        assert resident(tmp_path / "other.gguf") == SIZE


def test_a_file_that_is_not_there_is_no_error(tmp_path: Path) -> None:
    give_back_pages(str(tmp_path / "gone-00001-of-00003.gguf"))


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
