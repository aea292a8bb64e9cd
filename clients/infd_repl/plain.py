"""Text from elsewhere, made harmless for a terminal.

What a model or a daemon says is shown, never obeyed: control characters (escape sequences begin
with one), and the marks that reorder or hide text, are spelled out. Newline and tab stay.
"""

from __future__ import annotations

import re

_UNSAFE = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f"  # C0 and C1 controls, but for tab and newline
    "\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff"  # marks of direction, odd line ends
    "\U000e0000-\U000e007f]"  # invisible tags
)


def _spell(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def plain(text: object) -> str:
    """The text with everything that a terminal might obey spelled out."""
    return _UNSAFE.sub(_spell, str(text))


def one_line(text: object) -> str:
    """The text on one line: runs of blanks and newlines become one space."""
    return " ".join(plain(text).split())
