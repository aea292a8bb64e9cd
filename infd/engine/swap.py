"""KVs of contexts that nobody uses, on disk until the next run.

Rules: the folder is the daemon's alone (mode 0700, files 0600), and its contents live no longer
than the daemon: contexts don't either, so what one that was killed left is deleted by the next.
A name says nothing, and no name is used twice. All files together take at most `limit` bytes, and
the last of the disk is left to those who need it more: accounts are on the same one.
What cannot be saved or read again is computed again from the conversation: a line in the log.
While a KV is saved or brought back it is in memory twice.

Used from every engine's thread; nothing is read or written under the lock.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from infd.engine.snapshot import Snapshot, SnapshotError, read, write

if TYPE_CHECKING:
    from infd.engine.reuse import Holder
    from infd.engine.state import EngineState

_log = structlog.get_logger("infd.engine.swap")

LEFT_FREE = 256 * 1024 * 1024
"""Bytes of the disk that are never used."""
_NAME_BYTES = 16
# Of what is deleted at the start, so that nothing else that was put there is lost; ".part" is
# snapshot.write's.
_NAME = re.compile(rf"[0-9a-f]{{{2 * _NAME_BYTES}}}(\.part)?")
# More than a file's head and checksum.
_AROUND = 1024


class SwapFolder:
    """The folder at `path`; files in it take up to `limit` bytes together."""

    def __init__(self, path: Path, limit: int) -> None:
        self.path = path
        self.limit = limit
        self._lock = threading.Lock()
        self._used = 0

    def open(self) -> None:
        """Make the folder, and delete the files that another daemon left in it. A folder that
        cannot be made is a warning: then nothing can be saved, each save says so again."""
        try:
            self.path.mkdir(mode=0o700, exist_ok=True)
            self.path.chmod(0o700)
            for left in self.path.iterdir():
                if _NAME.fullmatch(left.name):
                    self._delete(left)
        except OSError as error:
            _log.warning("contexts cannot be saved", folder=str(self.path),
                         problem=error.strerror or str(error))  # fmt: skip

    def _delete(self, left: Path) -> None:
        try:
            left.unlink()
        except OSError as error:
            # The others are deleted all the same.
            _log.warning("a saved context stays on disk", file=str(left),
                         problem=error.strerror or str(error))  # fmt: skip

    @property
    def used(self) -> int:
        """Bytes that the files take together."""
        return self._used

    def save(self, snapshot: Snapshot, key: str) -> Away:
        """Write it to a file of its own. Raises SnapshotError: no room, or not writable."""
        size = snapshot.size + _AROUND
        with self._lock:
            if self._used + size > self.limit:
                raise SnapshotError(f"swap_disk is used up: {self._used} of {self.limit} bytes")
            self._used += size
        try:
            self._check_disk(size)
            path = self.path / secrets.token_hex(_NAME_BYTES)
            write(path, snapshot, key)
        except BaseException:
            self._free(size)
            raise
        return Away(self, path, size, len(snapshot.tokens), key)

    def _check_disk(self, size: int) -> None:
        try:
            disk = os.statvfs(self.path)
        except OSError as error:
            raise SnapshotError(f"{self.path} cannot be used: {error.strerror}") from None
        if disk.f_bavail * disk.f_frsize < size + LEFT_FREE:
            raise SnapshotError(f"the disk of {self.path} is nearly full")

    def _free(self, size: int) -> None:
        with self._lock:
            self._used -= size


class Away:
    """A KV on disk: `tokens` of them. Whoever has it discards it."""

    def __init__(self, folder: SwapFolder, path: Path, size: int, tokens: int, key: str) -> None:
        self.tokens = tokens
        self.path = path
        self._folder = folder
        self._size = size
        self._key = key
        self._fetched: Snapshot | None = None

    def fetch(self) -> None:
        """Read it now, so that `load` need not: for those whose thread others wait for."""
        with suppress(SnapshotError):  # which `load` says again
            self._fetched = read(self.path, self._key)

    def let_go(self) -> None:
        """What `fetch` read is not needed now; the file stays. From any thread."""
        self._fetched = None

    @property
    def fetched(self) -> bool:
        """Whether what is on disk is in memory too."""
        return self._fetched is not None

    def load(self, key: str) -> Snapshot:
        """What was saved. Raises SnapshotError: see snapshot.read."""
        fetched = self._fetched
        return read(self.path, key) if fetched is None or key != self._key else fetched

    def discard(self) -> None:
        """Delete the file; twice is harmless."""
        size, self._size = self._size, 0
        with suppress(OSError):
            self.path.unlink()
        self._folder._free(size)


def save(
    folder: SwapFolder | None, take: Callable[[], Snapshot | None], key: str, *, unsaved: bool
) -> tuple[bool, Away | None]:
    """Save what `take` gives, which may be nothing: whether its memory may be freed, and the file.

    What cannot be saved may be freed, and is lost, with `unsaved` only.
    """
    try:
        snapshot = take()
        if snapshot is None:
            return True, None
        if folder is None:
            raise SnapshotError("there is no folder for it")
        return True, folder.save(snapshot, key)
    except SnapshotError as error:
        _log.warning("a context was not saved", problem=str(error), freed=unsaved)
        return unsaved, None


def bring_back(state: EngineState, holder: Holder, key: str) -> None:
    """Let a context hold again what was put away; where that fails it holds nothing."""
    away = state.away
    if away is None:
        return
    try:
        if not holder.restore(away.load(key)):
            raise SnapshotError("llama.cpp refused it")
    except SnapshotError as error:
        _log.warning("a context was not restored; it is computed again", problem=str(error))
