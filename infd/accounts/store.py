"""The users on disk: SQLite, and what makes an answered change survive a crash.

Rules:
- WAL with synchronous=FULL: a method that changes something returns after fsync, or raises
  `StoreError` and has changed nothing.
- The state folder is 0700, its files 0600, and one process holds it: an exclusive lock on the
  file `lock`, taken before anything else is opened and held until `close`.
- secure_delete and a truncating checkpoint after a deletion: what is deleted is gone.
- Every error that a person can meet is a `StoreError`: one line, which file, what to do.

Synchronous; used from one thread at a time.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from infd.accounts.hashing import TokenHash
from infd.accounts.migrations import NewerSchema, migrate
from infd.accounts.user import SAMPLING_KEYS, User

DATABASE = "users.db"
LOCK = "lock"


class StoreError(Exception):
    """The store cannot be opened or written; the text is one line for a person."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user with the hash of its access token."""

    user: User
    token: TokenHash


class Store:
    """The opened state folder."""

    def __init__(self, folder: Path, lock: int, db: sqlite3.Connection) -> None:
        self._folder = folder
        self._lock = lock
        self._db: sqlite3.Connection | None = db

    @classmethod
    def open(cls, folder: Path, *, create: bool = False) -> Store:
        """Lock and open the state folder; with `create`, make what is missing.

        StoreError if it is in use, missing (without `create`), damaged, from a later version,
        or not writable.
        """
        path = folder / DATABASE
        if not create and not _is_there(path):
            if _is_there(folder) and not folder.is_dir():
                raise StoreError(_no_folder(folder))
            raise StoreError(
                f"{folder}: holds no infd state; make it with: infd init --state {folder}"
            )
        if not create and path.stat().st_size == 0:
            raise StoreError(
                f"{path} is empty: restore it from a backup, or begin anew with: "
                f"infd init --state {folder}"
            )
        _make_folder(folder, create=create)
        lock = _take_lock(folder)
        try:
            with _plainly(path):
                os.close(_open_file(path))
                db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
                try:
                    _prepare(db)
                except BaseException:
                    db.close()
                    raise
                _sync_folder(folder)
        except BaseException:
            os.close(lock)
            raise
        return cls(folder, lock, db)

    @property
    def folder(self) -> Path:
        """The state folder."""
        return self._folder

    def announce(self, address: str) -> None:
        """Tell the commands that find the folder in use where it is served (`serving`)."""
        # Without it, say on a full disk, they go where the configuration says.
        with contextlib.suppress(OSError):
            os.ftruncate(self._lock, 0)
            os.pwrite(self._lock, address.encode(), 0)

    def load(self) -> dict[str, Account]:
        """Every account by user name, in the order of the names."""
        db = self._opened()
        with _plainly(self._folder / DATABASE):
            flags = _grouped(db.execute("SELECT username, flag FROM flags"))
            models = _grouped(db.execute("SELECT username, model FROM models ORDER BY place"))
            sampling: dict[str, dict[str, int | float | bool]] = {}
            for name, key, value in db.execute("SELECT username, key, value FROM sampling"):
                sampling.setdefault(name, {})[key] = SAMPLING_KEYS[key](value)
            accounts: dict[str, Account] = {}
            for row in db.execute("SELECT * FROM users ORDER BY username"):
                name = row[0]
                user = User(
                    name,
                    acclimit=row[1],
                    ctxlength=row[2],
                    batch_set=row[3],
                    max_proc_threads=row[4],
                    proc_threads=row[5],
                    flags=frozenset(flags.get(name, ())),
                    is_super=bool(row[6]),
                    is_static=bool(row[7]),
                    models=tuple(models.get(name, ())),
                    sampling=sampling.get(name, {}),
                    system_prompt=row[8],
                    revision=row[9],
                )
                accounts[name] = Account(user, TokenHash(*row[10:]))
        return accounts

    def save(self, account: Account) -> None:
        """Write the account, new or changed, whole; durable on return."""
        user, token = account.user, account.token
        with self._transaction() as db:
            db.execute("DELETE FROM users WHERE username = ?", (user.username,))
            db.execute(
                f"INSERT INTO users VALUES ({', '.join('?' * 15)})",
                (
                    user.username,
                    user.acclimit,
                    user.ctxlength,
                    user.batch_set,
                    user.max_proc_threads,
                    user.proc_threads,
                    int(user.is_super),
                    int(user.is_static),
                    user.system_prompt,
                    user.revision,
                    token.salt,
                    token.digest,
                    token.n,
                    token.r,
                    token.p,
                ),
            )
            db.executemany(
                "INSERT INTO flags VALUES (?, ?)",
                [(user.username, flag) for flag in sorted(user.flags)],
            )
            db.executemany(
                "INSERT INTO models VALUES (?, ?, ?)",
                [(user.username, place, name) for place, name in enumerate(user.models)],
            )
            db.executemany(
                "INSERT INTO sampling VALUES (?, ?, ?)",
                [(user.username, key, value) for key, value in user.sampling.items()],
            )

    def delete(self, username: str) -> None:
        """Remove the account and all that belongs to it; durable on return."""
        with self._transaction() as db:
            db.execute("DELETE FROM users WHERE username = ?", (username,))
        # The deletion stands already; emptying the log only takes old copies off the disk.
        with contextlib.suppress(sqlite3.Error):
            self._opened().execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()

    def close(self) -> None:
        """Close the database and release the folder; again: nothing."""
        if self._db is None:
            return
        db, self._db = self._db, None
        # A log that could not be folded into the database is read at the next start.
        with contextlib.suppress(sqlite3.Error):
            db.close()
        os.close(self._lock)

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            raise StoreError(f"{self._folder}: is closed; the daemon is shutting down")
        return self._db

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        db = self._opened()
        with _plainly(self._folder / DATABASE):
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back already after some errors (a full disk).
                with contextlib.suppress(sqlite3.Error):
                    if db.in_transaction:
                        db.execute("ROLLBACK")
                raise


def _grouped(rows: sqlite3.Cursor) -> dict[str, list[str]]:
    groups: dict[str, list[str]] = {}
    for name, value in rows:
        groups.setdefault(name, []).append(value)
    return groups


def _prepare(db: sqlite3.Connection) -> None:
    # EXCLUSIVE before WAL: the index of the log lives in memory, and no other program writes
    # beside us. Ours is the only connection anyway.
    db.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
    db.execute("PRAGMA journal_mode = WAL").fetchall()
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    db.execute("PRAGMA secure_delete = ON").fetchall()
    (verdict,) = db.execute("PRAGMA quick_check(1)").fetchone()
    if verdict != "ok":
        raise sqlite3.DatabaseError(verdict)
    migrate(db)


@contextmanager
def _plainly(path: Path) -> Iterator[None]:
    """Errors of SQLite and the file system as StoreError."""
    try:
        yield
    except NewerSchema as error:
        raise StoreError(
            f"{path}: was written by a later version of infd (schema {error.found}, this one "
            f"knows {error.known}); use that version"
        ) from error
    except sqlite3.OperationalError as error:
        raise StoreError(
            f"{path}: cannot be written ({error}); see that the disk has room and that this user "
            f"may write the folder and the files in it"
        ) from error
    except (sqlite3.DatabaseError, KeyError) as error:
        raise StoreError(
            f"{path}: is damaged or no store of infd ({error}); restore it from a backup"
        ) from error
    except OSError as error:
        raise _unusable(path, error) from error


def _no_folder(path: Path) -> str:
    return f"{path}: is no folder; name another with --state"


def _unusable(path: Path, error: OSError) -> StoreError:
    may = "write the folder"
    if os.path.isfile(path):  # False where the folder is the obstacle
        may = f"read and write the file, which belongs to {_owner(path)}"
    return StoreError(
        f"{path}: {error.strerror or error}; see that this user may {may}, or name another folder "
        f"with --state"
    )


def _owner(path: Path) -> str:
    try:
        return path.owner()
    except (KeyError, OSError):
        return "another user"


def _make_folder(folder: Path, *, create: bool) -> None:
    try:
        if create:
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError):
                raise StoreError(_no_folder(_file_in_the_way(folder))) from None
        found = folder.stat()
        if found.st_mode & stat.S_IWOTH:
            raise StoreError(
                f"{folder}: everybody may write there; name a folder of its own with --state"
            )
        if found.st_mode & 0o077 and os.geteuid() in (0, found.st_uid):
            folder.chmod(0o700)
    except OSError as error:
        raise _unusable(folder, error) from error


def _file_in_the_way(folder: Path) -> Path:
    """What should be a folder and is none: `folder` itself, or one that it would lie in."""
    ways = [folder, *folder.parents]
    return next((way for way in ways if way.exists() and not way.is_dir()), folder)


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise _unusable(path, error) from error


def _open_file(path: Path) -> int:
    """A descriptor of a file of the folder, 0600, made if missing; owned as the folder is.

    An administrator who edits the store as root must not leave files that the daemon's user
    cannot open.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.fchown(descriptor, owner.st_uid, owner.st_gid)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _take_lock(folder: Path) -> int:
    try:
        lock = _open_file(folder / LOCK)
    except OSError as error:
        raise _unusable(folder / LOCK, error) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if not isinstance(error, BlockingIOError):
            raise _unusable(folder / LOCK, error) from error
        raise StoreError(
            f"{folder}: is in use by another infd, which may be about to end (it lets replies end "
            f"first): stop that one or wait, or name another folder with --state"
        ) from None
    # Where an earlier one served.
    with contextlib.suppress(OSError):
        os.ftruncate(lock, 0)
    return lock


def serving(folder: Path) -> str | None:
    """Where the daemon that holds the state folder serves; None: nobody holds it, or it cannot be
    told. Empty: a daemon that does not serve yet, or another command."""
    try:
        descriptor = os.open(folder / LOCK, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return os.pread(descriptor, 1024, 0).decode("utf-8", "replace").strip()
    finally:
        os.close(descriptor)
    return None


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
