"""The prompt: keys, history, toolbar.

Enter sends; a backslash at the end of the line, or Esc-Enter, goes on in a new line; pasted
newlines stay. Ctrl-C clears the line, Ctrl-D on an empty one leaves, Ctrl-Z suspends. Ctrl-R
searches the history: Enter takes what was found, Ctrl-C leaves the search. Where the last message
is changed, Ctrl-C leaves it as it was. The history file is the user's alone (0600),
in the state folder ($XDG_STATE_HOME, else ~/.local/state), and keeps no line that carries a token.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.filters import completion_is_selected, has_completions, is_searching
from prompt_toolkit.formatted_text import FormattedText
from prompt_toolkit.history import FileHistory, History, InMemoryHistory
from prompt_toolkit.input.typeahead import clear_typeahead
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.patch_stdout import patch_stdout
from prompt_toolkit.styles import Style

from infd_repl.completion import CommandCompleter
from infd_repl.conversation import Conversation
from infd_repl.keyvalues import SECRET
from infd_repl.plain import one_line
from infd_repl.terminal import forget_typed

_TOKEN = re.compile(rf"\b({'|'.join(sorted(SECRET))})\s*=", re.IGNORECASE)
_STYLE = Style.from_dict({"bottom-toolbar": "noreverse #888888", "prompt": "bold"})


class _Discreet(FileHistory):
    """A history that forgets lines with tokens at once."""

    def store_string(self, string: str) -> None:
        if not _TOKEN.search(string):
            super().store_string(string)


def history_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the history is kept."""
    base = environ.get("XDG_STATE_HOME") or ""
    folder = Path(base) if base.startswith("/") else Path.home() / ".local" / "state"
    return folder / "infd" / "history"


def open_history(path: Path) -> History:
    """The history in this file, made if need be; in memory when that is not possible."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
        path.chmod(0o600)
    except OSError:
        return InMemoryHistory()
    return _Discreet(str(path))


def _keys() -> KeyBindings:
    keys = KeyBindings()

    # While the history is searched (Ctrl-R), Enter takes what was found and Ctrl-C leaves the
    # search: those are prompt_toolkit's keys, which ours must not hide.
    typing = ~is_searching

    @keys.add("enter", filter=typing & ~(has_completions & completion_is_selected))
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @keys.add("escape", "enter", filter=typing)
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return keys


def _clearing() -> KeyBindings:
    keys = _keys()

    @keys.add("c-c", filter=~is_searching)
    @keys.add("<sigint>")  # Ctrl-C before the terminal gives keys instead of signals
    def clear(event: KeyPressEvent) -> None:
        event.current_buffer.reset()

    return keys


class Prompt:
    """Asks for lines. `away`: whether there is no connection now."""

    def __init__(
        self, talk: Conversation, away: Callable[[], bool], history: Path | None = None
    ) -> None:
        self._talk = talk
        self._away = away
        completer = CommandCompleter(lambda: talk.names, lambda: list(talk.chats))
        self._session: PromptSession[str] = PromptSession(
            history=open_history(history or history_file()),
            completer=completer,
            complete_while_typing=False,
            auto_suggest=AutoSuggestFromHistory(),
            key_bindings=_clearing(),
            multiline=True,
            enable_suspend=True,
            prompt_continuation=FormattedText([("", "  ")]),
            bottom_toolbar=self._toolbar,
            style=_STYLE,
            enable_history_search=False,
        )
        self._edit: PromptSession[str] = PromptSession(
            history=InMemoryHistory(), key_bindings=_keys(), multiline=True, enable_suspend=True,
            style=_STYLE,
        )  # fmt: skip

    def ask(self) -> str:
        """The next line, or lines. Raises EOFError when the person leaves."""
        with patch_stdout(raw=True):
            return self._session.prompt(FormattedText([("class:prompt", "> ")]))

    def edit(self, text: str) -> str:
        """The text as the person changes it; "" if they do not want to."""
        try:
            with patch_stdout(raw=True):
                return self._edit.prompt("edit> ", default=text)
        except (EOFError, KeyboardInterrupt):
            return ""

    def forget_typed(self) -> None:
        """Drop what was typed or pasted since the last line was sent, or behind it at once."""
        forget_typed()
        clear_typeahead(self._session.input)

    def _toolbar(self) -> str:
        facts = self._talk.facts
        who = f"{self._talk.username}@{self._talk.client.address}"
        if self._away():
            return one_line(f"{who} · not connected")
        if not facts.known:
            return one_line(f"{facts.model} · {who}")
        if facts.ctxid is None:
            return one_line(f"{who} · no context")
        used = f" · {facts.used}/{facts.size} tokens" if facts.size else ""
        return one_line(f"{facts.model} · context {facts.ctxid}{used} · {who}")
