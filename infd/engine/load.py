"""Whether other processes use our cores. Pure: its caller tells the times.

ggml's threads spin at barriers: beside a busy process a team of two on two cores is slower than
one thread by an order of magnitude.
"""

from __future__ import annotations


class ForeignLoad:
    """Notices that others use our cores: our threads get less processor time than they hold.

    A window of a fifth of a second in which the process got under 80 % of the time of the
    threads given out counts as foreign load (alone it measures 95 % or more, beside one busy
    process on two cores about 67 %). Then one thread is granted for a second, and after each
    further such window twice as long, to 16 s; a good window forgets.
    """

    WINDOW, LEAST, FIRST, LONGEST = 0.2, 0.8, 1.0, 16.0

    def __init__(self) -> None:
        self._start: tuple[float, float, float] | None = None
        self._until = 0.0
        self._pause = self.FIRST

    def observe(self, now: float, processor: float, busy: float) -> bool:
        """Whether only one thread should be granted; `busy`: thread-seconds given out so far."""
        if now < self._until:
            self._start = None
            return True
        if self._start is None:
            self._start = (now, processor, busy)
            return False
        began, processor_then, busy_then = self._start
        if now - began < self.WINDOW:
            return False
        given = busy - busy_then
        self._start = (now, processor, busy)
        # With the cores mostly idle the comparison says nothing. A long window is no reason to
        # look away: beside a busy process a single call of two threads may take seconds.
        if given < max(self.WINDOW, (now - began) / 2):
            return False
        if processor - processor_then >= self.LEAST * given:
            self._pause = self.FIRST
            return False
        self._until = now + self._pause
        self._pause = min(2 * self._pause, self.LONGEST)
        self._start = None
        return True
