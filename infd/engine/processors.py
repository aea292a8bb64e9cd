"""What other processes use of the processors that this one may run on, as Linux counts it.

Limits: /proc/stat counts in hundredths of a second, and for the whole machine also inside of a
container; only the processors of this process's affinity are looked at. Elsewhere nothing is known.
"""

from __future__ import annotations

import os
import time

# proc_stat(5): user, nice, system, idle, iowait, irq, softirq, steal; guests are in user already.
_BUSY = (1, 2, 3, 6, 7, 8)


class Others:
    """Reads the counters; `seconds` may be called from any thread."""

    def __init__(self) -> None:
        try:
            self._tick = os.sysconf("SC_CLK_TCK")
            self._names = {f"cpu{n}".encode() for n in os.sched_getaffinity(0)}
        except (AttributeError, OSError, ValueError):
            self._names = set()

    def seconds(self) -> float | None:
        """Processor seconds that others had of our processors since some time; also what a
        hypervisor took away. None: it cannot be seen."""
        if not self._names:
            return None
        try:
            with open("/proc/stat", "rb") as file:
                lines = file.read().splitlines()
            rows = [row for line in lines if (row := line.split()) and row[0] in self._names]
            ticks = sum(int(row[i]) for row in rows for i in _BUSY)
        except (OSError, ValueError, IndexError):
            self._names = set()
            return None
        return ticks / self._tick - time.process_time() if rows else None
