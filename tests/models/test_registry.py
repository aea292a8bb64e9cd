"""Which files are which models, and when the folder is looked at."""

from __future__ import annotations

from pathlib import Path

import pytest
from structlog.testing import capture_logs

from infd.config import Config, ModelConfig
from infd.models.registry import Registry, parts_of


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def registry(folder: Path, clock: Clock | None = None, **tables: ModelConfig) -> Registry:
    return Registry(Config(models_folder=folder, models=tables), clock=clock or Clock())


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_bytes(b"x")


def test_names_are_stems_and_split_files_are_one(tmp_path: Path) -> None:
    touch(tmp_path, "b.gguf", "a.Q4_0.gguf", ".hidden.gguf", "notes.txt", "c.gguf.part")
    touch(tmp_path, "big-00001-of-00002.gguf", "big-00002-of-00002.gguf")
    (tmp_path / "folder.gguf").mkdir()
    models = registry(tmp_path)
    assert models.names() == ["a.Q4_0", "b", "big"]
    found = models.find("big")
    assert found is not None
    assert [path.name for path in found.paths] == [
        "big-00001-of-00002.gguf",
        "big-00002-of-00002.gguf",
    ]
    assert found.size() == 2


def test_a_link_to_nothing_is_a_model_without_a_file_and_capitals_are_told(
    tmp_path: Path,
) -> None:
    touch(tmp_path, "a.gguf", "UPPER.GGUF")
    (tmp_path / "away.gguf").symlink_to(tmp_path / "unmounted" / "away.gguf")
    (tmp_path / "round.gguf").symlink_to(tmp_path / "round.gguf")
    with capture_logs() as logged:
        models = registry(tmp_path)
        assert models.names() == ["a", "away", "round"]
    away = models.find("away")
    assert away is not None
    with pytest.raises(FileNotFoundError):
        away.identity()
    (line,) = logged
    assert "UPPER.GGUF" in line["problem"]
    assert "rename it to end in .gguf" in line["problem"]


def test_a_split_file_with_a_missing_part_has_its_name_and_no_identity(tmp_path: Path) -> None:
    touch(tmp_path, "big-00002-of-00003.gguf")
    found = registry(tmp_path).find("big")
    assert found is not None
    assert found.path.name == "big-00001-of-00003.gguf"
    assert found.size() == 0
    with pytest.raises(FileNotFoundError):
        found.identity()


def test_two_files_of_one_name_are_told_and_the_whole_one_wins(tmp_path: Path) -> None:
    touch(tmp_path, "m-00001-of-00001.gguf", "m.gguf")
    with capture_logs() as logged:
        found = registry(tmp_path).find("m")
    assert found is not None
    assert found.path.name == "m.gguf"
    assert [line["event"] for line in logged] == ["models folder"]


def test_the_folder_is_scanned_once_a_second_or_for_an_unknown_name(
    tmp_path: Path, clock: Clock
) -> None:
    models = registry(tmp_path, clock)
    assert models.names() == []
    touch(tmp_path, "new.gguf")
    assert models.names() == []
    assert models.find("new") is not None
    touch(tmp_path, "newer.gguf")
    (tmp_path / "new.gguf").unlink()
    assert models.names() == ["new"]
    clock.now = 1.0
    assert models.names() == ["newer"]


def test_tables_add_and_override(tmp_path: Path) -> None:
    touch(tmp_path, "here.gguf")
    elsewhere = ModelConfig(path=tmp_path / "other" / "file.gguf")
    models = registry(
        tmp_path, here=ModelConfig(load=True), there=elsewhere, missing=ModelConfig(ctxsize=9)
    )
    assert models.names() == ["here", "missing", "there"]
    here, there, missing = (models.find(name) for name in ("here", "there", "missing"))
    assert here is not None
    assert here.settings.load
    assert here.path == tmp_path / "here.gguf"
    assert there is not None
    assert there.path == elsewhere.path
    assert missing is not None
    assert missing.path == tmp_path / "missing.gguf"


def test_a_missing_folder_is_empty_and_told_once(tmp_path: Path, clock: Clock) -> None:
    with capture_logs() as logged:
        models = registry(tmp_path / "none", clock)
        assert models.names() == []
        clock.now = 5.0
        assert models.find("x") is None
    assert len(logged) == 1
    (tmp_path / "none").mkdir()
    touch(tmp_path / "none", "x.gguf")
    assert models.find("x") is not None


def test_a_name_that_cannot_be_spelled_is_told(tmp_path: Path) -> None:
    (tmp_path / "bad\nname.gguf").write_bytes(b"")
    bytes_name = bytes(tmp_path) + b"/bad\xff.gguf"
    with open(bytes_name, "wb"):
        pass
    with capture_logs() as logged:
        assert registry(tmp_path).names() == []
    assert len(logged) == 2


def test_an_identity_changes_with_the_file(tmp_path: Path) -> None:
    touch(tmp_path, "m.gguf")
    found = registry(tmp_path).find("m")
    assert found is not None
    before = found.identity()
    (tmp_path / "copy").write_bytes(b"x")
    (tmp_path / "copy").rename(tmp_path / "m.gguf")
    assert found.identity() != before


@pytest.mark.parametrize("name", ["plain", "x-1-of-2", "x-00001-of-00000", "-00001-of-00002"])
def test_what_is_no_part_stands_for_itself(name: str) -> None:
    path = Path(f"/m/{name}.gguf")
    assert parts_of(path) == (path,)
