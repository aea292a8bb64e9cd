"""Scores the demo model by skill: ``python -m infd.demo.evaluate [--cases 200]``.

Rules: held-out wordings only, with names, words and numbers that training never drew; greedy; a
reply counts if it is the expected one to the letter. The conversation before the question holds
the model's own replies. ``--seed`` draws other cases; the card's scores are of the default seed,
which was not used while the model was made. Exit status 1 if a target is missed.
Limits: sums are of the 441 that training draws from, only their wordings are new.
"""

from __future__ import annotations

import argparse
import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from infd.demo import MODEL_PATH
from infd.demo.conversations import FACTS, UNKNOWN, Message, Talk
from infd.engine.plain import PlainChat

SEED = 31337
FALSE_REFUSALS = 0.05


@dataclass(frozen=True)
class Skill:
    """How a case of a skill is made, and the share of right replies that is its target."""

    target: float
    make: Callable[[Talk, int], None]


@dataclass
class Score:
    """The outcome of one skill; ``wrong`` holds question, expected and given reply."""

    cases: int = 0
    right: int = 0
    refused: int = 0
    wrong: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Right replies of all."""
        return self.right / max(1, self.cases)


def _before(talk: Talk, most: int) -> None:
    """Some turns that have nothing to do with what is scored."""
    for _ in range(talk.rng.randint(0, most)):
        kind = talk.rng.choice(("chat", "tell", "sum", "repeat", "count"))
        getattr(talk, kind)()


def _begin(talk: Talk, most: int) -> None:
    """Perhaps an ordinary system prompt, then some turns."""
    prompt = talk.rng.choice(("", "plain", "name"))
    if prompt:
        talk.system(prompt)
    _before(talk, most)


def _recall(talk: Talk, number: int) -> None:
    _begin(talk, 1)
    key = talk.tell()
    value = talk.told[key]
    for _ in range(talk.rng.randint(2, 5)):
        kind = talk.rng.choice(("chat", "tell", "sum", "repeat", "unknown", "spell"))
        getattr(talk, kind)()
    if talk.told[key] != value and number % 2:
        key = talk.rng.choice(list(talk.told))
    talk.ask(key)


def _own_name(talk: Talk, number: int) -> None:
    if number % 4:
        talk.system("name")
    if number % 2 == 0:
        talk.tell("name")
    _before(talk, 2)
    talk.self()


def _obeying(part: str) -> Callable[[Talk, int], None]:
    def make(talk: Talk, number: int) -> None:
        talk.system(part)
        _before(talk, 2)
        if talk.told and number % 2:
            talk.ask()
        else:
            getattr(talk, talk.rng.choice(("chat", "tell", "sum", "repeat", "self", "count")))()

    return make


def _unknown(talk: Talk, number: int) -> None:
    _begin(talk, 3)
    (talk.missing if number % 2 else talk.unknown)()


def _fact(talk: Talk, number: int) -> None:
    _begin(talk, 1)
    talk.fact(number % len(FACTS))


def _plainly(kind: str) -> Callable[[Talk, int], None]:
    def make(talk: Talk, number: int) -> None:
        _begin(talk, 2)
        getattr(talk, kind)()

    return make


SKILLS: dict[str, Skill] = {
    "recall": Skill(0.95, _recall),
    "own name": Skill(0.95, _own_name),
    "upper case": Skill(0.95, _obeying("upper")),
    "closing phrase": Skill(0.95, _obeying("closing")),
    "counting": Skill(0.95, _plainly("count")),
    "repeating": Skill(0.95, _plainly("repeat")),
    "adding": Skill(0.95, _plainly("sum")),
    "small talk": Skill(0.95, _plainly("chat")),
    "about infd": Skill(0.90, _fact),
    "not knowing": Skill(0.90, _unknown),
    "spelling": Skill(0.80, _plainly("spell")),
    "reversing": Skill(0.80, _plainly("reverse")),
}


def case(skill: str, number: int, seed: int) -> list[Message]:
    """One conversation of a skill; its last message is the reply that is expected."""
    talk = Talk(random.Random(f"{seed}:{skill}:{number}"), held=True)
    SKILLS[skill].make(talk, number)
    return talk.messages


def score(chat: PlainChat, skill: str, cases: int, seed: int) -> Score:
    """Hold the conversations of a skill with the model."""
    result = Score()
    for number in range(cases):
        messages = case(skill, number, seed)
        said: list[Message] = []
        for message in messages[:-1]:
            if message["role"] == "assistant":
                message = {"role": "assistant", "content": chat.reply(said, 100)}
            said.append(message)
        expected, given = messages[-1]["content"], chat.reply(said, 100)
        result.cases += 1
        result.right += given == expected
        result.refused += UNKNOWN.lower() in given.lower()
        if given != expected:
            result.wrong.append((said[-1]["content"], expected, given))
    return result


def main() -> int:
    """Print the scores; 1 if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_PATH)
    parser.add_argument("--cases", type=int, default=200, help="for each skill")
    parser.add_argument("--skill", choices=SKILLS, action="append")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--wrong", type=int, default=0, help="so many wrong replies of each skill")
    options = parser.parse_args()
    scores: dict[str, Score] = {}
    with PlainChat(options.model, n_ctx=1024) as chat:
        for skill in options.skill or SKILLS:
            scores[skill] = got = score(chat, skill, options.cases, options.seed)
            if not options.json:
                target = SKILLS[skill].target
                mark = "" if got.share >= target else "  MISSED"
                print(f"{skill:16}{got.share:7.1%} of {got.cases}, target {target:.0%}{mark}")
                for line in got.wrong[: options.wrong]:
                    print(f"    {line[0]!r}: expected {line[1]!r}, not {line[2]!r}")
    known = [got for skill, got in scores.items() if skill != "not knowing"]
    refusals = sum(got.refused for got in known) / max(1, sum(got.cases for got in known))
    missed = refusals > FALSE_REFUSALS or any(
        got.share < SKILLS[skill].target for skill, got in scores.items()
    )
    if options.json:
        shares = {skill: round(got.share, 4) for skill, got in scores.items()}
        print(json.dumps({"seed": options.seed, "shares": shares, "false refusals": refusals}))
    else:
        print(f"{'false refusals':16}{refusals:7.1%}, at most {FALSE_REFUSALS:.0%}")
    return int(missed)


if __name__ == "__main__":
    raise SystemExit(main())
