"""What a chat knows without I/O: the ids of its messages, and what to begin with."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from infd_client._results import (
    ExecGetMessagesResult,
    InfGetModelInfoResult,
    InfGetUserResult,
)
from infd_protocol.errors import InfModelContextFull
from infd_protocol.operations import OPERATIONS

CTXSIZE = 4096
"""Tokens of a chat's context when nothing says otherwise and every limit allows it."""

SMALLEST = 256
"""Tokens below which a chat is hardly worth having: no automatic size goes below, unless the
user's limit does."""

ACCEPTED = 32
"""Tokens that a context must have for the daemon to make it."""

KEYWORDS = frozenset(
    key.name.lower() for key in OPERATIONS["exec_execute_input"].takes
) - {"stok", "ctxid", "msgid"} | {"timeout"}
"""What a chat passes on to exec_execute_input; the rest it fills in itself."""


def check_keywords(sampling: Mapping[str, Any]) -> None:
    """Raises TypeError for a keyword that exec_execute_input does not take, with the nearest."""
    for name in sampling:
        if name not in KEYWORDS:
            near = difflib.get_close_matches(name, KEYWORDS, 1)
            known = ", ".join(sorted(KEYWORDS))
            meant = f"did you mean {near[0]}?" if near else f"there are {known}."
            raise TypeError(f"A chat takes no keyword {name!r}; {meant}")


class Turns:
    """The ids of the messages in a context's history, kept as the daemon keeps them. No I/O."""

    def __init__(self, system: str | None) -> None:
        self.system = system
        self.clear()

    def clear(self) -> None:
        """Forget everything: the context's history was cleared."""
        self.history: list[int] = []
        self.system_id: int | None = None
        self.last: int | None = None
        self._before: tuple[list[int], int | None] = ([], None)

    def opening(self) -> list[int]:
        """What must be listed before the next message: the system message, if not yet there."""
        there = self.system_id is None or self.system_id in self.history
        return [] if there or self.system_id is None else [self.system_id]

    def executed(self, ids: Sequence[int]) -> None:
        """A run of these messages was started; the last one is the user's."""
        self._before = (self.history, self.last)
        at = min((self.history.index(i) for i in ids if i in self.history), default=None)
        self.history = [*(self.history if at is None else self.history[:at]), *ids]
        self.last = ids[-1]

    def replied(self, msgid: int | None) -> None:
        """The run has ended with this reply."""
        if msgid is not None and msgid not in self.history:
            self.history = [*self.history, msgid]

    def aborted(self) -> None:
        """The run was aborted: the daemon's history is as before it."""
        self.history, self.last = self._before

    def adopt(self, listed: ExecGetMessagesResult) -> None:
        """Take the history from the daemon: it is unknown whether a run was started."""
        there = zip(listed.msgid, listed.role, listed.in_history, strict=True)
        kept = [(msgid, role) for msgid, role, in_history in there if in_history]
        self.history = [msgid for msgid, _ in kept]
        self.last = next((msgid for msgid, role in reversed(kept) if role == "user"), None)

    def before_last(self) -> int | None:
        """The message before the user's last one, None if that is the first."""
        if self.last is None:
            raise ValueError("Nothing was sent yet.")
        at = self.history.index(self.last)
        return self.history[at - 1] if at else None


def choose(names: Sequence[str]) -> str:
    """The only model there is. Raises ValueError naming them when there are several, or none."""
    if len(names) == 1:
        return names[0]
    if not names:
        raise ValueError("This user may use no model; an administrator can grant one.")
    raise ValueError(f"Choose a model: {', '.join(sorted(names))}.")


def wanted(info: InfGetModelInfoResult, user: InfGetUserResult | None) -> int:
    """The size of a context, in tokens, that model and user allow. What others leave of the
    model's budget does not count: the daemon makes room before it refuses."""
    limit = CTXSIZE if user is None else user.ctxlength
    least = max(min(limit, SMALLEST), ACCEPTED)
    return max(min(CTXSIZE, limit, info.training_context or CTXSIZE), least)


def smaller(size: int, refused: InfModelContextFull) -> int | None:
    """What to ask for when there is no room for so many tokens; None: nothing worth having."""
    room = refused.keys.get("LIMIT")
    if type(room) is not int:
        room = size // 2  # an older daemon does not say how much there is
    return room if min(SMALLEST, size) <= room < size else None


def check_text(text: object) -> None:
    """Raises TypeError or ValueError, naming the argument, for a message that cannot be sent."""
    if not isinstance(text, str):
        raise TypeError(f"text must be a str, not {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"text cannot be sent: the character at {error.start}, "
            f"U+{ord(text[error.start]):04X}, has no form in UTF-8"
        ) from None


SUPERSEDED = (
    "this reply was not read to its end when the chat was told to answer again, which stopped it: "
    "the history keeps what was handed out"
)
"""Why the reader of an earlier reply gets no more of it."""


class ChatBase:
    """What both kinds know."""

    def __init__(
        self, model: str | None, ctxsize: int | None, system: str | None, sampling: dict[str, Any]
    ) -> None:
        check_keywords(sampling)
        self.model = model
        """The model's name; None until the context is made if none was given."""
        self.ctxsize = ctxsize
        """Tokens of the context; None until it is made if none was given."""
        self.wanted: int | None = None
        """Tokens that an automatic size would have, if the model's budget had room for more than
        `ctxsize`; None: it had, or the size was given."""
        self.ctxid: int | None = None
        """The context's id; None before it is made and after it is closed."""
        self.sampling = sampling
        """Keys of exec_execute_input, in lower case, that every run gets."""
        self._turns = Turns(system)
        self._unsure = False
        self._closed = False

    def _check(self, sampling: Mapping[str, Any], *texts: object) -> None:
        """Before anything is sent: whether it can be, in this chat."""
        check_keywords(sampling)
        for text in texts:
            check_text(text)
        if self._closed:
            raise ValueError("This chat is closed, and its context is gone; make another one.")

    @property
    def history(self) -> tuple[int, ...]:
        """The ids of the messages in the history, replies included, as far as they are known."""
        return tuple(self._turns.history)
