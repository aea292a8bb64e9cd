"""Which models there are: the *.gguf files of the models folder and the `[models.NAME]` tables.

Rules:
- A model's name is its file's stem. The parts of a split file (`NAME-00001-of-00003.gguf`) are
  one model, NAME. Hidden files and subfolders are not looked at. A link that leads nowhere is
  a model that cannot be used.
- A table overrides the folder; one without a path speaks of the folder's file.
- The folder is looked at again when it was not for a second, or when a name is not known.
- A missing folder is an empty one. What is wrong with the folder is told once, to `tell` if it is
  given, else to the log.

Nothing is opened here: a name may stand for a file that is no model.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from infd.config import Config, ModelConfig

SCAN_SECONDS = 1.0
_PART = re.compile(r"(?P<name>.+)-(?P<number>\d{5})-of-(?P<of>\d{5})\Z")
_DEFAULTS = ModelConfig()

_log = structlog.get_logger("infd.models")


def _log_problem(problem: str) -> None:
    _log.warning("models folder", problem=problem)


Identity = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A name and the files it stands for; `paths[0]` is what llama.cpp is given."""

    name: str
    paths: tuple[Path, ...]
    settings: ModelConfig = _DEFAULTS

    @property
    def path(self) -> Path:
        return self.paths[0]

    def identity(self) -> Identity:
        """What changes when a file is changed or replaced. Raises OSError if one is missing."""
        stats = [path.stat() for path in self.paths]
        return tuple((s.st_size, s.st_mtime_ns, s.st_ino, s.st_dev) for s in stats)

    def size(self) -> int:
        """Bytes of all parts, 0 if one cannot be looked at."""
        try:
            return sum(path.stat().st_size for path in self.paths)
        except OSError:
            return 0


class Registry:
    """The models by name. `clock` gives seconds and only goes forward; `tell` gets a line for
    people about each thing that is wrong with the folder."""

    def __init__(
        self,
        config: Config,
        *,
        clock: Callable[[], float] = time.monotonic,
        tell: Callable[[str], None] = _log_problem,
    ) -> None:
        self._folder = config.models_folder
        # What is said for all models holds where a table does not say otherwise.
        self._plain = ModelConfig(placement=config.placement)
        self._tables = {
            name: replace(table, placement=table.placement or config.placement)
            for name, table in config.models.items()
        }
        self._clock = clock
        self._tell = tell
        self._scanned_at: float | None = None
        self._models: dict[str, ModelFile] = {}
        self._complaints: set[str] = set()

    def names(self) -> list[str]:
        """Every name, sorted."""
        self._refresh()
        return sorted(self._models)

    def find(self, name: str) -> ModelFile | None:
        """The model of this name."""
        self._refresh()
        if name not in self._models:
            self._scan()
        return self._models.get(name)

    def _refresh(self) -> None:
        if self._scanned_at is None or self._clock() - self._scanned_at >= SCAN_SECONDS:
            self._scan()

    def _scan(self) -> None:
        self._scanned_at = self._clock()
        found = {model.name: model for model in self._in_folder()}
        for name, table in self._tables.items():
            here = found.get(name)
            if table.path is not None:
                paths = parts_of(table.path)
            elif here is not None:
                paths = here.paths
            else:
                paths = (self._folder / f"{name}.gguf",)
            found[name] = ModelFile(name, paths, table)
        self._models = found

    def _in_folder(self) -> Iterator[ModelFile]:
        try:
            with os.scandir(self._folder) as entries:
                files = sorted(
                    entry.name for entry in entries
                    if entry.name.lower().endswith(".gguf") and not entry.name.startswith(".")
                    and _is_file(entry.path)
                )  # fmt: skip
        except OSError as error:
            self._complain(
                f"{self._folder}: {error.strerror}; no models are found there: make it a folder "
                "that this user may read, or name another (models_folder in infd.toml)"
            )
            return
        seen: dict[str, str] = {}
        # Whole files first, so that NAME.gguf wins over the parts of another NAME.
        for file in sorted(files, key=lambda file: _PART.match(file[:-5]) is not None):
            part = _PART.match(file[:-5])
            name = part["name"] if part else file[:-5]
            if not file.endswith(".gguf"):
                self._complain(f"{file} in {self._folder}: no model; rename it to end in .gguf")
                continue
            if not name.isprintable():
                self._complain(f"{file!r} in {self._folder}: no name for a model; rename it")
                continue
            family = f"{name}/{part['of']}" if part else name
            if name not in seen:
                seen[name] = family
                yield ModelFile(name, parts_of(self._folder / file), self._plain)
            elif seen[name] != family:
                self._complain(f"{file} in {self._folder}: another file has the name {name!r}")

    def _complain(self, what: str) -> None:
        if what not in self._complaints:
            self._complaints.add(what)
            self._tell(what)


def _is_file(path: str) -> bool:
    """Also a link to nothing counts: its name is a model's, whose file then cannot be opened."""
    return os.path.isfile(path) or (os.path.islink(path) and not os.path.exists(path))


def parts_of(path: Path) -> tuple[Path, ...]:
    """All parts, the first one first, of the split file that `path` is a part of; or itself."""
    part = _PART.match(path.stem)
    if part is None or not 1 <= int(part["of"]) <= 4096:
        return (path,)
    count = int(part["of"])
    return tuple(
        path.with_name(f"{part['name']}-{number:05d}-of-{count:05d}{path.suffix}")
        for number in range(1, count + 1)
    )
