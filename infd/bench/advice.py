"""What follows from the bench for a model: placement, looking ahead, attention. Pure.

The rules, on medians of ratios within a round:
- batched, where the most replies at once are made at least `PAYS` times as fast as in dedicated,
  one alone at least `HOLDS` times, and the gaps (p99) between a reply's pieces are at most
  `GAPS` times as long. Else dedicated, which also keeps to users' threads exactly.
- lookup, where replies that quote come at least `PAYS` times as fast and others at least
  `KEEPS` times; in the dedicated placement only. A made model says nothing of it: what its
  replies repeat is chance.
- flash attention on, or off, where that makes a long prompt with its reply at least `PAYS` times
  as fast; else auto.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from statistics import median

from infd.bench.choices import LOOKUP
from infd.bench.decoding import Subject
from infd.bench.report import Advice, Row, number

PAYS = 1.1
HOLDS = 0.9
GAPS = 1.5
KEEPS = 0.97


def advise(rows: Iterable[Row], subject: Subject) -> Advice:
    """The advice for the model that was measured; empty when neither choice was."""
    by_name = {row.name: row for row in rows}
    sentences: list[str] = []
    keys: list[str] = []
    placement = subject.options.placement
    counts = sorted(
        int(name.rpartition("_")[2]) for name in by_name if name.startswith("together_batched_")
    )
    if counts:
        placement, why = _placement(by_name, counts)
        sentences.append(f"{subject.path.stem}: {why}.")
        keys.append(f'placement = "{placement}"')
    if "lookup_quoting" in by_name:
        pays, why = _lookup(by_name, subject, placement)
        sentences.append(f"{subject.path.stem}: {why}.")
        if not subject.synthetic:
            keys.append(f"lookup = {LOOKUP if pays else 0}")
    if "flash_attention" in by_name:
        ratio = by_name["flash_attention"].value
        word = "on" if ratio >= PAYS else "off" if 1 / ratio >= PAYS else "auto"
        sentences.append(
            f'{subject.path.stem}: set flash_attention to "{word}": with it a long prompt and its '
            f"reply come {number(ratio)} times as fast as without."
        )
        keys.append(f'flash_attention = "{word}"')
    return Advice(tuple(sentences), tuple(_table(subject, keys)) if keys else ())


def _placement(rows: Mapping[str, Row], counts: list[int]) -> tuple[str, str]:
    def pair(count: int) -> tuple[Row, Row]:
        return rows[f"together_batched_{count}"], rows[f"together_dedicated_{count}"]

    ratios = {
        count: median(b / d for b, d in zip(*(row.samples for row in pair(count)), strict=True))
        for count in counts
    }
    most, least = counts[-1], counts[0]
    batched, dedicated = pair(most)
    longer, shorter = batched.beside["p99 gap ms"], dedicated.beside["p99 gap ms"]
    figures = (
        f"{most} replies at once come {number(ratios[most])} times as fast in batched "
        f"({number(batched.value)} against {number(dedicated.value)} tokens a second in all), "
        f"with p99 gaps of {number(longer)} against {number(shorter)} ms, "
        f"and {'one alone' if least == 1 else f'{least} at once'} {number(ratios[least])} times"
    )
    if ratios[most] < PAYS or ratios[least] < HOLDS or longer > GAPS * shorter:
        return "dedicated", f"choose dedicated: {figures}"
    pays_from = next(n for n in counts if all(ratios[m] >= PAYS for m in counts if m >= n))
    return "batched", f"choose batched, which pays from {pays_from} at once on: {figures}"


def _lookup(rows: Mapping[str, Row], subject: Subject, placement: str) -> tuple[bool, str]:
    quoting, ordinary = rows["lookup_quoting"].value, rows["lookup_ordinary"].value
    figures = (
        f"with lookup = {LOOKUP} replies that quote come {number(quoting)} times as fast and "
        f"others {number(ordinary)} times"
    )
    if subject.synthetic:
        return False, f"{figures}, but a made model repeats by chance: give your own with --model"
    if quoting < PAYS or ordinary < KEEPS:
        return False, f"leave lookup off: {figures}"
    if placement != "dedicated":
        return False, f"leave lookup off, as batched has none; in dedicated {figures}"
    return True, f"turn lookup on: {figures}"


def _table(subject: Subject, keys: list[str]) -> Iterable[str]:
    """The lines of the model's table."""
    name = "NAME" if subject.synthetic else subject.listed or subject.path.stem
    yield f"[models.{name if re.fullmatch('[A-Za-z0-9_-]+', name) else json.dumps(name)}]"
    if not subject.listed and not subject.synthetic:
        yield f"path = {json.dumps(str(subject.path.absolute()), ensure_ascii=False)}"
    yield from keys
