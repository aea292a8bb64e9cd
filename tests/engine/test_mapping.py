"""Giving back a model file's mapped pages."""

from __future__ import annotations

import mmap
from pathlib import Path

import pytest

from infd.engine.mapping import give_back_pages

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
