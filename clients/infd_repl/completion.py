"""Completion of `/` commands, of their KEY= names from the table, and of model names."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document

from infd_protocol.operations import OPERATIONS, Key, Operation, resolve
from infd_protocol.values import Kind
from infd_repl.commands import COMMANDS, SETTINGS

_HIDDEN = frozenset({"STOK"})


class CommandCompleter(Completer):
    """Completes lines that begin with `/`. `models` and `contexts` must not wait for anything."""

    def __init__(
        self, models: Callable[[], Sequence[str]], contexts: Callable[[], Sequence[int]]
    ) -> None:
        self._models = models
        self._contexts = contexts

    def get_completions(self, document: Document, event: CompleteEvent) -> Iterator[Completion]:
        line = document.text_before_cursor
        if not line.startswith("/") or line.startswith("//") or "\n" in line:
            return
        words = line[1:].split(" ")
        word = words[-1]
        if len(words) == 1:
            candidates = self._commands()
        else:
            candidates = self._arguments(words[0], words[1:-1], word)
            word = word.rpartition("=")[2].rpartition(",")[2]
        for text, doc in candidates:
            if text.lower().startswith(word.lower()):
                yield Completion(text, -len(word), display_meta=doc)

    def _commands(self) -> Iterator[tuple[str, str]]:
        for name, command in COMMANDS.items():
            yield name, command.doc
        for row in OPERATIONS.values():
            yield row.name, row.doc

    def _arguments(
        self, command: str, before: Sequence[str], word: str
    ) -> Iterator[tuple[str, str]]:
        row = resolve(command)
        if row is not None:
            yield from self._keys(row, before, word)
        elif command == "help":
            yield from self._commands()
        elif command == "model":
            yield from ((name, "") for name in self._models())
        elif command == "context" and not before:
            yield from (("new", "a new context"), ("list", "all of them"), ("drop", "free one"))
            yield from ((str(ctxid), "") for ctxid in self._contexts())
        elif command == "set" and "=" not in word:
            yield from ((f"{name.lower()}=", key.doc) for name, key in SETTINGS.items())

    def _keys(self, row: Operation, before: Sequence[str], word: str) -> Iterator[tuple[str, str]]:
        name, equals, _ = word.partition("=")
        key = row.by_name.get(name.upper())
        if equals and key is not None:
            yield from self._values(key)
        elif not equals:
            given = {part.partition("=")[0].upper() for part in before}
            for name, key in row.by_name.items():
                if name not in given | _HIDDEN:
                    yield f"{name}=", key.doc
            if row.data_in and "DATA" not in given:
                yield "DATA=", row.data_in

    def _values(self, key: Key) -> Iterator[tuple[str, str]]:
        if key.name == "MODEL":
            yield from ((name, "") for name in self._models())
        elif key.name == "CTXID":
            yield from ((str(ctxid), "") for ctxid in self._contexts())
        elif key.choices:
            yield from ((choice, "") for choice in key.choices)
        elif key.kind in (Kind.BOOL, Kind.BIT):
            yield from (("1", "yes"), ("0", "no"))
