"""Runs scenarios: every contender in every round, their order another each time."""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any, ClassVar

from bench.compare.measures import order
from bench.compare.side import Side, SideError, Subject, pause

from infd.engine.processors import Others
from infd_client import ClientError
from infd_protocol.errors import InfdError

Values = dict[str, float]
FAILURES = (SideError, InfdError, ClientError, OSError)


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured. Tokens, unless said otherwise."""

    rounds: int = 9
    short: int = 32
    """A short message."""
    brief: int = 12
    """A message where many are sent at once: the template adds some tokens to each."""
    long: int = 192
    """A long one."""
    reply: int = 48
    """A reply to one who is alone."""
    runs: int = 3
    """Such replies in one round: of a single one the speed varies by several per cent."""
    together: int = 24
    """A reply beside one or three others."""
    together_8: int = 64
    """A reply beside seven."""
    small_reply: int = 96
    """A reply of the bundled model."""
    small_runs: int = 8
    """Replies of the bundled model in one round: one takes some hundredths of a second."""
    system: int = 500
    """The shared system prompt."""
    turn: int = 32
    """A message of a conversation."""
    turn_reply: int = 8
    watched: int = 101
    """A reply whose gaps are looked at: the 99th of a hundred gaps is not yet the longest."""
    alone: int = 25
    """A reply of which the median gap is enough."""
    prompt: int = 4000
    """The prompt beside a stream."""
    prompt_part: int = 224
    """After so many of them its speed is known, and it is aborted."""
    heavy: int = 8
    """Contexts of the heavy user."""
    many: int = 16
    """Contexts that want two threads each."""
    many_reply: int = 24
    contexts: int = 200
    """Contexts made and destroyed."""


QUICK = Sizes(
    rounds=1, long=128, reply=16, runs=1, together=8, together_8=8, small_runs=2, system=200,
    turn_reply=4, watched=24, alone=8, prompt=1000, prompt_part=224, many_reply=6, contexts=20,
)  # fmt: skip
"""To see that everything works: figures of one short round mean little."""


def longer(sizes: Sizes, times: int) -> Sizes:
    """With so many times as long replies: else a fast machine's are over before they can be
    measured, or while others' prompts are still read."""
    names = ("reply", "together", "together_8", "small_reply", "alone", "many_reply", "prompt_part")
    return replace(sizes, **{name: times * getattr(sizes, name) for name in names})


class Scenario(ABC):
    """One thing to measure. Made anew for each model."""

    name: ClassVar[str]
    what: ClassVar[str]

    def __init__(self, subject: Subject, sizes: Sizes) -> None:
        self.subject = subject
        self.sizes = sizes
        self.held: dict[str, Any] = {}
        """What a contender needs from round to round, by its name."""

    @abstractmethod
    def takes(self, side: Side) -> bool:
        """Whether the contender takes part."""

    def rounds_of(self, side: Side) -> int:
        """In how many rounds, from the first, it does."""
        return self.sizes.rounds

    async def prepare(self, side: Side) -> None:  # noqa: B027 - there may be nothing to make
        """Make what is needed from round to round, and warm the contender up."""

    @abstractmethod
    async def once(self, side: Side, number: int) -> Values:
        """The values of one round, each by its name."""

    async def finish(self, side: Side) -> None:  # noqa: B027 - nor to free
        """Free what `prepare` made."""


@dataclass(slots=True)
class Found:
    """What came out: of each model, scenario and contender each value, round by round."""

    values: dict[str, dict[str, dict[str, dict[str, list[float | None]]]]] = field(
        default_factory=dict
    )
    notes: list[str] = field(default_factory=list)
    """What did not work, a line each."""

    def add(self, subject: str, scenario: str, side: str, number: int, values: Values) -> None:
        """The values of round `number`; rounds that were missed have None."""
        place = self.values.setdefault(subject, {}).setdefault(scenario, {}).setdefault(side, {})
        for name, value in values.items():
            row = place.setdefault(name, [])
            row += [None] * (number - len(row))
            row.append(value)

    def of(self, subject: str, scenario: str, side: str, value: str) -> list[float | None]:
        """A value round by round; empty if there is none."""
        found = self.values.get(subject, {}).get(scenario, {}).get(side, {}).get(value, [])
        return list(found)


def tell(text: str) -> None:
    """Say on standard error what goes on."""
    print(f"compare: {text}", file=sys.stderr, flush=True)


async def _quiet(others: Others) -> None:
    """Wait until the contenders rest, a second at most: llama-server goes on for a while after its
    reply's last token, which would be counted against whoever is measured next."""
    for _ in range(10):
        before = others.seconds()
        await pause(0.1)
        after = others.seconds()
        if before is None or after is None or after - before <= 0.02:
            return


async def run(scenario: Scenario, sides: Sequence[Side], found: Found) -> None:
    """Measure a scenario. A contender that fails is left out of its rest, and noted."""
    taking = {side.name: side for side in sides if scenario.takes(side)}
    subject, began = scenario.subject.name, monotonic()
    ready: dict[str, Side] = {}
    others = Others()

    def failed(side: Side, error: BaseException) -> None:
        ready.pop(side.name, None)
        line = f"{subject}, {scenario.name}, {side.name}: {error or type(error).__name__}"
        found.notes.append(line)
        tell(line)

    for side in taking.values():
        try:
            await scenario.prepare(side)
            ready[side.name] = side
        except FAILURES as error:
            failed(side, error)
    for number in range(scenario.sizes.rounds):
        for name in order(list(taking), number):
            at = ready.get(name)
            if at is None or number >= scenario.rounds_of(at):
                continue
            await _quiet(others)
            try:
                values = await scenario.once(at, number)
            except FAILURES as error:
                failed(at, error)
            else:
                found.add(subject, scenario.name, name, number, values)
    for side in taking.values():
        try:
            await scenario.finish(side)
        except FAILURES as error:
            failed(side, error)
    tell(f"{subject}, {scenario.name}: {monotonic() - began:.0f} s")
