"""Where a prompt's system message ends, in tokens; without one, what the template puts before the
user's first.

A template may put anything around a message, and a tokenizer joins its end with what follows. So
nothing is searched for: two prompts with the system message and different user messages are made,
and what they begin with in common is the head of every such conversation. A template that puts
the system message elsewhere than at the beginning has a short head or none.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from infd.engine.errors import EngineError
from infd.engine.model import Model
from infd.engine.prompt import build_prompt
from infd.engine.renderer import Message
from infd.engine.state import common_prefix
from infd.engine.templates import Renderer

# Nothing that a tokenizer would join with the same text in both.
_SAID = ("0", "A")
# A head may end so many tokens earlier where the first message's text is joined with it.
_JOINED = 4
_MOST = 8


class Heads:
    """The heads of one user's system messages for one model. Any thread may use it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str | None, list[int]] = {}

    def length(
        self, model: Model, renderer: Renderer, messages: Sequence[Message], prompt: list[int]
    ) -> int:
        """How many of the prompt's tokens are its system message's and what the template puts
        before and after that; 0 when it begins with neither that nor a user's message."""
        if not messages or messages[0][0] not in ("system", "user"):
            return 0
        system = messages[0][1] if messages[0][0] == "system" else None
        with self._lock:
            known = self._known.get(system)
        if known is None or common_prefix(known, prompt) < len(known) - _JOINED:
            # It is new, or the template says something else than before, as one with a date.
            known = _head(model, renderer, system)
            if common_prefix(known, prompt) < len(known) - _JOINED:
                # Nor does this one fit: a template that looks at more than the system message.
                known = []
            with self._lock:
                self._known.pop(system, None)
                self._known[system] = known
                if len(self._known) > _MOST:
                    del self._known[next(iter(self._known))]
        return common_prefix(known, prompt)


def _head(model: Model, renderer: Renderer, system: str | None) -> list[int]:
    before = () if system is None else (("system", system),)
    try:
        one, other = (build_prompt(model, renderer, (*before, ("user", said))) for said in _SAID)
    except EngineError:
        return []
    return one[: common_prefix(one, other)]
