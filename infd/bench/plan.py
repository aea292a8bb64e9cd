"""Which measurements there are, how large each is, and in which order they run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from infd.bench import calls, choices, decoding, footprint, synthetic
from infd.bench.decoding import Subject
from infd.bench.engine_side import EngineSide
from infd.bench.plain_side import PlainSide
from infd.bench.report import Row, progress
from infd.bench.throwaway import Throwaway
from infd.demo import MODEL_PATH


@dataclass(frozen=True, slots=True)
class Sizes:
    """How much is measured."""

    rounds: int = 5
    tokens: int = 128
    small_tokens: int = 2048
    reply_tokens: int = 12
    raw_calls: int = 100_000
    library_calls: int = 40_000
    paced_calls: int = 600
    contexts: int = 4
    connections: int = 1000
    together: tuple[int, ...] = (1, 2, 4, 8)
    together_tokens: int = 48
    lookup_tokens: int = 160


QUICK = Sizes(
    rounds=1, tokens=64, small_tokens=64, reply_tokens=4, raw_calls=1024, library_calls=512,
    paced_calls=20, contexts=2, connections=20,
    together=(1, 2), together_tokens=24, lookup_tokens=24,
)  # fmt: skip
"""For seeing that the bench works: its figures mean nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to measure. `large` is the model that computing is measured on; `small` the bundled
    one (or, where it is not installed, one of its shape)."""

    large: Subject
    small: Subject
    sizes: Sizes
    names: tuple[str, ...]
    cores: int


def subjects(model: Subject | None, cache: Path, quick: bool) -> tuple[Subject, Subject]:
    """The large (`model`, if given) and the small one, written into `cache` where needed.

    Raises OSError."""
    if quick:
        tiny = Subject(synthetic.ensure(synthetic.TINY, cache), synthetic=True)
        return model or tiny, tiny
    if model is not None:
        large = model
    else:
        progress(f"the model {synthetic.LARGE.name} in {cache}")
        large = Subject(synthetic.ensure(synthetic.LARGE, cache), synthetic=True)
    if MODEL_PATH.exists():
        return large, Subject(MODEL_PATH, synthetic=False)
    return large, Subject(synthetic.ensure(synthetic.SMALL, cache), synthetic=True)


def measure(plan: Plan, about: dict[str, object]) -> Iterator[Row]:
    """Run what the plan says. `about` gets the library's version and kernels.

    Raises the errors of the parts, each one line for people.
    """
    sizes, large = plan.sizes, plan.large
    with PlainSide(large.path, n_ctx=large.ctxsize) as plain:
        about.update(library=plain.about["library"], kernels=plain.about["kernels"])
        if "memory" in plan.names:
            progress("memory of contexts")
            with (
                Throwaway({large.name: large.path}, threads=plan.cores) as daemon,
                daemon.log_in() as wire,
            ):
                yield from footprint.contexts(daemon, wire, plain, large, count=sizes.contexts)
        if {"decode", "first_token", "latency", "calls"} & set(plan.names):
            yield from _served(plan, plain)
    if "connections" in plan.names:
        progress("idle connections")
        with Throwaway({}, threads=plan.cores) as daemon:
            yield footprint.connections(daemon, count=sizes.connections)
    if {"placement", "lookup", "flash"} & set(plan.names):
        with EngineSide(large.path, options=large.options, cores=plan.cores) as side:
            if "placement" in plan.names:
                progress(f"placements, {large.name}")
                yield from choices.placements(
                    side, large, rounds=sizes.rounds, counts=sizes.together,
                    tokens=sizes.together_tokens,
                )  # fmt: skip
            if "lookup" in plan.names:
                progress(f"lookup, {large.name}")
                yield from choices.lookup(
                    side, large, rounds=sizes.rounds, tokens=sizes.lookup_tokens
                )
            # A quantised cache leaves no choice.
            if "flash" in plan.names and not large.options.kv.quantised:
                progress(f"flash attention, {large.name}")
                yield choices.flash(side, large, rounds=sizes.rounds, tokens=sizes.together_tokens)


def _served(plan: Plan, plain: PlainSide) -> Iterator[Row]:
    """What is measured on one daemon with both models loaded."""
    sizes, large, small = plan.sizes, plan.large, plan.small
    with ExitStack() as held:
        models = {subject.name: subject.path for subject in (large, small)}
        daemon = held.enter_context(Throwaway(models, threads=plan.cores))
        wire = held.enter_context(daemon.log_in())
        for subject in (large, small):
            daemon.load(wire, subject.name)
        if "calls" in plan.names:
            progress("small calls")
            yield calls.flood(wire, rounds=sizes.rounds, calls=sizes.raw_calls)
            yield from calls.library(daemon, rounds=sizes.rounds, calls=sizes.library_calls)
        if "latency" in plan.names:
            progress("calls beside a decode")
            yield from calls.beside_decode(
                daemon, wire, large, rounds=sizes.rounds, calls=sizes.paced_calls
            )
        for subject, target in {small: 0.8, large: 0.95}.items():
            if not {"decode", "first_token"} & set(plan.names):
                break
            bare = plain
            if subject != large:
                bare = held.enter_context(PlainSide(subject.path, n_ctx=subject.ctxsize))
            if "decode" in plan.names:
                counts = sorted({1, plan.cores}) if subject is large else [1]
                tokens = sizes.tokens if subject is large else sizes.small_tokens
                for threads in counts:
                    progress(f"decode, {subject.name}, {threads} threads")
                    yield decoding.decode(
                        daemon, wire, bare, subject,
                        threads=threads, rounds=sizes.rounds, tokens=tokens, target=target,
                    )  # fmt: skip
            if "first_token" in plan.names:
                progress(f"first token, {subject.name}")
                yield decoding.first_token(
                    daemon, wire, bare, subject, threads=1, rounds=sizes.rounds,
                    reply_tokens=sizes.reply_tokens, target=1.2 if subject is large else None,
                )  # fmt: skip
