"""Foreign load: noticed by our own loss, left when the others are gone."""

from __future__ import annotations

import subprocess
import sys

import pytest

from infd.engine.load import ForeignLoad
from infd.engine.processors import Others

STEP = 0.05


class Observed:
    """A process that holds `threads` and gets `part` of their time beside what others use."""

    def __init__(self, *, seen: bool) -> None:
        self.load = ForeignLoad()
        self.seen = seen
        self.now = self.processor = self.busy = self.others = 0.0
        self.single = False

    def run(self, seconds: float, *, team: float, others: float) -> list[bool]:
        """`team`: the part that a team of two gets of its time (one thread gets all of it);
        `others`: cores that the others use. Whether one thread was granted, step by step."""
        said = []
        for _ in range(round(seconds / STEP)):
            threads = 1 if self.single else 2
            self.now += STEP
            self.busy += threads * STEP
            self.processor += threads * STEP * (1.0 if self.single else team)
            self.others += others * STEP
            self.single = self.load.observe(
                self.now, self.processor, self.busy, self.others if self.seen else None
            )
            said.append(self.single)
        return said


@pytest.mark.parametrize("seen", [True, False])
def test_a_quiet_machine_keeps_its_teams(seen: bool) -> None:
    assert not any(Observed(seen=seen).run(30, team=0.96, others=0.03))


def test_seen_load_is_not_tried_out_before_a_minute() -> None:
    machine = Observed(seen=True)
    said = machine.run(50, team=0.6, others=0.8)
    noticed = said.index(True)
    assert noticed * STEP <= 0.5
    assert all(said[noticed:])
    # It lasts: of ten minutes a window a minute goes to trying.
    said = machine.run(600, team=0.6, others=0.8)
    assert said.count(False) * STEP <= 10 * 0.5


def test_the_end_of_seen_load_is_noticed_at_once() -> None:
    machine = Observed(seen=True)
    assert machine.run(10, team=0.6, others=0.8)[-1]
    said = machine.run(10, team=0.97, others=0.05)
    assert said.index(False) * STEP <= 0.5
    assert not any(said[said.index(False) :])


@pytest.mark.parametrize("seen", [True, False])
def test_what_cannot_be_seen_is_tried_out_ever_more_seldom(seen: bool) -> None:
    """A container's quota takes time away and nobody is seen to use it."""
    machine = Observed(seen=seen)
    said = machine.run(100, team=0.6, others=0.0)
    tries = [i for i in range(1, len(said)) if said[i - 1] and not said[i]]
    gaps = [(b - a) * STEP for a, b in zip([said.index(True), *tries], tries, strict=False)]
    assert gaps == sorted(gaps)
    assert gaps[-1] >= 8
    said = machine.run(40, team=0.97, others=0.0)
    assert not any(said[-20:])


def test_what_others_use_is_counted() -> None:
    others = Others()
    before = others.seconds()
    if before is None:
        pytest.skip("/proc/stat does not tell what the processors did")
    burn = "import time\nwhile time.process_time() < 1: pass"
    subprocess.run([sys.executable, "-c", burn], check=True)
    after = others.seconds()
    assert after is not None
    assert after - before >= 0.9
