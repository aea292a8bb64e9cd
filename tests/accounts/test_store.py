"""The store: what survives, what is refused, and that errors are one line for people."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from infd.accounts.hashing import TokenHash
from infd.accounts.migrations import MIGRATIONS, NewerSchema, migrate, version
from infd.accounts.store import DATABASE, LOCK, Account, Store, StoreError
from infd.accounts.user import User

TOKEN = TokenHash(b"s" * 16, b"d" * 32)
ADA = User(
    "ada",
    acclimit=4294967295,
    ctxlength=4096,
    batch_set=256,
    max_proc_threads=4,
    proc_threads=2,
    flags=frozenset({"USER_CREATE_DELETE", "MODEL_LOAD_UNLOAD"}),
    is_static=True,
    models=("zebra", "aardvark"),
    sampling={"TOP_K": 40, "TEMP": 1.0, "REPEAT_LF": False, "REPEAT_EOT": True},
    system_prompt="Be brief.\0 And kind: \N{SNOWMAN}",
    revision=3,
)


def one_line(error: pytest.ExceptionInfo[StoreError], *needed: object) -> None:
    text = str(error.value)
    assert "\n" not in text
    for part in needed:
        assert str(part) in text


def test_an_account_comes_back_as_it_was(tmp_path: Path) -> None:
    store = Store.open(tmp_path / "state", create=True)
    boss = User("boss", is_super=True, revision=1)
    store.save(Account(ADA, TOKEN))
    store.save(Account(boss, TokenHash(b"t" * 16, b"e" * 32, n=1024, r=4, p=2)))
    store.close()
    loaded = Store.open(tmp_path / "state")
    accounts = loaded.load()
    loaded.close()
    assert list(accounts) == ["ada", "boss"]
    assert accounts["ada"] == Account(ADA, TOKEN)
    assert accounts["boss"].token.n == 1024
    kept = accounts["ada"].user.sampling
    assert [type(kept[key]) for key in ("TOP_K", "TEMP", "REPEAT_LF")] == [int, float, bool]


def test_saving_again_replaces_everything(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    store.save(Account(ADA, TOKEN))
    bare = User("ada", revision=4)
    store.save(Account(bare, TOKEN))
    assert store.load() == {"ada": Account(bare, TOKEN)}
    store.close()


def test_deleting_leaves_nothing_behind(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    secret = User("mallory", system_prompt="the secret prompt", models=("secret-model",))
    store.save(Account(secret, TOKEN))
    store.save(Account(ADA, TOKEN))
    store.delete("mallory")
    on_disk = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"mallory" not in on_disk
    assert b"secret" not in on_disk
    assert list(store.load()) == ["ada"]
    store.close()


def test_files_are_private(tmp_path: Path) -> None:
    folder = tmp_path / "new" / "state"
    before = os.umask(0)
    try:
        store = Store.open(folder, create=True)
        store.save(Account(ADA, TOKEN))
    finally:
        os.umask(before)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    files = list(folder.iterdir())
    assert {file.name for file in files} >= {DATABASE, LOCK, DATABASE + "-wal"}
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    store.close()


def test_a_folder_open_to_its_group_is_closed(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    Store.open(tmp_path, create=True).close()
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o700


def test_a_folder_that_everybody_writes_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    with pytest.raises(StoreError) as error:
        Store.open(tmp_path, create=True)
    one_line(error, tmp_path, "--state")
    assert list(tmp_path.iterdir()) == []


def test_the_folder_is_locked_while_open(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    with pytest.raises(StoreError) as error:
        Store.open(tmp_path)
    one_line(error, tmp_path, "in use")
    other = subprocess.run(
        [
            sys.executable,
            "-c",
            "import sys, pathlib; from infd.accounts.store import Store\n"
            "Store.open(pathlib.Path(sys.argv[1]))",
            str(tmp_path),
        ],
        capture_output=True,
        text=True,
    )
    assert other.returncode == 1
    last = other.stderr.splitlines()[-1]
    assert "in use by another infd, which may be about to end" in last
    store.close()
    store.close()
    Store.open(tmp_path).close()


def test_a_missing_state_is_named_with_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as error:
        Store.open(tmp_path / "nowhere")
    one_line(error, tmp_path / "nowhere", "infd init")
    assert not (tmp_path / "nowhere").exists()


def test_a_file_in_the_way_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "state").write_text("")
    for create in (True, False):
        with pytest.raises(StoreError) as error:
            Store.open(tmp_path / "state", create=create)
        one_line(error, tmp_path / "state")


@pytest.mark.parametrize("junk", [b"no database at all, but long enough" * 40, b"SQLite format 3"])
def test_a_damaged_file_is_refused(tmp_path: Path, junk: bytes) -> None:
    (tmp_path / DATABASE).write_bytes(junk)
    with pytest.raises(StoreError) as error:
        Store.open(tmp_path)
    one_line(error, tmp_path / DATABASE, "damaged")
    assert (tmp_path / DATABASE).read_bytes() == junk


def test_an_empty_file_is_no_store_but_one_may_be_begun_in_it(tmp_path: Path) -> None:
    (tmp_path / DATABASE).touch()
    with pytest.raises(StoreError) as error:
        Store.open(tmp_path)
    one_line(error, tmp_path / DATABASE, "empty")
    Store.open(tmp_path, create=True).close()
    Store.open(tmp_path).close()


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    store.close()
    with pytest.raises(StoreError) as error:
        store.save(Account(ADA, TOKEN))
    one_line(error, tmp_path, "closed")


def test_commits_wait_for_the_disk_itself(tmp_path: Path) -> None:
    # A killed process cannot show this: the system keeps what was written and not yet synced.
    store = Store.open(tmp_path, create=True)
    db = store._opened()
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA foreign_keys").fetchone() == (1,)
    store.close()


# Crashes

_KILLED = """
import pathlib, sys
from infd.accounts.hashing import TokenHash
from infd.accounts.store import Account, Store
from infd.accounts.user import User
store = Store.open(pathlib.Path(sys.argv[1]), create=True)
for number in range(1, 1000):
    name = f"user{number}"
    store.save(Account(User(name, revision=number), TokenHash(b"s" * 16, b"d" * 32)))
    if number % 3 == 0:
        store.delete(f"user{number - 1}")
    print("answered", number, flush=True)
    sys.stdin.readline()
"""


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    for stop_at in (1, 3, 20):
        folder = tmp_path / str(stop_at)
        with subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as child:
            assert child.stdout is not None
            assert child.stdin is not None
            for number in range(1, stop_at + 1):
                assert child.stdout.readline() == f"answered {number}\n"
                if number < stop_at:
                    child.stdin.write("\n")
                    child.stdin.flush()
            child.send_signal(signal.SIGKILL)
        assert child.returncode == -signal.SIGKILL
        store = Store.open(folder)
        gone = {n - 1 for n in range(3, stop_at + 1, 3)}
        assert set(store.load()) == {f"user{n}" for n in range(1, stop_at + 1) if n not in gone}
        store.close()


_FULL = """
import pathlib, resource, sys
from infd.accounts.hashing import TokenHash
from infd.accounts.store import Account, Store, StoreError
from infd.accounts.user import User
store = Store.open(pathlib.Path(sys.argv[1]), create=True)
token = TokenHash(b"s" * 16, b"d" * 32)
store.save(Account(User("kept", revision=1), token))
unlimited = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, unlimited[1]))
try:
    store.save(Account(User("kept", system_prompt="x" * 200_000, revision=2), token))
except StoreError as error:
    print(error)
assert store.load()["kept"].user == User("kept", revision=1)
resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)
store.save(Account(User("later", revision=3), token))
print("answered", flush=True)
import os, signal
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_disk_without_room_changes_nothing_and_heals(tmp_path: Path) -> None:
    child = subprocess.run(
        [sys.executable, "-c", _FULL, str(tmp_path)], capture_output=True, text=True
    )
    assert child.returncode == -signal.SIGKILL, child.stderr
    refusal, answered = child.stdout.splitlines()
    assert str(tmp_path / DATABASE) in refusal
    assert "room" in refusal
    assert answered == "answered"
    store = Store.open(tmp_path)
    users = {name: account.user for name, account in store.load().items()}
    store.close()
    assert users == {"kept": User("kept", revision=1), "later": User("later", revision=3)}


_READ_ONLY = """
import os, pathlib
from infd.accounts.store import Store, StoreError
if os.geteuid() == 0:
    # Root may write anything. The working directory stays reachable for whoever we become.
    os.setresgid(65534, 65534, 65534)
    os.setresuid(65534, 65534, 65534)
try:
    Store.open(pathlib.Path("."))
except StoreError as error:
    print(error)
"""


def test_a_folder_that_may_not_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    Store.open(folder, create=True).close()
    for file in folder.iterdir():
        file.chmod(0o444)
    folder.chmod(0o555)
    child = subprocess.run(
        [sys.executable, "-c", _READ_ONLY], capture_output=True, text=True, cwd=folder
    )
    folder.chmod(0o755)
    assert child.returncode == 0, child.stderr
    (line,) = child.stdout.splitlines()
    assert line.startswith(f"{LOCK}: Permission denied")
    assert "--state" in line


# Versions

STEP_2 = ("ALTER TABLE users ADD COLUMN note TEXT NOT NULL DEFAULT 'none'",)


def opened(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(path, isolation_level=None)


def test_a_store_is_brought_to_the_next_version(tmp_path: Path) -> None:
    store = Store.open(tmp_path, create=True)
    store.save(Account(ADA, TOKEN))
    store.close()
    db = opened(tmp_path / DATABASE)
    assert version(db) == len(MIGRATIONS)
    migrate(db, (*MIGRATIONS, STEP_2))
    assert version(db) == len(MIGRATIONS) + 1
    assert db.execute("SELECT username, note FROM users").fetchall() == [("ada", "none")]
    db.close()


def test_a_failing_step_leaves_the_version_before(tmp_path: Path) -> None:
    db = opened(tmp_path / "db")
    with pytest.raises(sqlite3.OperationalError):
        migrate(db, (*MIGRATIONS, (*STEP_2, "this is no SQL")))
    assert version(db) == len(MIGRATIONS)
    columns = [row[1] for row in db.execute("PRAGMA table_info(users)")]
    assert "note" not in columns
    db.close()


def test_a_newer_store_is_refused_untouched(tmp_path: Path) -> None:
    Store.open(tmp_path, create=True).close()
    db = opened(tmp_path / DATABASE)
    migrate(db, (*MIGRATIONS, STEP_2))
    with pytest.raises(NewerSchema):
        migrate(db)
    db.close()
    with pytest.raises(StoreError) as error:
        Store.open(tmp_path)
    one_line(error, tmp_path / DATABASE, "later version")


def test_tables_check_their_types(tmp_path: Path) -> None:
    db = opened(tmp_path / "db")
    migrate(db)
    with pytest.raises(sqlite3.IntegrityError):
        db.execute("UPDATE schema_version SET version = 'two'")
    db.close()
