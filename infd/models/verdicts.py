"""What trying out model files has shown, kept in STATE/probes.json.

A verdict holds for one file, unchanged (path, sizes, times, inodes), and one build of llama.cpp on
one kind of processor; otherwise it counts as none. Only what a subprocess died of and what it got
through are kept: a file that llama.cpp merely refuses is asked again, it costs little.

The cache may be lost or damaged without harm: then files are tried out again.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.util
import json
import os
import platform
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import structlog

from infd.models.registry import Identity, ModelFile

FILE_NAME = "probes.json"
MAX_VERDICTS = 4096
"""Beyond, the oldest are forgotten: somebody may be generating files."""

_log = structlog.get_logger("infd.models")


@dataclass(frozen=True, slots=True)
class Verdict:
    """`extra_bufts`: how the file can be loaded. `crash`: what both ways died of, if they did."""

    extra_bufts: bool
    crash: str = ""


class Verdicts:
    """The cache. Read once, written whole after each change."""

    def __init__(self, folder: Path, build: str | None = None) -> None:
        self._file = folder / FILE_NAME
        self._build = build or library_build()
        self._entries = self._read()

    def get(self, model: ModelFile, identity: Identity) -> Verdict | None:
        """The verdict on the file of this identity, asked for with the model's settings."""
        entry = self._entries.get(_key(model))
        if entry is None or entry["identity"] != self._identity(identity):
            return None
        return Verdict(**entry["verdict"])

    def put(self, model: ModelFile, identity: Identity, verdict: Verdict) -> None:
        """Keep a verdict; on disk when this returns, unless the disk refuses (the log says so)."""
        key = _key(model)
        self._entries.pop(key, None)
        self._entries[key] = {"identity": self._identity(identity), "verdict": asdict(verdict)}
        for oldest in list(self._entries)[:-MAX_VERDICTS]:
            del self._entries[oldest]
        partial = self._file.with_suffix(".part")
        try:
            with partial.open("w") as file:
                json.dump(self._entries, file)
                file.flush()
                os.fsync(file.fileno())
            partial.replace(self._file)
        except OSError as error:
            with contextlib.suppress(OSError):
                partial.unlink()
            _log.warning("probe results are not kept", file=str(self._file), problem=str(error))

    def _identity(self, identity: Identity) -> list[Any]:
        return [self._build, *(list(part) for part in identity)]

    def _read(self) -> dict[str, dict[str, Any]]:
        try:
            entries = json.loads(self._file.read_bytes())
            for entry in entries.values():
                Verdict(**entry["verdict"])
                entry["identity"]
        except FileNotFoundError:
            return {}
        except (
            OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError
        ) as error:  # fmt: skip
            _log.warning("probe results are unreadable", file=str(self._file), problem=str(error))
            return {}
        return dict(entries)


def _key(model: ModelFile) -> str:
    path = os.fsencode(model.path.absolute()).decode("utf-8", "replace")
    return f"{int(model.settings.extra_bufts)}:{path}"


@cache
def library_build() -> str:
    """A digest of llama.cpp's libraries (names, sizes, times) and of the processor's kind.

    The version alone does not tell one build from another made with other flags.
    """
    digest = hashlib.sha256(platform.machine().encode())
    found = importlib.util.find_spec("llama_cpp")
    for folder in (found.submodule_search_locations or ()) if found else ():
        for library in sorted((Path(folder) / "lib").glob("*.so*")):
            stat = library.stat()
            digest.update(f"{library.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    with contextlib.suppress(OSError):
        first = Path("/proc/cpuinfo").read_text().split("\n\n", 1)[0]
        lines = [line for line in first.splitlines() if line.startswith(("model name", "flags"))]
        digest.update("\n".join(lines).encode())
    return digest.hexdigest()[:16]
