"""The store's schema, as a list of steps from one version to the next.

Rules: step i (from 0) leads from version i to version i + 1, in one transaction together with
the version number; a step that was released is never edited. A store that is newer than the
last step known here is refused: it belongs to a later infd.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

Step = Sequence[str]

MIGRATIONS: Sequence[Step] = (
    (
        """
        CREATE TABLE users (
            username         TEXT PRIMARY KEY,
            acclimit         INTEGER NOT NULL,
            ctxlength        INTEGER NOT NULL,
            batch_set        INTEGER NOT NULL,
            max_proc_threads INTEGER NOT NULL,
            proc_threads     INTEGER NOT NULL,
            is_super         INTEGER NOT NULL CHECK (is_super IN (0, 1)),
            is_static        INTEGER NOT NULL CHECK (is_static IN (0, 1)),
            system_prompt    TEXT NOT NULL,
            revision         INTEGER NOT NULL,
            token_salt       BLOB NOT NULL,
            token_digest     BLOB NOT NULL,
            scrypt_n         INTEGER NOT NULL,
            scrypt_r         INTEGER NOT NULL,
            scrypt_p         INTEGER NOT NULL
        ) STRICT
        """,
        """
        CREATE TABLE flags (
            username TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
            flag     TEXT NOT NULL,
            PRIMARY KEY (username, flag)
        ) STRICT
        """,
        """
        CREATE TABLE models (
            username TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
            place    INTEGER NOT NULL,
            model    TEXT NOT NULL,
            PRIMARY KEY (username, place)
        ) STRICT
        """,
        """
        CREATE TABLE sampling (
            username TEXT NOT NULL REFERENCES users ON DELETE CASCADE,
            key      TEXT NOT NULL,
            value    ANY NOT NULL,
            PRIMARY KEY (username, key)
        ) STRICT
        """,
    ),
)


class NewerSchema(Exception):
    """The store was written by a later version; `found` and `known` are schema versions."""

    def __init__(self, found: int, known: int) -> None:
        super().__init__(f"schema version {found}, this infd knows {known}")
        self.found = found
        self.known = known


def version(db: sqlite3.Connection) -> int:
    """The schema version; 0 for an empty file."""
    if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'schema_version'").fetchone():
        return 0
    row = db.execute("SELECT version FROM schema_version").fetchone()
    return int(row[0]) if row else 0


def migrate(db: sqlite3.Connection, steps: Sequence[Step] = MIGRATIONS) -> None:
    """Bring the schema to the last version; NewerSchema, and nothing changed, if it is beyond.

    `db` is in autocommit mode. A crash leaves the version before or after a step, never between.
    """
    found = version(db)
    if found > len(steps):
        raise NewerSchema(found, len(steps))
    for done, step in enumerate(steps[found:], start=found):
        db.execute("BEGIN IMMEDIATE")
        try:
            if done == 0:
                db.execute("CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT")
                db.execute("INSERT INTO schema_version VALUES (0)")
            for statement in step:
                db.execute(statement)
            db.execute("UPDATE schema_version SET version = ?", (done + 1,))
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise
