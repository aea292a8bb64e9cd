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


def _all() -> Iterator[Target]:
    for side in PLACEMENTS:
        short = side.removeprefix("infd ")
        yield Target(
            f"single / llama-bench, {short}", f"{side}: one stream ÷ llama-bench",
            LARGE, "single", (side, "decode"), (BENCH, "decode"), 0.98,
        )  # fmt: skip
        yield Target(
            f"single / llama-server, {short}", f"{side}: one stream ÷ llama-server",
            LARGE, "single", (side, "decode"), (SERVER, "decode"), 1.0,
        )  # fmt: skip
        yield Target(
            f"bundled single / llama-server, {short}",
            f"{side}: one stream of the bundled model ÷ llama-server",
            BUNDLED, "single", (side, "decode"), (SERVER, "decode"), 1.15,
        )  # fmt: skip
    yield Target(
        "8 at once, decode", f"{BATCHED}: 8 at once, decoding ÷ llama-server",
        LARGE, "8 at once", (BATCHED, "decode"), (SERVER, "decode"), 1.05,
    )  # fmt: skip
    yield Target(
        "8 at once, requests", f"{BATCHED}: 8 at once, whole requests ÷ llama-server",
        LARGE, "8 at once", (BATCHED, "requests"), (SERVER, "requests"), 1.0,
    )  # fmt: skip
    yield Target(
        "8 at once / separate", f"{DEDICATED}: 8 at once, decoding ÷ the best of separate contexts",
        LARGE, "8 at once", (DEDICATED, "decode"), (ALONE, "decode"), 0.95,
    )  # fmt: skip
    yield Target(
        "16 x 2 threads", f"{DEDICATED}: 16 contexts of 2 threads, in all ÷ one stream",
        LARGE, "16 x 2 threads", (DEDICATED, "together"), (DEDICATED, "single"), 1.0,
    )  # fmt: skip
    yield Target(
        "foreign load", f"{DEDICATED}: beside a process that fills one core ÷ one thread alone",
        LARGE, "foreign load", (DEDICATED, "beside"), (DEDICATED, "one thread"), 0.9,
    )  # fmt: skip
    for side in PLACEMENTS:
        short = side.removeprefix("infd ")
        cold, own = f"system prompt / cold, {short}", f"system prompt / own tokens, {short}"
        yield Target(
            cold, f"{side}: first token, new context, shared prompt ÷ llama-server cold",
            LARGE, "system prompt", (side, "first"), (SERVER, "cold"), 0.10, False, own,
        )  # fmt: skip
        yield Target(
            own, f"{side}: the same ÷ evaluating its own new tokens",
            LARGE, "system prompt", (side, "first"), (ALONE, "first"), 1.3, False, cold,
        )  # fmt: skip
        yield Target(
            f"turn 10, {short}", f"{side}: first token of turn 10 ÷ llama-server, prompt cache on",
            LARGE, "turn 10", (side, "first"), (SERVER, "first"), 1.05, False,
        )  # fmt: skip
    yield Target(
        "processor time", f"{DEDICATED}: Jain's index, light and heavy user's processor time",
        LARGE, "light beside heavy", (DEDICATED, "jain"), None, 0.98,
    )  # fmt: skip
    for side, bound in ((DEDICATED, 2.5), (BATCHED, 4.5), (STRICT, 2.5)):
        short = side.removeprefix("infd ")
        yield Target(
            f"light gap, {short}", f"{side}: light user's p99 gap beside heavy ÷ alone",
            LARGE, "light beside heavy", (side, "gap"), (side, "alone"), bound, False,
        )  # fmt: skip
    for side, gap, keeps in ((DEDICATED, 4.0, 0.45), (BATCHED, 10.0, 0.7)):
        short = side.removeprefix("infd ")
        yield Target(
            f"gap beside a prompt, {short}",
            f"{side}: p99 gap beside a 4,000-token prompt ÷ median alone",
            LARGE, "beside a prompt", (side, "gap"), (side, "alone"), gap, False,
        )  # fmt: skip
        yield Target(
            f"prompt beside a stream, {short}", f"{side}: that prompt's speed ÷ undisturbed",
            LARGE, "beside a prompt", (side, "prompt"), (side, "undisturbed"), keeps,
        )  # fmt: skip
        yield Target(
            f"abort, {short}", f"{side}: abort to idle ÷ one micro-batch",
            LARGE, "beside a prompt", (side, "abort"), None, 1.0, False,
        )  # fmt: skip
        yield Target(
            f"memory, {short}", f"{side}: memory after 200 contexts ÷ before",
            BUNDLED, "contexts", (side, "kept"), None, 1.02, False,
        )  # fmt: skip


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
