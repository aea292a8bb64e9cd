r"""A line as words, as a shell splits it, but that JSON and backslashes stay as they are typed.

Blanks separate words; quotes keep them together. A backslash is an escape only before a blank or
a quote, so that a value can say `\n`. A value that begins with `[` or `{` right after the `=` is
JSON, and goes with its own quotes and blanks to its end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

_PART = re.compile(
    r"""
    (?P<json> (?<==) (?=[\[{]) ) |
    ' (?P<single> [^']* ) ' |
    " (?P<double> (?: [^"\\] | \\. )* ) " |
    \\ (?P<escaped> [\s'"] ) |
    (?P<open> ['"] ) |
    (?P<blank> \s+ ) |
    (?P<plain> . )
    """,
    re.VERBOSE | re.DOTALL,
)
_ESCAPED_QUOTE = re.compile(r'\\"')
_NO_JSON = re.compile(r'(?: "[^"]*"? | [^\s"] )+', re.VERBOSE)


def split(line: str) -> list[str]:
    """The words. Raises ValueError for a quote that is not closed."""
    words: list[str] = []
    word: str | None = None
    for kind, text in _parts(line):
        if kind == "blank":
            if word is not None:
                words.append(word)
            word = None
        else:
            word = (word or "") + text
    return words if word is None else [*words, word]


def _parts(line: str) -> Iterator[tuple[str, str]]:
    at = 0
    while (found := _PART.match(line, at)) is not None:
        kind = found.lastgroup or ""
        if kind == "json":
            at, start = _end_of_json(line, at), at
            yield kind, line[start:at]
            continue
        if kind == "open":
            raise ValueError(f"The line cannot be read: a quote {found[0]} is not closed.")
        at = found.end()
        yield kind, _ESCAPED_QUOTE.sub('"', found[kind]) if kind == "double" else found[kind]


def _end_of_json(line: str, at: int) -> int:
    """Where a value ends that is JSON; one that is not JSON ends at a blank outside of quotes."""
    try:
        _, end = json.JSONDecoder().raw_decode(line, at)
    except (ValueError, RecursionError):  # the latter for brackets without end
        end = at
    if end > at and (end == len(line) or line[end].isspace()):
        return end
    found = _NO_JSON.match(line, at)
    assert found is not None
    return found.end()
