"""What the comparison must show, and whether it does: each line is the median of a ratio.

A target names a value of one contender and what it is divided by; both are of the same round.
Pure.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from bench.compare.measures import middle, ratios
from bench.compare.rounds import Found

from infd.bench.report import Row

LARGE, BUNDLED = "large", "bundled"
DEDICATED, BATCHED, STRICT = "infd dedicated", "infd batched", "infd batched strict"
SERVER, BENCH, ALONE = "llama-server", "llama-bench", "llama.cpp alone"
PLACEMENTS = (DEDICATED, BATCHED)


@dataclass(frozen=True, slots=True)
class Target:
    """One line. `over`, `under`: (contender, value); `under` None: the value itself."""

    name: str
    what: str
    subject: str
    scenario: str
    over: tuple[str, str]
    under: tuple[str, str] | None
    bound: float
    at_least: bool = True
    instead: str = ""
    """The name of another target that may be met in place of this one."""

    def row(self, found: Found) -> Row | None:
        """What came out; None if nothing did."""
        over = found.of(self.subject, self.scenario, *self.over)
        if self.under is None:
            samples = tuple(value for value in over if value is not None)
            sides: dict[str, float | None] = {}
        else:
            under = found.of(self.subject, self.scenario, *self.under)
            samples = ratios(over, under)
            sides = {
                " ".join(self.over): middle(over), " ".join(self.under): middle(under)
            }  # fmt: skip
        if not samples:
            return None
        beside = {key: value for key, value in sides.items() if value is not None}
        return Row(self.name, self.what, samples, "", self.bound, self.at_least, beside)


def _short(side: str) -> str:
    return side.removeprefix("infd ")


def _streams(side: str) -> Iterator[Target]:
    """One stream of the placement beside others' best."""
    decode = (side, "decode")
    for name, subject, other, bound in (
        ("single / llama-bench", LARGE, BENCH, 0.98),
        ("single / llama-server", LARGE, SERVER, 1.0),
        ("bundled single / llama-server", BUNDLED, SERVER, 1.15),
    ):
        model = " of the bundled model" if subject == BUNDLED else ""
        yield Target(
            f"{name}, {_short(side)}", f"{side}: one stream{model} ÷ {other}",
            subject, "single", decode, (other, "decode"), bound,
        )  # fmt: skip


def _together() -> Iterator[Target]:
    """Many at once, and beside others."""
    for name, what, scenario, over, under, bound in (
        (
            "8 at once, decode", "8 at once, decoding ÷ llama-server", "8 at once",
            (BATCHED, "decode"), (SERVER, "decode"), 1.05,
        ),
        (
            "8 at once, requests", "8 at once, whole requests ÷ llama-server", "8 at once",
            (BATCHED, "requests"), (SERVER, "requests"), 1.0,
        ),
        (
            "8 at once / separate", "8 at once, decoding ÷ the best of separate contexts",
            "8 at once", (DEDICATED, "decode"), (ALONE, "decode"), 0.95,
        ),
        (
            "16 x 2 threads", "16 contexts of 2 threads, in all ÷ one stream", "16 x 2 threads",
            (DEDICATED, "together"), (DEDICATED, "single"), 1.0,
        ),
        (
            "foreign load", "beside a process that fills one core ÷ one thread alone",
            "foreign load", (DEDICATED, "beside"), (DEDICATED, "one thread"), 0.9,
        ),
    ):  # fmt: skip
        yield Target(name, f"{over[0]}: {what}", LARGE, scenario, over, under, bound)


def _firsts(side: str) -> Iterator[Target]:
    """The placement's first token where much of the prompt is known."""
    short = _short(side)
    first = (side, "first")
    cold, own = f"system prompt / cold, {short}", f"system prompt / own tokens, {short}"
    for name, what, scenario, under, bound, instead in (
        (
            cold, "first token, new context, shared prompt ÷ llama-server cold", "system prompt",
            (SERVER, "cold"), 0.10, own,
        ),
        (
            own, "the same ÷ evaluating its own new tokens", "system prompt",
            (ALONE, "first"), 1.3, cold,
        ),
        (
            f"turn 10, {short}", "first token of turn 10 ÷ llama-server, prompt cache on",
            "turn 10", (SERVER, "first"), 1.05, "",
        ),
    ):  # fmt: skip
        yield Target(name, f"{side}: {what}", LARGE, scenario, first, under, bound, False, instead)


def _fairness() -> Iterator[Target]:
    """A light user beside a heavy one."""
    scenario = "light beside heavy"
    yield Target(
        "processor time", f"{DEDICATED}: Jain's index, light and heavy user's processor time",
        LARGE, scenario, (DEDICATED, "jain"), None, 0.98,
    )  # fmt: skip
    for side, bound in ((DEDICATED, 2.5), (BATCHED, 4.5), (STRICT, 2.5)):
        yield Target(
            f"light gap, {_short(side)}", f"{side}: light user's p99 gap beside heavy ÷ alone",
            LARGE, scenario, (side, "gap"), (side, "alone"), bound, False,
        )  # fmt: skip


def _prompts(side: str, gap: float, keeps: float) -> Iterator[Target]:
    """A long prompt and a stream beside each other, and how the placement ends things."""
    short, scenario = _short(side), "beside a prompt"
    yield Target(
        f"gap beside a prompt, {short}",
        f"{side}: p99 gap beside a 4,000-token prompt ÷ median alone",
        LARGE, scenario, (side, "gap"), (side, "alone"), gap, False,
    )  # fmt: skip
    yield Target(
        f"prompt beside a stream, {short}", f"{side}: that prompt's speed ÷ undisturbed",
        LARGE, scenario, (side, "prompt"), (side, "undisturbed"), keeps,
    )  # fmt: skip
    yield Target(
        f"abort, {short}", f"{side}: abort to idle ÷ one micro-batch",
        LARGE, scenario, (side, "abort"), None, 1.0, False,
    )  # fmt: skip
    yield Target(
        f"memory, {short}", f"{side}: memory after 200 contexts ÷ before",
        BUNDLED, "contexts", (side, "kept"), None, 1.02, False,
    )  # fmt: skip


def _all() -> Iterator[Target]:
    for side in PLACEMENTS:
        yield from _streams(side)
    yield from _together()
    for side in PLACEMENTS:
        yield from _firsts(side)
    yield from _fairness()
    yield from _prompts(DEDICATED, 4.0, 0.45)
    yield from _prompts(BATCHED, 10.0, 0.7)


TARGETS = tuple(_all())


def judge(found: Found) -> list[tuple[Target, Row | None]]:
    """Every target with what came out."""
    return [(target, target.row(found)) for target in TARGETS]


def verdict(target: Target, rows: dict[str, Row | None]) -> bool | None:
    """Whether the target, or the one that may stand in its place, is met; None: not measured."""
    verdicts = [
        row.passed for name in (target.name, target.instead) if (row := rows.get(name)) is not None
    ]
    if rows.get(target.name) is None:
        return None
    return any(verdicts)
