"""What an owner can choose for a model, tried out on it: placement, prompt-lookup, attention.

Both sides of every pair are measured in each round, one right after the other, in one process
and on the same weights; rounds alternate which goes first. advice.py says what follows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import median

from infd.bench.decoding import Subject
from infd.bench.engine_side import EngineSide, Talk, Together
from infd.bench.report import Row
from infd.bench.synthetic import text as synthetic_text
from infd.engine.options import PLACEMENTS

LOOKUP = 8
"""The value of the key `lookup` that is tried."""
_QUESTIONS = (
    "What is the difference between a river and a lake?", "Tell me a short story about a fox.",
    "How do I make tea?", "Why is the sky blue?",
)  # fmt: skip
_PASSAGE = (
    "The lighthouse stands on the last rock of the bay. Every evening its keeper climbs the "
    "stairs, trims the lamp, and writes the weather into a book. When fog comes in from the sea "
    "he rings the bell until morning. Ships that pass answer him with their horns, and the "
    "fishermen in the village say that they sleep better for it."
)


def placements(
    side: EngineSide, subject: Subject, *, rounds: int, counts: Sequence[int], tokens: int
) -> list[Row]:
    """Tokens a second in all, and gaps, with so many replies at one time in either placement.

    `tokens`: of one reply."""
    talks = [_own_talk(subject, number) for number in range(max(counts))]

    def run(placement: str, count: int) -> Together:
        return side.together(
            talks[:count], max_tokens=tokens, ctxsize=subject.ctxsize, placement=placement
        )

    found: dict[tuple[str, int], list[Together]] = {}
    for placement in PLACEMENTS:
        run(placement, max(counts))
    for number in range(rounds):
        for count in counts:
            for placement in PLACEMENTS if number % 2 else reversed(PLACEMENTS):
                found.setdefault((placement, count), []).append(run(placement, count))
    return [
        Row(
            f"together_{placement}_{count}",
            f"replies at once: {count}, {placement}, {subject.name}",
            tuple(one.tokens / one.seconds for one in found[placement, count]), "tok/s",
            beside={
                "p99 gap ms": median(1000 * one.gap for one in found[placement, count]),
                "tokens a reply": tokens,
            },
        )
        for count in counts
        for placement in PLACEMENTS
    ]  # fmt: skip


def lookup(side: EngineSide, subject: Subject, *, rounds: int, tokens: int) -> list[Row]:
    """The speed of replies with prompt-lookup over that without, for replies that quote what is
    in the conversation and for others. Prompts count on both sides."""

    def run(talk: Talk, most: int) -> Together:
        return side.together([talk], max_tokens=tokens, ctxsize=subject.ctxsize, lookup=most)

    rows = []
    for kind, talks in _talks(subject, lambda talk: run(talk, 0).texts[0]).items():
        ratios: list[float] = []
        speeds: dict[int, list[float]] = {0: [], LOOKUP: []}
        for most in speeds:
            run(talks[0], most)
        for number in range(rounds):
            for most in (0, LOOKUP) if number % 2 else (LOOKUP, 0):
                replies = [run(talk, most) for talk in talks]
                made = sum(reply.tokens for reply in replies)
                speeds[most].append(made / sum(reply.seconds for reply in replies))
            ratios.append(speeds[LOOKUP][-1] / speeds[0][-1])
        rows.append(
            Row(
                f"lookup_{kind}", f"lookup = {LOOKUP} / 0, {kind} replies, {subject.name}",
                tuple(ratios), "",
                beside={"with tok/s": median(speeds[LOOKUP]), "without tok/s": median(speeds[0])},
            )
        )  # fmt: skip
    return rows


def flash(side: EngineSide, subject: Subject, *, rounds: int, tokens: int) -> Row:
    """The speed of a long prompt and its reply with flash attention over that without."""
    talk = [("user", _long_text(subject))]
    found: dict[str, list[float]] = {"on": [], "off": []}

    def run(word: str) -> float:
        reply = side.together(
            [talk], max_tokens=tokens, ctxsize=subject.ctxsize, flash_attention=word
        )
        return reply.seconds / reply.tokens

    for word in found:
        run(word)
    for number in range(rounds):
        for word in ("on", "off") if number % 2 else ("off", "on"):
            found[word].append(run(word))
    return Row(
        "flash_attention", f"flash attention on / off, a long prompt, {subject.name}",
        tuple(off / on for on, off in zip(found["on"], found["off"], strict=True)), "",
        beside={f"{word} ms a token": 1000 * median(times) for word, times in found.items()},
    )  # fmt: skip


def _long_text(subject: Subject) -> str:
    """A message that fills about half of the context: a word of it is a token of a made model,
    and several of another."""
    return synthetic_text(subject.ctxsize // (2 if subject.synthetic else 8))


def _talks(subject: Subject, answer: Callable[[Talk], str]) -> dict[str, list[Talk]]:
    """Conversations whose next reply quotes them, as far as the model does, and others."""
    if subject.synthetic:
        ordinary: list[Talk] = [[("user", synthetic_text(24, number))] for number in range(2)]
    else:
        ordinary = [[("user", question)] for question in _QUESTIONS]
    asked = ordinary[0]
    quoting: list[Talk] = [[*asked, ("assistant", answer(asked)), *asked]]
    if not subject.synthetic:
        quoting.append([("user", f"Repeat this text word for word:\n\n{_PASSAGE}")])
    return {"quoting": quoting, "ordinary": ordinary}


def _own_talk(subject: Subject, number: int) -> Talk:
    """A conversation that begins unlike those of other numbers."""
    if subject.synthetic:
        return [("user", synthetic_text(24, number))]
    return [("user", f"{number + 1}. {subject.long_prompt()}")]
