"""The comparison for people (text), for programs (JSON) and in the README (Markdown)."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.build_llama import Programs
from bench.compare.measures import middle
from bench.compare.rounds import Found, Sizes
from bench.compare.targets import Target, judge, verdict

from infd.bench.report import Row, circumstances, number

BEGIN, END = "<!-- comparison -->", "<!-- /comparison -->"
_WORDS = {True: "met", False: "MISSED", None: "not measured"}
# Which values of a scenario the table of figures shows: the value, its unit, and its factor.
_SHOWN = {
    "single": (
        ("decode", "tok/s", 1.0), ("first", "ms to the first token", 1000.0),
        ("client", "µs of the client's processor time a token", 1.0),
    ),
    "2 at once": (("decode", "tok/s in all", 1.0), ("requests", "requests/s", 1.0)),
    "4 at once": (("decode", "tok/s in all", 1.0), ("requests", "requests/s", 1.0)),
    "8 at once": (("decode", "tok/s in all", 1.0), ("requests", "requests/s", 1.0)),
    "long prompt": (("first", "ms to the first token", 1000.0), ("prompt", "prompt tok/s", 1.0)),
    "turn 10": (("first", "ms to the first token", 1000.0),),
    "system prompt": (
        ("first", "ms to the first token, warm", 1000.0), ("cold", "the same, cold", 1000.0),
    ),
    "16 x 2 threads": (("together", "tok/s in all", 1.0),),
    "foreign load": (("beside", "tok/s", 1.0), ("one thread", "tok/s, one thread alone", 1.0)),
    "light beside heavy": (("gap", "ms, p99 gap", 1000.0), ("alone", "the same, alone", 1000.0)),
    "beside a prompt": (
        ("gap", "ms, p99 gap", 1000.0), ("prompt", "prompt tok/s", 1.0),
        ("undisturbed", "prompt tok/s, undisturbed", 1.0),
    ),
    "contexts": (("each", "ms to make and destroy one", 1000.0),),
}  # fmt: skip


def where(library: dict[str, Any], programs: Programs | None, sizes: Sizes) -> dict[str, Any]:
    """The machine, the versions and the moment; "contenders" is for how each was started."""
    found = circumstances(library["library"], library["kernels"])
    found["commit"] = _commit()
    found["rounds"] = sizes.rounds
    found["contenders"] = {}
    if programs is not None:
        found["same_library"] = programs.same_library
        # The folders above are this machine's own affair.
        found["libraries"] = {
            name: "/".join(Path(path).parts[-3:]) for name, path in programs.libraries.items()
        }
    return found


def _commit() -> str:
    root = Path(__file__).parents[3]
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=root, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return said.stdout.strip()


def as_json(about: dict[str, Any], found: Found) -> str:
    """Everything, as one JSON object."""
    judged = judge(found)
    rows = {target.name: row for target, row in judged}
    targets = [
        {"subject": target.subject, "scenario": target.scenario, **row.as_json(),
         "met": verdict(target, rows), "or": target.instead or None}
        for target, row in judged if row is not None
    ]  # fmt: skip
    everything = {**about, "targets": targets, "notes": found.notes, "values": found.values}
    return json.dumps(everything, indent=1, ensure_ascii=False)


def _result(target: Target, row: Row | None, rows: dict[str, Row | None]) -> tuple[str, ...]:
    words = _WORDS[verdict(target, rows)]
    aim = ("≥ " if target.at_least else "≤ ") + number(target.bound)
    if row is None:
        return target.what, aim, "–", "–", words
    if target.instead and row.passed is False and words == _WORDS[True]:
        words = "the other is met"
    spread = f"{number(min(row.samples))} … {number(max(row.samples))}"
    return target.what, aim, number(row.value), spread, words


def results(found: Found) -> list[tuple[str, ...]]:
    """The table of targets, its head first."""
    judged = judge(found)
    rows = {target.name: row for target, row in judged}
    head = ("what", "target", "median", "least … most", "")
    return [head, *(_result(target, row, rows) for target, row in judged)]


def figures(found: Found, subject: str) -> list[tuple[str, ...]]:
    """The table of what was measured on a model: medians, a column for each contender."""
    scenarios = found.values.get(subject, {})
    names = list(dict.fromkeys(name for sides in scenarios.values() for name in sides))
    table = [("measured", *names)]
    for scenario, sides in scenarios.items():
        for value, unit, factor in _SHOWN.get(scenario, ()):
            medians = [middle(sides.get(name, {}).get(value, [])) for name in names]
            if any(median is not None for median in medians):
                cells = ("–" if m is None else number(m * factor) for m in medians)
                table.append((f"{scenario}: {unit}", *cells))
    return table


def as_text(about: dict[str, Any], found: Found) -> str:
    """Everything, for a terminal."""
    parts = ["\n".join(_head(about))]
    parts += [f"{subject}\n{_aligned(figures(found, subject))}" for subject in found.values]
    parts.append(_aligned(results(found)))
    if found.notes:
        parts.append("\n".join(["What did not work:", *found.notes]))
    return "\n\n".join(parts)


def _head(about: dict[str, Any]) -> list[str]:
    lines = [
        f"infd {about['infd']} ({about['commit']}), {about['library']}, Python {about['python']}, "
        f"{about['date'][:10]}",
        f"{about['processor']}, {about['cores']} cores, {about['memory']}, {about['system']}; "
        f"load {about['load']}; {about['rounds']} rounds",
        f"kernels: {' '.join(about['kernels'])}",
        *(f"{name}: {how}" for name, how in about["contenders"].items()),
    ]
    if "libraries" in about:
        lines.append(
            "all contenders run on the same libllama" if about["same_library"] else
            "llama-server and llama-bench run on libraries of their own build, from the same "
            "sources and flags"
        )  # fmt: skip
        lines += [f"  {name} => {path}" for name, path in sorted(about["libraries"].items())]
    return lines


def _aligned(table: Sequence[Sequence[str]]) -> str:
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    lines.insert(1, "  ".join("-" * width for width in widths))
    return "\n".join(lines)


def _markdown(table: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(row) + " |" for row in table]
    lines.insert(1, "|" + "---|" * len(table[0]))
    return "\n".join(lines)


def section(about: dict[str, Any], found: Found, models: dict[str, str], plot: str) -> str:
    """What stands in the README between the marks. `models`: what each subject is, in words;
    `plot`: the picture's path, empty if there is none."""
    same = about.get("same_library")
    parts = [
        f"`python tests/bench/compare`, {about['date'][:10]}, {about['processor']}, "
        f"{about['cores']} cores, {_gigabytes(about['memory'])}; {about['library']}, "
        f"infd {about['commit']}, "
        f"Python {about['python']}: medians of {about['rounds']} interleaved rounds, ratios taken "
        "within a round. "
        + ("All contenders ran on the same libllama. " if same else
           "llama-server ran on a build of its own from the same sources. " if same is False
           else "llama-server was not there. ")
        + f"Each had {about['cores']} threads, greedy sampling, the same tokens, and its own "
        "defaults beyond that, but infd batched had flash attention, as llama-server has it of "
        "itself; llama-cpp-python's server computes one request at a time. Beside a stream, the "
        "prompt of 4,000 tokens was aborted after the first 224, whose speed is given. "
        "Every figure, flag and version: [comparison.json](tests/bench/comparison.json)."
    ]  # fmt: skip
    if plot:
        parts.append(f"![Speed of infd and other servers, side by side]({plot})")
    parts.append(_markdown(results(found)))
    for subject in found.values:
        parts.append(f"{models[subject]}:\n\n{_markdown(figures(found, subject))}")
    if found.notes:
        parts.append("\n".join(["What did not work:\n", *(f"- {note}" for note in found.notes)]))
    return "\n\n".join(parts)


def _gigabytes(memory: str) -> str:
    """Memory as /proc/meminfo gives it, for people."""
    count, _, unit = memory.partition(" ")
    return f"{int(count) / 2**20:.0f} GiB" if unit == "kB" and count.isdigit() else memory


def put(readme: str, text: str) -> str:
    """The README with the section in place of what is between the marks.

    Raises ValueError if the marks are not there, each once and in order.
    """
    head, begin, rest = readme.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end or BEGIN in rest or END in tail:
        raise ValueError(f"the README must hold {BEGIN} and behind it {END}, once each")
    return f"{head}{BEGIN}\n\n{text}\n\n{END}{tail}"
