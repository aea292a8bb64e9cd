"""The terminal while a reply is printed."""

from __future__ import annotations

import sys
import termios
from collections.abc import Iterator
from contextlib import contextmanager, suppress


@contextmanager
def undisturbed() -> Iterator[None]:
    """Keys are not echoed into the reply, and Ctrl-C throws nothing away that was printed.

    By default a terminal drops output that it has not yet shown when Ctrl-C is pressed; then
    the person would have seen less than the history keeps.
    """
    try:
        before = termios.tcgetattr(sys.stdin)
    except (termios.error, ValueError, OSError):
        yield
        return
    during = list(before)
    during[3] = (during[3] & ~termios.ECHO) | termios.NOFLSH
    termios.tcsetattr(sys.stdin, termios.TCSANOW, during)
    try:
        yield
    finally:
        with suppress(termios.error, ValueError, OSError):
            termios.tcsetattr(sys.stdin, termios.TCSANOW, before)
