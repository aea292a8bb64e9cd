"""The folder of saved contexts: private, bounded, and empty when it is opened."""

from __future__ import annotations

import os
import stat
from array import array
from pathlib import Path

import pytest

from infd.engine.snapshot import Snapshot, SnapshotError
from infd.engine.swap import LEFT_FREE, SwapFolder

MIB = 2**20


def files(folder: SwapFolder) -> list[Path]:
    return sorted(folder.path.iterdir())


def snapshot(size: int) -> Snapshot:
    return Snapshot(array("i", range(10)), bytearray(size))


def test_the_folder_is_private_and_begins_empty(tmp_path: Path) -> None:
    path = tmp_path / "swap"
    path.mkdir(mode=0o755)
    for name in ("0" * 32, "a" * 32, "b" * 32 + ".part"):
        (path / name).write_bytes(b"by a daemon that was killed")
    folder = SwapFolder(path, MIB)
    folder.open()
    assert files(folder) == []
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    away = [folder.save(snapshot(1000), "key") for _ in range(3)]
    assert len({file.name for file in files(folder)}) == 3
    assert away[0].load("key") == snapshot(1000)
    with pytest.raises(SnapshotError, match="another model, library or setting"):
        away[0].load("other key")
    for saved in (*away, *away):
        saved.discard()
    assert (files(folder), folder.used) == ([], 0)


def test_what_cannot_be_deleted_or_is_not_the_daemons_keeps_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "swap"
    path.mkdir()
    names = [digit * 32 for digit in "0123456789"]
    for name in names[1:]:
        (path / name).write_bytes(b"by a daemon that was killed")
    (path / names[0]).mkdir()
    (path / "accounts.backup").write_bytes(b"put there by a person")
    folder = SwapFolder(path, MIB)
    folder.open()
    assert {file.name for file in files(folder)} == {names[0], "accounts.backup"}
    folder.save(snapshot(1000), "key").discard()


def test_the_limit_counts_all_files_and_frees_what_was_not_written(tmp_path: Path) -> None:
    folder = SwapFolder(tmp_path / "swap", MIB)
    folder.open()
    first = folder.save(snapshot(MIB // 2), "key")
    with pytest.raises(SnapshotError, match="swap_disk is used up"):
        folder.save(snapshot(MIB // 2), "key")
    used = folder.used
    assert MIB // 2 < used < MIB
    first.discard()
    folder.path.rmdir()
    for _ in range(3):
        with pytest.raises(SnapshotError, match="cannot be used: No such file"):
            folder.save(snapshot(MIB // 2), "key")
    assert folder.used == 0


def test_the_last_of_a_disk_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = SwapFolder(tmp_path / "swap", 10 * MIB)
    folder.open()
    real = os.statvfs(tmp_path)
    for left, fits in ((LEFT_FREE + 2 * MIB, True), (LEFT_FREE, False)):
        blocks = list(real)
        blocks[1], blocks[4] = 1, left
        monkeypatch.setattr(os, "statvfs", lambda _, told=tuple(blocks): os.statvfs_result(told))
        if fits:
            folder.save(snapshot(MIB), "key")
        else:
            with pytest.raises(SnapshotError, match="nearly full"):
                folder.save(snapshot(MIB), "key")
    monkeypatch.undo()


def test_a_folder_that_cannot_be_made_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    folder = SwapFolder(tmp_path / "file" / "swap", MIB)
    folder.open()
    with pytest.raises(SnapshotError, match="cannot be used"):
        folder.save(snapshot(100), "key")
