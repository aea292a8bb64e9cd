"""Whether other processes use our cores. Pure: its caller tells the times.

ggml's threads spin at barriers: beside a busy process a team of two on two cores is slower than
one thread by an order of magnitude.
"""

from __future__ import annotations


class ForeignLoad:
    """Notices that others use our cores: our threads get less processor time than they hold.

    A window of a fifth of a second in which the process got under 80 % of the time of the
    threads given out counts as foreign load (alone it measures 95 % or more, beside one busy
    process on two cores about 67 %). Then one thread is granted for a while.

    Where it can be seen what the others use (processors.py), that is until they use less than
    half of it: within a window or two of their end. Only every `LOOK` seconds is it tried out.
    Where it cannot, or little is seen (a quota of a container, for one), it is tried out after a
    second, and after each further such window twice as long, to 16 s; a good window forgets.
    Trying out is dear: one call of a team beside a busy process may take seconds.
    """

    WINDOW, LEAST, FIRST, LONGEST = 0.2, 0.8, 1.0, 16.0
    SEEN, LOOK = 0.3, 60.0

    def __init__(self) -> None:
        self._start: tuple[float, float, float, float | None] | None = None
        self._until = 0.0
        self._loaded = False
        self._pause = self.FIRST
        self._level = 0.0
        """What others used when they were noticed, in cores; 0.0: it could not be seen."""

    def observe(
        self, now: float, processor: float, busy: float, others: float | None = None
    ) -> bool:
        """Whether only one thread should be granted.

        `processor`: this process's time, `busy`: thread-seconds given out, `others`: what other
        processes used of our cores, None when that cannot be seen; all in seconds so far.
        """
        was, loaded = self._loaded, now < self._until
        self._loaded = loaded
        if self._start is None or (was and not loaded):
            # A window of single threads says nothing of teams.
            self._start = (now, processor, busy, others)
            return loaded
        began, processor_then, busy_then, others_then = self._start
        passed = now - began
        if passed < self.WINDOW:
            return loaded
        self._start = (now, processor, busy, others)
        seen = 0.0
        if others is not None and others_then is not None:
            seen = (others - others_then) / passed
        if loaded:
            if not self._level or seen >= self._level / 2:
                return True
            # They are gone.
            self._until, self._pause, self._loaded = now, self.FIRST, False
            return False
        given = busy - busy_then
        # With the cores mostly idle the comparison says nothing. A long window is no reason to
        # look away: beside a busy process a single call of two threads may take seconds.
        if given < max(self.WINDOW, passed / 2):
            return False
        if processor - processor_then >= self.LEAST * given:
            self._pause = self.FIRST
            return False
        self._level = seen if seen >= self.SEEN else 0.0
        if self._level:
            self._until = now + self.LOOK
        else:
            self._until = now + self._pause
            self._pause = min(2 * self._pause, self.LONGEST)
        self._loaded = True
        return True
