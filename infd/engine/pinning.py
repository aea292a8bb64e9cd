"""Which processor a computing thread runs on, while every processor computes.

Linux puts a woken thread where it ran before, or beside who woke it. When contexts hand cores to
each other a good tenth of all tokens thus begins on the processor of another one that computes,
while the one that was given over idles until the balancer looks: two of 45 ms lost a token, on two
cores. So each is kept to a processor of its own for as long as all of them are taken by single
threads. Otherwise the kernel chooses: with processors to spare it finds one, a team's threads are
created where their leader may run, and beside other processes it shares out the time better.

Limits: Linux; nothing is pinned where a quota gives fewer cores than processors.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from typing import Protocol


class Pinned(Protocol):
    """Who computes: a `Turn`."""

    held: int
    thread: int
    """As `threading.get_native_id` says; 0: not known yet."""
    processor: int
    """Which it is kept to; -1: none."""


class Pinning:
    """Keeps threads to processors. The caller holds a lock."""

    def __init__(self, cores: int) -> None:
        """`cores`: how many threads may compute at one moment."""
        try:
            processors = frozenset(os.sched_getaffinity(0))
        except (AttributeError, OSError):
            processors = frozenset()
        self._all = processors if 1 < cores == len(processors) else frozenset()

    def arrange(self, running: Sequence[Pinned], *, free: bool) -> None:
        """Have each of `running` on a processor of its own, the earlier ones where they are.

        `free`: the kernel shall choose, whatever they hold.
        """
        if not self._all:
            return
        if free or len(running) < len(self._all) or any(one.held > 1 for one in running):
            for one in running:
                self.loosen(one)
            return
        left = set(self._all)
        moving = []
        for one in running:
            if one.processor in left:
                left.discard(one.processor)
            else:
                moving.append(one)
        for one in moving:
            self._pin(one, left.pop())

    def loosen(self, one: Pinned) -> None:
        """It may run anywhere again."""
        if one.processor >= 0:
            one.processor = -1
            _allow(one.thread, self._all)

    def _pin(self, one: Pinned, processor: int) -> None:
        if one.thread and _allow(one.thread, (processor,)):
            one.processor = processor


def _allow(thread: int, processors: Collection[int]) -> bool:
    try:
        os.sched_setaffinity(thread, processors)
    except OSError:
        # The thread is gone, or the machine's owner has other plans for the processors.
        return False
    return True
