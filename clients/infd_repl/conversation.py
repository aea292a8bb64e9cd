"""What the REPL talks with: a session, its contexts, the one that is used now.

A session that is gone (the daemon was started anew, or ended it) is opened again, and the
conversation begins anew.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from infd_client import (
    UNSET,
    Chat,
    Client,
    ClientError,
    InfContextIdMismatch,
    InfdError,
    InfSessionTokenMismatch,
    Timeout,
)
from infd_repl import access, models, problems

SOON = 1.0
"""Seconds that the toolbar's numbers are waited for when the person has pressed Ctrl-C."""


@dataclass
class Facts:
    """What the toolbar shows; kept, because drawing it must not wait for the daemon."""

    model: str = ""
    ctxid: int | None = None
    used: int = 0
    size: int = 0
    known: bool = True
    """Whether the context is there, or that there is none; after a lost connection neither is."""


class Conversation:
    """See the head of this module. `token` is kept to log in again."""

    def __init__(
        self, client: Client, username: str, token: str, *, system: str | None, size: int | None,
        sampling: dict[str, Any],
    ) -> None:  # fmt: skip
        self.client = client
        self.username = username
        self.system = system
        self.size = size
        self.sampling = sampling
        self.chats: dict[int, Chat] = {}
        self.sent: dict[int, str] = {}
        self.names: list[str] = []
        self.model: str | None = None
        self.facts = Facts()
        self.token = token
        self._current: int | None = None
        self._refused = ""
        """Why there is no context: what the daemon said, when it said so."""

    @property
    def current(self) -> int | None:
        """The id of the context in use."""
        return self._current

    @property
    def chat(self) -> Chat:
        """The chat that is used now. Raises ValueError when there is none."""
        if self._current is None:
            raise ValueError(self._without())
        return self.chats[self._current]

    def _without(self) -> str:
        """That there is no context, and how to get one."""
        if not self._refused:
            return "There is no context; a message makes one, or /model NAME."
        listed = "" if "/models" in self._refused else "/models lists the models, "
        return (
            f"There is no context: the last try on {self.model} was refused. {self._refused} "
            f"{listed}/model NAME takes another one; a message tries again."
        )

    def ready(self) -> Chat:
        """The chat that is used now, made if there is none. Raises as `begin` does."""
        return self.begin() if self._current is None else self.chat

    @property
    def last(self) -> str:
        """The last message sent in this chat, "" if none."""
        return self.sent.get(self._current or 0, "")

    def refresh_names(self) -> list[str]:
        """The accessible models; kept for completion."""
        self.names = models.accessible(self.client)
        return self.names

    def begin(self, model: str | None = None, size: int | None = None) -> Chat:
        """Make a context, and use it from now on. Raises what inf_create_context refuses."""
        name = model or self.model
        try:
            chat = self.client.chat(
                model=name, ctxsize=size or self.size, system=self.system, **self.sampling
            ).open()
        except InfdError as error:
            if self._current is None and name == self.model:
                self._refused = problems.detail(error, problems.REPL)
            raise
        self._refused = ""
        self.model = chat.model
        assert chat.ctxid is not None
        self.chats[chat.ctxid] = chat
        self._current = chat.ctxid
        self.refresh()
        return chat

    def use(self, ctxid: int) -> None:
        """Go on in another context. Raises ValueError if this REPL has none of that id."""
        if ctxid not in self.chats:
            known = ", ".join(map(str, self.chats)) or "none"
            raise ValueError(f"There is no context {ctxid} here; there are: {known}.")
        try:
            self.client.inf_get_context_status(ctxid=ctxid)
        except InfContextIdMismatch:
            self.forget(ctxid)
            raise ValueError(f"Context {ctxid} is gone; its model was unloaded.") from None
        self._current = ctxid
        self.model = self.chats[ctxid].model
        self.refresh()

    def drop(self, ctxid: int) -> None:
        """Free a context."""
        chat = self.chats.get(ctxid)
        if chat is None:
            raise ValueError(f"There is no context {ctxid} here.")
        self.forget(ctxid)
        chat.close()
        self.refresh()

    def forget(self, ctxid: int) -> None:
        """A context is gone already."""
        self.chats.pop(ctxid, None)
        self.sent.pop(ctxid, None)
        if self._current == ctxid:
            self._current = next(iter(self.chats), None)

    def remember(self, text: str) -> None:
        """The last message of the chat in use."""
        if self._current is not None:
            self.sent[self._current] = text

    def drop_all(self) -> None:
        """The session is gone, and its contexts with it."""
        self.chats.clear()
        self.sent.clear()
        self._current = None
        self.facts = Facts()

    def replace(self) -> None:
        """The context in use is gone, not by our doing: an empty one on the same model. Raises
        as `begin` does, and then no context is in use, lest a message go to another one."""
        gone, self._current, self.facts = self._current, None, Facts()
        if gone is not None:
            self.forget(gone)
        self.begin()

    def log_in_again(self) -> None:
        """A new session and an empty context on the same model."""
        self.drop_all()
        access.open_session(self.client, self.username, self.token)
        self.begin()

    def logged_in(self, token: str) -> None:
        """A session was opened with this token: an empty context in it, on the same model."""
        self.token = token
        self.drop_all()
        self.begin()

    def lost(self) -> str:
        """Whether the session or the context in use is gone, as the beginning of a sentence; ""
        if neither is. Never raises what the daemon refuses."""
        said = ""
        try:
            self.client.inf_get_context_status(ctxid=self.chat.ctxid or 0)
        except InfSessionTokenMismatch:
            said = "Your session is over"
        except InfContextIdMismatch:
            said = "The context is gone"
        except (InfdError, ClientError, ValueError):
            pass
        if said:
            self.facts = Facts()
        return said

    def doubt(self) -> None:
        """The connection is lost: what the toolbar shows may be there no more. Any thread."""
        self.facts = Facts(self.model or "", known=False)

    def refresh_soon(self) -> None:
        """As `refresh`, but if the daemon does not answer at once the toolbar shows no numbers,
        rather than old ones. Ctrl-C ends the waiting; nothing is raised."""
        self.facts = Facts(self.model or "", self._current)
        with suppress(ClientError, KeyboardInterrupt):
            self.refresh(timeout=SOON)

    def refresh(self, *, timeout: Timeout = UNSET) -> None:
        """Learn what the toolbar shows. Never raises what the daemon refuses. A context that is
        gone is shown no more, but stays the one in use: the next message says that it is gone."""
        ctxid = self._current
        if ctxid is None:
            self.facts = Facts()
            return
        try:
            status = self.client.inf_get_context_status(ctxid=ctxid, timeout=timeout)
        except (InfContextIdMismatch, InfSessionTokenMismatch):
            self.facts = Facts()
            return
        except InfdError:
            self.facts = Facts(self.model or "", ctxid)
            return
        self.facts = Facts(status.model, ctxid, status.tokens_used, status.ctxsize)
