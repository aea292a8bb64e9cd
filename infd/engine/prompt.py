"""From messages to the prompt's tokens, so that no message's text becomes a control token.

The rendered prompt is tokenised whole, control tokens on, exactly as reference programs do; in
nearly every prompt that is all. Only where a message's text spells a control token (alone, or
together with the template's text beside it) the spelling is broken up before and the break taken
out of the tokens after: a private-use character goes between its first two characters, becomes
tokens of its own, and these are dropped.

Which part of the rendered prompt is message text is found by rendering a second time with marks
around each text (inside of its surrounding white space, which templates strip) and in the middle
of each spelling: the second rendering without its marks must equal the first. Where a template
looks at or alters the text so that it does not, the prompt passes only if the same messages with
the spellings made harmless render to the same control tokens; else it is refused.

Control tokens are those that the vocabulary marks so, its end tokens, and user-defined tokens
that look like it (<|…|>) or that the template itself spells (its own markers). Other user-defined
tokens (runs of spaces, HTML tags in some vocabularies) are ordinary text. A spelling of a single
character cannot be broken.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import pairwise
from weakref import WeakKeyDictionary

from infd.engine.errors import TemplateError, TemplateRefused, TokenizeError
from infd.engine.model import Model
from infd.engine.renderer import Message
from infd.engine.spellings import Finder
from infd.engine.templates import Renderer

# Unicode's private-use code points: no text means anything by them, no tokenizer knows them.
_PRIVATE_USE = (range(0xE000, 0xF900), range(0xF0000, 0xFFFFE))
# <|tool|>, and DeepSeek's with full-width bars.
_STEERING = re.compile(r"<[|｜].*[|｜]>", re.DOTALL)
# How many break characters are tried before fragments are tokenised apart.
_BREAK_TRIES = 8


def build_prompt(model: Model, renderer: Renderer, messages: Sequence[Message]) -> list[int]:
    """The tokens of a conversation with the generation prompt after it, BOS at most once.

    Raises TemplateError (the template's own words) or TokenizeError.
    """
    if not model.info.has_tokenizer:
        raise TokenizeError("the model has no tokenizer")
    spellings = _spellings(model, renderer)
    marks = list(_unused(messages, renderer.source or "", 4 + _BREAK_TRIES))
    text, breaks = _Marker(renderer, spellings, marks).render(messages)
    tokens = _tokenize(model, text, breaks, marks[4:])
    if not tokens:
        raise TokenizeError("the prompt is empty")
    return tokens


class _Spellings:
    """The spellings to keep out of message text for one model and its template."""

    def __init__(self, model: Model, source: str | None) -> None:
        control = {s for s in model.vocabulary.control_spellings if len(s) > 1}
        markers = {
            s for s in model.vocabulary.user_defined_spellings if _is_marker(s, source or "<|im_")
        }
        strict = Finder(control | markers)
        self.levels = (strict, Finder(control)) if markers else (strict,)
        """What to break up: the stricter first, for templates that read their own markers."""


# Made once for each model: some vocabularies have hundreds, and a history thousands of messages.
_SPELLINGS: WeakKeyDictionary[Renderer, _Spellings] = WeakKeyDictionary()


def _spellings(model: Model, renderer: Renderer) -> _Spellings:
    found = _SPELLINGS.get(renderer)
    if found is None:
        found = _SPELLINGS[renderer] = _Spellings(model, renderer.source)
    return found


def _is_marker(spelled: str, source: str) -> bool:
    """Whether a user-defined token is one that steers: by its look, or the template spells it.

    A closing tag counts with its opening one, and the other way round.
    """
    if len(spelled) < 2 or not spelled.strip():
        return False
    twin = spelled.replace("</", "<", 1) if "</" in spelled else spelled.replace("<", "</", 1)
    return spelled in source or twin in source or bool(_STEERING.fullmatch(spelled))


class _Marker:
    """Renders messages and finds where their text spells control tokens."""

    def __init__(self, renderer: Renderer, spellings: _Spellings, marks: Sequence[str]) -> None:
        self._renderer = renderer
        self._spellings = spellings
        self._open, self._close, self._break, self._first = marks[:4]
        self._any = re.compile(f"([{''.join(marks[:4])}])")

    def render(self, messages: Sequence[Message]) -> tuple[str, list[int]]:
        """The prompt's text and the positions in it at which to break."""
        folded = _folded(messages)
        try:
            text = self._renderer.render(messages)
        except TemplateRefused:
            if folded is None:
                raise
            # It may refuse system messages; if it fails without one too, its first words count.
            try:
                text = self._renderer.render(folded)
            except TemplateError:
                folded = None
            if folded is None:
                raise
            return self._breaks(folded, text)[:2]
        text, breaks, shown = self._breaks(messages, text)
        if folded is not None and not shown:
            # It passed over the system message in silence.
            return self._breaks(folded, self._renderer.render(folded))[:2]
        return text, breaks

    def _breaks(self, messages: Sequence[Message], text: str) -> tuple[str, list[int], bool]:
        """`text`, where to break it, and whether the first message's text is in it."""
        for known in self._spellings.levels:
            marked = [(role, self._mark(said, known)) for role, said in messages]
            if messages and messages[0][1].strip():
                role, said = marked[0]
                marked[0] = (role, said.replace(self._open, self._open + self._first))
            try:
                rendered = self._renderer.render(marked)
            except TemplateError:
                continue
            stripped, positions, spans = self._unmark(rendered)
            if stripped != text:
                continue
            breaks = {
                at
                for start, end in known.find(text)
                if (at := _break_at(start, end, positions, spans)) is not None
            }
            shown = self._first in rendered or self._first not in marked[0][1]
            return text, sorted(breaks), shown
        if self._harmless(messages, text):
            return text, [], True
        raise TemplateError(
            "the model's chat template alters the text of messages, and this text spells control "
            "tokens of the model; leave them out"
        )

    def _mark(self, text: str, known: Finder) -> str:
        core = text.strip()
        if not core:
            return text
        at = text.index(core)
        inner = core
        if cuts := sorted({start + 1 for start, _ in known.find(core)}):
            inner = self._break.join(core[a:b] for a, b in pairwise([0, *cuts, len(core)]))
        return text[:at] + self._open + inner + self._close + text[at + len(core) :]

    def _unmark(self, marked: str) -> tuple[str, set[int], list[tuple[int, int]]]:
        """The text without marks, all marks' positions in it, the spans between open and close."""
        parts = self._any.split(marked)
        kept: list[str] = []
        positions: set[int] = set()
        spans: list[tuple[int, int]] = []
        at, opened = 0, -1
        for part in parts:
            if part == self._open:
                opened = at
            elif part == self._close and opened >= 0:
                spans.append((opened, at))
                opened = -1
            if self._any.fullmatch(part):
                positions.add(at)
            else:
                kept.append(part)
                at += len(part)
        return "".join(kept), positions, spans

    def _harmless(self, messages: Sequence[Message], text: str) -> bool:
        """Whether `text` has only the control spellings that harmless messages give too."""
        known = self._spellings.levels[0]
        harmless: list[Message] = []
        for role, said in messages:
            letters = list(said)
            for start, end in known.find(said):
                letters[start:end] = "x" * (end - start)
            harmless.append((role, "".join(letters)))
        try:
            other = self._renderer.render(harmless)
        except TemplateError:
            return False
        ours, theirs = (
            [rendered[a:b] for a, b in known.find(rendered)]
            for rendered in (text, other)
        )
        return ours == theirs


def _break_at(
    start: int, end: int, positions: set[int], spans: Sequence[tuple[int, int]]
) -> int | None:
    """Where to break a spelling; None if it is all the template's."""
    for at in range(start + 1, end):
        if at in positions:
            return at
    # Spans follow each other: the last that begins before the end is the one that may reach in.
    at = bisect_left(spans, (end,)) - 1
    return start + 1 if at >= 0 and start < spans[at][1] else None


def _folded(messages: Sequence[Message]) -> list[Message] | None:
    """The system message joined to the first user message; None without one at the head."""
    if not messages or messages[0][0] != "system":
        return None
    system, rest = messages[0][1], list(messages[1:])
    for i, (role, text) in enumerate(rest):
        if role == "user":
            rest[i] = (role, f"{system}\n\n{text}")
            return rest
    return [("user", system), *rest]


def _unused(messages: Sequence[Message], source: str, n: int) -> Iterator[str]:
    """Private-use characters that occur neither in the messages nor in the template."""
    used = set(source).union(*(text for _, text in messages))
    for block in _PRIVATE_USE:
        for point in block:
            if chr(point) not in used:
                yield chr(point)
                n -= 1
                if not n:
                    return
    raise TokenizeError("the messages use up Unicode's private-use characters")


def _tokenize(model: Model, text: str, breaks: Sequence[int], marks: Sequence[str]) -> list[int]:
    if not breaks:
        return model.tokenize(text, special=True, bos=True)
    parts = [text[a:b] for a, b in pairwise([0, *breaks, len(text)])]
    for mark in marks:
        tokens = model.tokenize(mark.join(parts), special=True, bos=True)
        kept = _without(model, tokens, mark.encode(), len(breaks))
        if kept is not None:
            return kept
    # No mark stands alone in this vocabulary: the parts apart, at the price of what a tokenizer
    # does at the beginning of a text.
    out = model.tokenize(parts[0], special=True, bos=True)
    for part in parts[1:]:
        out += model.tokenize(part, special=True, bos=False)
    return out


def _without(model: Model, tokens: list[int], mark: bytes, n: int) -> list[int] | None:
    """`tokens` less those that spell `mark`; None if it is not `n` times whole tokens."""
    pieces = [model.piece(t, special=True) for t in tokens]
    data = b"".join(pieces)
    starts = {0: 0}
    at = 0
    for i, piece in enumerate(pieces, 1):
        at += len(piece)
        starts[at] = i
    drop: set[int] = set()
    found = data.find(mark)
    while found >= 0:
        end = found + len(mark)
        if found not in starts or end not in starts:
            return None
        drop.update(range(starts[found], starts[end]))
        n -= 1
        found = data.find(mark, end)
    return None if n else [t for i, t in enumerate(tokens) if i not in drop]
