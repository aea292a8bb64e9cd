"""Sessions: who is logged in, with which contexts, over which connections.

A session does not end with its connection. Rules (the contract's section 6):
- The token (STOK) is 256 random bits; only its SHA-256 is kept.
- A connection that names the session is attached to it. When the last one is lost, a run under
  way is orphaned `orphan_grace` seconds later, and the session ends after `session_idle`.
- An attached session ends after `session_attached` seconds without a request. A waiting request
  or a run puts the end off.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Iterable, Iterator
from typing import Protocol

from infd.accounts.user import User
from infd.config import Config
from infd.contexts.context import Context
from infd_protocol.errors import InfContextIdMismatch, InfMaximumClients

STOK_BYTES = 32


class Attachment(Protocol):
    """A connection, as far as sessions know one."""

    sessions: set[Session]
    waiting: int


def stok_digest(stok: str) -> bytes:
    return hashlib.sha256(stok.encode("utf-8", "surrogatepass")).digest()


class Session:
    """One login. Contexts are private to it; their ids count from 1 and are never reused."""

    def __init__(self, registry: Sessions, username: str, digest: bytes, address: str) -> None:
        self.username = username
        self.digest = digest
        self.address = address
        self.label = digest.hex()[:8]
        self.contexts: dict[int, Context] = {}
        self.connections: set[Attachment] = set()
        self.ended = False
        self._registry = registry
        self._loop = asyncio.get_running_loop()
        self.created = self.last_request = self._loop.time()
        self.detached_at: float | None = self.created
        self._next_ctxid = 1
        self._orphan_timer: asyncio.TimerHandle | None = None
        self._end_timer: asyncio.TimerHandle | None = None

    def next_ctxid(self) -> int:
        ctxid = self._next_ctxid
        self._next_ctxid += 1
        return ctxid

    def context(self, ctxid: int) -> Context:
        """Raises InfContextIdMismatch."""
        context = self.contexts.get(ctxid)
        if context is None:
            raise InfContextIdMismatch(f"CTXID: this session has no context {ctxid}.")
        return context

    # --- connections -----------------------------------------------------------------------

    def attach(self, connection: Attachment) -> None:
        """A request of this connection named the session."""
        self.last_request = self._loop.time()
        if connection in self.connections:
            return
        self.connections.add(connection)
        connection.sessions.add(self)
        self.detached_at = None
        self._cancel_timers()
        self._end_at(self.last_request + self._registry.config.session_attached)

    def detach(self, connection: Attachment) -> None:
        """The connection is lost."""
        self.connections.discard(connection)
        connection.sessions.discard(self)
        if self.connections or self.ended:
            return
        self.detached_at = self._loop.time()
        self._cancel_timers()
        config = self._registry.config
        self._orphan_timer = self._loop.call_later(config.orphan_grace, self._orphan)
        self._end_at(self.detached_at + config.session_idle)

    def _orphan(self) -> None:
        for context in self.contexts.values():
            if context.busy:
                context.orphan()

    def _end_at(self, when: float) -> None:
        self._end_timer = self._loop.call_at(when, self._end_if_idle)

    def _end_if_idle(self) -> None:
        now = self._loop.time()
        config = self._registry.config
        if self.detached_at is None:
            due = self.last_request + config.session_attached
        else:
            due = self.detached_at + config.session_idle
        kept = any(c.busy for c in self.contexts.values()) or any(
            c.waiting for c in self.connections
        )
        if now < due:
            self._end_at(due)
        elif kept:
            # Looked at again after a further idle time rather than polled; a run ends by itself.
            self._end_at(now + min(config.session_idle, config.session_attached, 60.0))
        else:
            self._registry.end_soon(self, "The session was idle for too long.")

    def _cancel_timers(self) -> None:
        for timer in (self._orphan_timer, self._end_timer):
            if timer is not None:
                timer.cancel()
        self._orphan_timer = self._end_timer = None

    async def end(self, reason: str) -> None:
        """End it with its contexts; their memory is free when this returns. Use `Sessions.end`."""
        self.ended = True
        self._cancel_timers()
        for connection in list(self.connections):
            connection.sessions.discard(self)
        self.connections.clear()
        contexts = list(self.contexts.values())
        self.contexts.clear()
        await asyncio.gather(*(context.close(reason) for context in contexts))


class Sessions:
    """All live sessions."""

    def __init__(self, config: Config) -> None:
        self.config = config
        self._by_digest: dict[bytes, Session] = {}
        self._by_user: dict[str, dict[Session, None]] = {}
        """Each user's, oldest first."""
        self._ending: dict[asyncio.Task[None], str] = {}

    def __len__(self) -> int:
        return len(self._by_digest)

    def __iter__(self) -> Iterator[Session]:
        return iter(list(self._by_digest.values()))

    def create(self, user: User, address: str = "") -> tuple[Session, str]:
        """A new session and its token. One that the user has left behind, with no connection and
        no context, gives way to it. Raises InfMaximumClients."""
        mine = self._by_user.get(user.username, {})
        if len(mine) >= self.config.max_sessions_per_user:
            left = next((s for s in self.detached() if s in mine and not s.contexts), None)
            if left is None:
                raise InfMaximumClients(
                    f"User {user.username} has {len(mine)} sessions already, each with a "
                    f"connection or a context; end one first."
                )
            self.end_soon(left, "The session gave way to a new one.")
        if len(self._by_digest) >= self.config.max_sessions:
            raise InfMaximumClients(f"The daemon has {len(self)} sessions already; try later.")
        stok = secrets.token_urlsafe(STOK_BYTES)
        session = Session(self, user.username, stok_digest(stok), address)
        self._by_digest[session.digest] = session
        self._by_user.setdefault(user.username, {})[session] = None
        return session, stok

    def find(self, stok: str) -> Session | None:
        """The live session of this token."""
        return self._by_digest.get(stok_digest(stok))

    def of_user(self, username: str) -> list[Session]:
        """A user's sessions, oldest first."""
        return list(self._by_user.get(username, ()))

    def contexts_of(self, username: str) -> list[Context]:
        """All contexts of a user, in all of its sessions."""
        return [c for s in self._by_user.get(username, ()) for c in s.contexts.values()]

    def detached(self) -> Iterable[Session]:
        """Sessions without a connection, the longest without one first."""
        lonely = (s for s in self._by_digest.values() if s.detached_at is not None)
        return sorted(lonely, key=lambda session: session.detached_at or 0.0)

    async def end(self, session: Session, reason: str) -> None:
        """End a session. It is unknown at once; its memory is free when this returns."""
        await asyncio.shield(self.end_soon(session, reason))

    def end_soon(self, session: Session, reason: str) -> asyncio.Task[None]:
        """As `end`, without waiting: unknown at once, freed beside."""
        if self._by_digest.pop(session.digest, None) is not None:
            mine = self._by_user[session.username]
            mine.pop(session, None)
            if not mine:
                del self._by_user[session.username]
        session.ended = True
        task = asyncio.get_running_loop().create_task(session.end(reason))
        self._ending[task] = session.username
        task.add_done_callback(self._ending.pop)
        return task

    async def freed(self, username: str) -> None:
        """Wait until the user's sessions that have ended have given back their memory."""
        ending = [task for task, of in self._ending.items() if of == username]
        if ending:
            await asyncio.wait(ending)

    async def close(self, reason: str) -> None:
        """End every session."""
        await asyncio.gather(*(self.end(session, reason) for session in self))
        if self._ending:
            await asyncio.wait(self._ending)
