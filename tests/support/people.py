"""Users made over the wire for tests, with names of their own."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

from support.daemon import Daemon
from support.raw_client import RawClient

from infd_protocol.operations import OPERATIONS, SUPERUSER

LIMIT_OPERATIONS = {
    "ACCLIMIT": "model_access_limit",
    "CTXLENGTH": "maximum_context_length",
    "BATCH_SET": "batch_size",
    "MAX_PROC_THREADS": "max_processor_thread_count",
    "PROC_THREADS": "processor_thread_count",
}
LIMITS = list(LIMIT_OPERATIONS)
PLAIN: dict[str, Any] = {**dict.fromkeys(LIMITS, 1), "AUTHFLAGS": []}
FLAGS = {row.flag for row in OPERATIONS.values()} - {SUPERUSER, None}
TOKEN = "correct horse"
_numbers = itertools.count(1)


@dataclass
class Person:
    """A user of `daemon` and its access token."""

    daemon: Daemon
    username: str
    token: str = TOKEN

    def enter(self) -> RawClient:
        """A connection with a session of this user."""
        return RawClient(self.daemon).login(self.username, self.token)


class People:
    """Makes users; `root` is the superuser's connection."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.root = RawClient(daemon).login("admin", daemon.admin)
        self._static: Person | None = None

    def __enter__(self) -> People:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.root.close()

    def name(self) -> str:
        """A name that nobody has."""
        return f"user-{next(_numbers)}"

    def user(
        self, *flags: str, limits: int = 1, models: tuple[str, ...] = (), **keys: Any
    ) -> Person:
        """A new user with these flags; every limit is `limits` unless `keys` say otherwise."""
        given = PLAIN | dict.fromkeys(LIMITS, limits) | {"AUTHFLAGS": list(flags)} | keys
        data = given.pop("prompt", None)
        name = self.name()
        self.root.ok("inf_create_new_user", data, USERNAME=name, ACCTOK=TOKEN, **given)
        if models:
            self.root.ok("inf_modify_user_accept_models", USERNAME=name, MODEL=list(models))
        return Person(self.daemon, name)

    @property
    def static(self) -> Person:
        """A static user."""
        if self._static is None:
            self._static = self.user(ISSTATIC=1)
        return self._static

    def enter(self, username: str, token: str) -> RawClient:
        return RawClient(self.daemon).login(username, token)
