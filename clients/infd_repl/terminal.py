"""The terminal while a reply is printed, and what is typed meanwhile.

Keys are not echoed into the reply. What is pasted meanwhile is marked as pasted (bracketed
paste, as at the prompt), so the next prompt takes it as one text and not as a message a line.
Ctrl-Z gives the shell the terminal as it was; `fg` brings the reply's back.
"""

from __future__ import annotations

import os
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_PASTE_MARKED, _PASTE_PLAIN = b"\x1b[?2004h", b"\x1b[?2004l"
"""xterm's control sequences: DEC private mode 2004, bracketed paste."""


@contextmanager
def undisturbed(resumed: Callable[[], object]) -> Iterator[None]:
    """Keys are not echoed into the reply, and Ctrl-C throws nothing away that was printed.

    By default a terminal drops output that it has not yet shown when Ctrl-C is pressed; then
    the person would have seen less than the history keeps. `resumed` is called, as signal
    handlers are, when the process goes on in the foreground after it was stopped. For the main
    thread. Where standard input is no terminal, nothing is done.
    """
    try:
        mode = _Mode(resumed)
    except (termios.error, ValueError, OSError):
        yield
        return
    stop, go_on = signal.getsignal(signal.SIGTSTP), signal.getsignal(signal.SIGCONT)
    try:
        # Whenever Ctrl-Z is pressed while the mode is the reply's, `stop` is there to end it, and
        # nothing brings it back once it has ended.
        if stop is not signal.SIG_IGN:  # or there is no shell that could bring it back
            signal.signal(signal.SIGTSTP, mode.stop)
        signal.signal(signal.SIGCONT, mode.go_on)
        mode.set()
        yield
    finally:
        signal.signal(signal.SIGCONT, go_on or signal.SIG_DFL)
        mode.restore()
        signal.signal(signal.SIGTSTP, stop or signal.SIG_DFL)


def forget_typed() -> None:
    """Drop what was typed or pasted and nobody has read."""
    with suppress(termios.error, ValueError, OSError):
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


class _Mode:
    """The mode of the terminal before a reply, and during it. Raises if there is no terminal."""

    def __init__(self, resumed: Callable[[], object]) -> None:
        self._resumed = resumed
        self._before = termios.tcgetattr(sys.stdin)
        self._during = list(self._before)
        self._during[3] = (self._during[3] & ~termios.ECHO) | termios.NOFLSH

    def set(self) -> None:
        self._change(self._during, _PASTE_MARKED)

    def restore(self) -> None:
        self._change(self._before, _PASTE_PLAIN)

    def stop(self, number: int, frame: FrameType | None) -> None:
        """Ctrl-Z: stop, as without this handler, but leave the terminal as it was."""
        self.restore()
        signal.signal(signal.SIGTSTP, signal.SIG_DFL)
        # To this thread, so that the process has stopped, and goes on, before the next line.
        signal.pthread_kill(threading.get_ident(), signal.SIGTSTP)
        signal.signal(signal.SIGTSTP, self.stop)

    def go_on(self, number: int, frame: FrameType | None) -> None:
        if _in_foreground():
            self.set()
            self._resumed()

    def _change(self, mode: list[object], paste: bytes) -> None:
        # In the background the terminal is another's, and changing it would stop the process.
        with suppress(termios.error, ValueError, OSError):
            if _in_foreground():
                termios.tcsetattr(sys.stdin, termios.TCSANOW, mode)  # type: ignore[arg-type]
                # Past Python's buffer, which a signal handler may have interrupted.
                os.write(sys.stdout.fileno(), paste)


def _in_foreground() -> bool:
    try:
        return os.tcgetpgrp(sys.stdin.fileno()) == os.getpgrp()
    except (ValueError, OSError):
        return False
