"""Decoding over the wire against the plain loop, and the first token of a later turn.

Both sides read the same file, get the same messages, compute with the same number of threads and
make the same tokens (checked: greedy text must be equal). Rounds alternate which side goes first.

- decode: tokens a second from the first piece's arrival to the last answer, over tokens a second
  of the plain loop after its prompt. Tokens that came with the first piece are not counted.
- first token: from before the message is stored until the reply's first piece is here, over the
  plain loop's time for those prompt tokens that the daemon computed, at the same depth.
"""

from __future__ import annotations

import statistics
from bisect import bisect_right
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from infd.bench.plain_side import PlainSide
from infd.bench.report import Row
from infd.bench.synthetic import text as synthetic_text
from infd.bench.throwaway import Throwaway
from infd.bench.wire import Wire
from infd.engine.options import ModelOptions

TURNS = 10
_DEFAULTS = ModelOptions()
_SENTENCES = (
    "My name is Ada.", "Count from 1 to 10.", "What is my name?", "My favourite colour is blue.",
    "What is infd?", "What is 3 + 4?", "What is my favourite colour?", "Repeat: the sun is up.",
    "I live in Rome.", "Where do I live, and what is my name?",
)  # fmt: skip
_LONG = "Count from 1 to 40."


@dataclass(frozen=True, slots=True)
class Subject:
    """A model to measure: its file, and whether synthetic.py made it."""

    path: Path
    synthetic: bool
    ctxsize: int = 1024
    prefix: str = ""
    listed: str = ""
    """Its name in the owner's configuration, if it is there."""
    options: ModelOptions = _DEFAULTS
    """What the configuration says of it."""

    @property
    def name(self) -> str:
        """The model's name at the daemon."""
        return self.prefix + self.path.stem

    def long_prompt(self) -> str:
        """A message whose reply is long."""
        return synthetic_text(24) if self.synthetic else _LONG

    def turn(self, number: int) -> str:
        """The user's message of a turn, 0 to TURNS - 1."""
        if not self.synthetic:
            return _SENTENCES[number]
        return synthetic_text(40, number)


class Differs(Exception):
    """The daemon's reply is not the plain loop's; one line for people."""


def decode(
    daemon: Throwaway, wire: Wire, plain: PlainSide, subject: Subject,
    *, threads: int, rounds: int, tokens: int, target: float,
) -> Row:  # fmt: skip
    """The ratio of decoding speeds. `tokens`: at least so many a round. Raises Differs."""
    daemon.set_threads(wire, threads)
    ctxid = wire.context(subject.name, subject.ctxsize)
    text = subject.long_prompt()
    messages = [{"role": "user", "content": text}]
    most = min(tokens, subject.ctxsize // 2)
    one = plain.run(messages, threads=threads, max_tokens=most)
    runs = -(-tokens // max(1, len(one["ends"])))

    def over_wire() -> float:
        made, seconds = 0, 0.0
        for _ in range(runs):
            wire.call("inf_clear_context_history", CTXID=ctxid)
            reply = wire.say(ctxid, text, most)
            if reply.text != one["text"]:
                raise Differs(f"{subject.name}: the daemon's greedy reply is not llama.cpp's")
            after = len(one["ends"]) - bisect_right(one["ends"], reply.first_bytes)
            # A reply so short that it came in one piece counts from its beginning.
            made += after or len(one["ends"])
            seconds += reply.last - (reply.first if after else reply.sent)
        return made / seconds

    def alone() -> float:
        made, seconds = 0, 0.0
        for _ in range(runs):
            run = plain.run(messages, threads=threads, max_tokens=most)
            made += len(run["ends"]) - 1
            seconds += run["decode_s"]
        return made / seconds

    over_wire()
    ratios, wires, plains = [], [], []
    for number in range(rounds):
        if number % 2:
            served = over_wire()
            bare = alone()
        else:
            bare = alone()
            served = over_wire()
        ratios.append(served / bare)
        wires.append(served)
        plains.append(bare)
    wire.call("inf_destroy_context", CTXID=ctxid)
    return Row(
        f"decode_{subject.name}_{threads}t",
        f"decode over the wire / plain loop, {subject.name}, {_threads(threads)}",
        tuple(ratios), "", target,
        beside={
            "wire tok/s": statistics.median(wires), "plain tok/s": statistics.median(plains),
            "tokens a round": runs * len(one["ends"]),
        },
    )  # fmt: skip


def first_token(
    daemon: Throwaway, wire: Wire, plain: PlainSide, subject: Subject,
    *, threads: int, rounds: int, reply_tokens: int, target: float | None,
) -> Row:  # fmt: skip
    """The ratio of times to the first token of turn TURNS."""
    daemon.set_threads(wire, threads)
    ratios: list[float] = []
    served: list[float] = []
    bare: list[float] = []
    finish: dict[str, Any] = {}
    for _ in range(rounds + 1):
        ctxid = wire.context(subject.name, subject.ctxsize)
        messages: list[dict[str, str]] = []
        for number in range(TURNS):
            text = subject.turn(number)
            reply = wire.say(ctxid, text, reply_tokens)
            messages.append({"role": "user", "content": text})
            if number < TURNS - 1:
                messages.append({"role": "assistant", "content": reply.text})
        finish = reply.finish
        alone = plain.turn(messages, threads=threads, held=finish["TOKENS_CACHED"])
        wire.call("inf_destroy_context", CTXID=ctxid)
        served.append(reply.first - reply.sent)
        bare.append(alone)
        ratios.append(served[-1] / alone)
    # The first conversation warms both sides up.
    return Row(
        f"first_token_{subject.name}",
        f"first token of turn {TURNS} / evaluating its tokens alone, {subject.name}",
        tuple(ratios[1:]), "", target, at_least=False,
        beside={
            "wire ms": 1000 * statistics.median(served[1:]),
            "plain ms": 1000 * statistics.median(bare[1:]),
            "tokens held": finish["TOKENS_CACHED"],
            "tokens new": finish["TOKENS_IN"] - finish["TOKENS_CACHED"],
        },
    )  # fmt: skip


def _threads(n: int) -> str:
    return f"{n} thread" if n == 1 else f"{n} threads"
