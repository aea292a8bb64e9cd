"""What other processes use of the processors that this one may run on, as Linux counts it.

Limits: /proc/stat counts in hundredths of a second, and for the whole machine also inside of a
container; only the processors of this process's affinity are looked at. Elsewhere nothing is known.
"""

from __future__ import annotations

import os
import time
import weakref

# proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
_BUSY = (1, 2, 3, 6, 7, 8)
# A processor's line is not longer: ten counters of at most 20 digits.
_LINE = 224


class Others:
    """Reads the counters; `seconds` may be called from any thread."""

    def __init__(self) -> None:
        self._names: set[bytes] = set()
        try:
            self._tick = os.sysconf("SC_CLK_TCK")
            names = {f"cpu{n}".encode() for n in os.sched_getaffinity(0)}
            # Kept open, for it is read ten times a second between two tokens.
            self._file = os.open("/proc/stat", os.O_RDONLY | os.O_CLOEXEC)
            self._size = _LINE * (2 + os.sysconf("SC_NPROCESSORS_CONF"))
        except (AttributeError, OSError, ValueError):
            return
        weakref.finalize(self, os.close, self._file)
        self._names = names

    def seconds(self) -> float | None:
        """Processor seconds that others had of our processors since some time; also what a
        hypervisor took away. None: it cannot be seen."""
        if not self._names:
            return None
        try:
            lines = os.pread(self._file, self._size, 0).splitlines()
            rows = [row for line in lines if (row := line.split()) and row[0] in self._names]
            ticks = sum(int(row[i]) for row in rows for i in _BUSY)
        except (OSError, ValueError, IndexError):
            self._names = set()
            return None
        return ticks / self._tick - time.process_time() if rows else None
