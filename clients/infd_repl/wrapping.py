"""Breaking a reply's lines at blanks while it comes, where a terminal would break within words.

Nothing of the text is lost but a blank at the right margin. The word that is not complete is held
back, which is at most a line's width; `rest` gives it out. A word longer than a line is left to
the terminal, so that it can be copied whole. Wide characters (Chinese, Japanese, emoji) may be
broken between, so they are never held back.
"""

from __future__ import annotations

from rich.cells import cell_len

_TAB = 8


class Wrapper:
    """One reply; `column` is where the cursor stands, as far as this has written."""

    def __init__(self) -> None:
        self._column = 0
        self._word = ""
        self._within = False

    def feed(self, text: str, width: int) -> str:
        """What to print now, for a terminal of so many columns."""
        out: list[str] = []
        for char in text:
            if char == "\n":
                out.append(self._placed(width) + char)
                self._column = 0
            elif char in " \t":
                out.append(self._placed(width) + self._blank(char, width))
            elif cell_len(char) > 1:
                out.append(self._placed(width))
                self._word = char
                out.append(self._placed(width))
            else:
                self._word += char
                if cell_len(self._word) >= width:
                    out.append(self._placed(width))
                    self._within = True
        return "".join(out)

    def at_margin(self) -> None:
        """Something else has moved the cursor to the beginning of a line."""
        self._column = 0

    def rest(self, width: int) -> str:
        """The word that was held back: nothing follows it."""
        return self._placed(width)

    def _placed(self, width: int) -> str:
        word, self._word = self._word, ""
        within, self._within = self._within, False
        size = cell_len(word)
        if word and self._column and not within and self._column + size > width:
            self._column = size
            return "\n" + word
        self._column += size
        if self._column > width:  # the terminal breaks it
            self._column %= width
        return word

    def _blank(self, char: str, width: int) -> str:
        step = 1 if char == " " else _TAB - self._column % _TAB
        if self._column + step > width:
            self._column = width
            return ""
        self._column += step
        return char
