"""The messages of one context, and which of them are its history.

Pure rules, no engine and no clock:
- Messages count from 1 and stay stored until `clear()`.
- Executing a list of them first cuts the history back to just before the earliest listed one
  that stands in it, then appends the list. Cut messages stay stored.
- A run that is aborted puts the history back; one that ends appends its reply.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass

from infd_protocol.errors import ExecMessageIdMismatch, InfInvalidParams

BYTES_PER_TOKEN = 64
MIN_STORED = 64 * 1024
"""`max_stored` of the contract's section 9: 64 bytes × CTXSIZE, at least 64 KiB."""
LEAST_TEXT = 16
"""Bytes that a message counts as in the limit on their number: the daemon's own of each are more
than those of the shortest texts."""


@dataclass(slots=True)
class Message:
    """One stored message; `size` is its text's length in UTF-8 bytes."""

    role: str
    text: str
    size: int


class Messages:
    """What one context stores."""

    def __init__(self, ctxsize: int) -> None:
        self._ctxsize = ctxsize
        self.max_stored = max(BYTES_PER_TOKEN * ctxsize, MIN_STORED)
        self.stored = 0
        self.history: list[int] = []
        self._most = self.max_stored // LEAST_TEXT
        self._by_id: list[Message] = []

    def __len__(self) -> int:
        return len(self._by_id)

    def store(self, role: str, text: str) -> int:
        """Keep a message and return its id. Raises InfInvalidParams beyond `max_stored` bytes, or
        for more messages than make sense of so many."""
        if len(self._by_id) >= self._most:
            raise InfInvalidParams(
                f"The context may hold {self._most} messages in all; clear it first."
            )
        size = len(text.encode())
        if size > self.max_stored:
            raise InfInvalidParams(
                f"The message has {size} bytes; a context with CTXSIZE {self._ctxsize} may hold "
                f"{self.max_stored} in all. One with a larger CTXSIZE takes more."
            )
        if self.stored + size > self.max_stored:
            raise InfInvalidParams(
                f"The context's messages may hold {self.max_stored} bytes in all; clear it first."
            )
        return self._append(role, text, size)

    def store_reply(self, text: str) -> int:
        """Keep a reply, append it to the history and return its id. Never refused."""
        msgid = self._append("assistant", text, len(text.encode()))
        self.history.append(msgid)
        return msgid

    def _append(self, role: str, text: str, size: int) -> int:
        self._by_id.append(Message(sys.intern(role), text, size))
        self.stored += size
        return len(self._by_id)

    def cut_reply(self, msgid: int, text: str) -> None:
        """Replace a stored reply by a beginning of itself."""
        size = len(text.encode())
        self.stored += size - self._by_id[msgid - 1].size
        self._by_id[msgid - 1] = Message("assistant", text, size)

    def plan(self, listed: Sequence[int]) -> list[int]:
        """The history as it would be with the listed messages executed; nothing changes.

        Raises InfInvalidParams for an empty list, a message listed twice, or replies that
        have filled the store; ExecMessageIdMismatch for an unknown id.
        """
        if not listed:
            raise InfInvalidParams("MSGID must list at least one message.")
        if len(set(listed)) != len(listed):
            raise InfInvalidParams("MSGID lists a message twice.")
        for msgid in listed:
            if not 1 <= msgid <= len(self._by_id):
                raise ExecMessageIdMismatch(f"MSGID {msgid} is no message of this context.")
        if self.stored >= 2 * self.max_stored:  # replies alone got here: many regenerations
            raise InfInvalidParams("The context's stored replies fill it; clear it first.")
        wanted = set(listed)
        cut = next((i for i, m in enumerate(self.history) if m in wanted), len(self.history))
        return [*self.history[:cut], *listed]

    def texts(self, ids: Sequence[int]) -> list[tuple[str, str]]:
        """`(role, text)` of each."""
        return [(self._by_id[i - 1].role, self._by_id[i - 1].text) for i in ids]

    def listing(self) -> tuple[list[int], list[str], list[bool], list[str]]:
        """Ids, roles, whether in the history, texts; all of one length."""
        inside = set(self.history)
        ids = list(range(1, len(self._by_id) + 1))
        return (
            ids,
            [m.role for m in self._by_id],
            [i in inside for i in ids],
            [m.text for m in self._by_id],
        )

    def clear(self) -> None:
        """Forget everything; ids start again."""
        self._by_id.clear()
        self.history = []
        self.stored = 0


def with_system_prompt(
    system_prompt: str, messages: Sequence[tuple[str, str]]
) -> tuple[tuple[str, str], ...]:
    """The messages with the user's system prompt first; a leading system message is joined to it
    after a blank line."""
    if not system_prompt:
        return tuple(messages)
    if messages and messages[0][0] == "system":
        return (("system", f"{system_prompt}\n\n{messages[0][1]}"), *messages[1:])
    return (("system", system_prompt), *messages)
