"""The command: which models, contenders and scenarios, and where the results go."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench import build_llama
from bench.build_llama import BuildError, Programs
from bench.compare import plot, prompts, report, rounds, sharing, speed
from bench.compare.alone import Alone, LlamaBench
from bench.compare.daemon import Batched, Infd, Strict
from bench.compare.rounds import Found, Scenario, Sizes, tell
from bench.compare.servers import LlamaCppPython, LlamaServer, Render
from bench.compare.side import Side, SideError, Subject
from bench.compare.targets import BUNDLED, LARGE

from infd.bench import synthetic
from infd.demo import MODEL_PATH
from infd.engine.renderer import compile_template

ROOT = Path(__file__).parents[3]
SHAPE = synthetic.Shape("llama-1.1b-q4_0", 2048, 22, 32, 4, 5632, 32000, 8192)
"""TinyLlama's: 1.1 thousand million parameters, with 8,192 tokens of context."""
SCENARIOS: dict[str, tuple[type[Scenario], ...]] = {
    BUNDLED: (speed.Single, speed.Together2, speed.Together4, speed.Together8, prompts.Contexts),
    LARGE: (
        speed.Single, speed.Together8, prompts.Turn10, prompts.SystemPrompt, sharing.Light,
        sharing.BesidePrompt, speed.Many, speed.Foreign, prompts.LongPrompt, speed.Together2,
        speed.Together4,
    ),
}  # fmt: skip
CONTENDERS = tuple(
    kind.name
    for kind in (Infd, Batched, Strict, LlamaServer, LlamaCppPython, LlamaBench, Alone)
)
MODELS = {
    BUNDLED: "The bundled model (2.9 M parameters: what serving costs)",
    LARGE: "A model of 1.1 B parameters, Q4_0, random weights",
}


def _names(kinds: Sequence[Any]) -> list[str]:
    return list(dict.fromkeys(kind.name for kind in kinds))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python tests/bench/compare",
        description="Compare infd with other servers and with llama.cpp alone, on one machine with "
        "one libllama. About three quarters of an hour; nothing else should compute meanwhile.",
    )
    everything = [kind for kinds in SCENARIOS.values() for kind in kinds]
    parser.add_argument("--quick", action="store_true", help="one short round: does it work?")
    parser.add_argument("--rounds", type=int, metavar="N", help="rounds of each scenario (9)")
    parser.add_argument("--model", choices=list(SCENARIOS), action="append", help="only this model")
    parser.add_argument("--only", metavar="SCENARIO", action="append", choices=_names(everything),
                        help=f"only this: {', '.join(_names(everything))}")  # fmt: skip
    parser.add_argument("--contender", metavar="NAME", action="append", choices=CONTENDERS,
                        help=f"only this: {', '.join(CONTENDERS)}")  # fmt: skip
    parser.add_argument("--large", type=Path, metavar="FILE", help="the synthetic 1 B model's file")
    parser.add_argument("--times", type=int, metavar="N", default=1,
                        help="replies N times as long, for a fast machine (1)")  # fmt: skip
    parser.add_argument("--gpu-layers", type=int, metavar="N", default=0,
                        help="layers that all compute on a GPU; -1 is all (0)")  # fmt: skip
    cache = Path(tempfile.gettempdir()) / f"infd-bench-models-{os.getuid()}"
    parser.add_argument("--cache", type=Path, metavar="DIR", help="where it is made and kept",
                        default=cache)  # fmt: skip
    parser.add_argument("--llama", type=Path, metavar="DIR", help="build_llama.py's folder",
                        default=build_llama.default_folder())  # fmt: skip
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw the picture there")
    parser.add_argument("--save", action="store_true", help="write tests/bench/comparison.json "
                        "and .png, and the README's section")  # fmt: skip
    parser.add_argument("--from", type=Path, metavar="FILE", dest="earlier",
                        help="measure nothing; take an earlier --json")  # fmt: skip
    return parser


def _subject(name: str, given: argparse.Namespace) -> Subject:
    layers = given.gpu_layers
    if name == BUNDLED:
        return Subject(BUNDLED, MODEL_PATH, synthetic=False, n_ctx=1024, gpu_layers=layers)
    path = given.large
    if path is None:
        tell(f"the model {SHAPE.name} in {given.cache}")
        path = synthetic.ensure(SHAPE, given.cache)
    # Room for the prompt of 4,000 tokens and what is around it.
    return Subject(LARGE, path, synthetic=True, n_ctx=4608, gpu_layers=layers)


def _sides(
    subject: Subject, render: Render, programs: Programs | None, wanted: Sequence[str]
) -> list[Side]:
    cores = speed.cores()
    sides: list[Side] = [
        Infd(subject, cores), Batched(subject, cores), Strict(subject, cores),
        LlamaCppPython(subject, cores, render), Alone(subject, cores),
    ]  # fmt: skip
    if programs is not None:
        sides[3:3] = [LlamaServer(subject, cores, render, programs)]
        sides.append(LlamaBench(subject, cores, programs))
    return [side for side in sides if side.name in wanted]


async def _about(subject: Subject) -> dict[str, Any]:
    """What llama.cpp says of itself and of the model. Raises SideError."""
    teller = Alone(subject, 1)
    try:
        await teller.start()
        return await teller.about_model()
    finally:
        await teller.close()


async def _measure(
    given: argparse.Namespace, sizes: Sizes, programs: Programs | None, found: Found
) -> dict[str, Any]:
    """Run what is asked for. Returns the circumstances."""
    about: dict[str, Any] = {}
    for name in given.model or list(SCENARIOS):
        wanted = [kind for kind in SCENARIOS[name] if kind.name in (given.only or [kind.name])]
        if not wanted:
            continue
        subject = _subject(name, given)
        scenarios = [kind(subject, sizes) for kind in wanted]
        model = await _about(subject)
        # The template is for those who do not take messages.
        render = compile_template(model["template"], model["bos"], model["eos"])
        sides = [
            side for side in _sides(subject, render, programs, given.contender or CONTENDERS)
            if any(scenario.takes(side) for scenario in scenarios)
        ]  # fmt: skip
        started: list[Side] = []
        about = about or report.where(model, programs, sizes)
        try:
            for side in sides:
                started.append(side)
                try:
                    await side.start()
                except rounds.FAILURES as error:
                    found.notes.append(f"{name}, {side.name}: {error}")
                    tell(found.notes[-1])
                    started.remove(side)
                    await side.close()
            about["contenders"] |= {side.name: side.about for side in started}
            for scenario in scenarios:
                await rounds.run(scenario, started, found)
                _write_json(given.json, about, found)
        finally:
            for side in started:
                await side.close()
    return about


def _write_json(file: Path | None, about: dict[str, Any], found: Found) -> None:
    """Also after each scenario, so that what was measured is kept when the run is ended."""
    if file is not None:
        file.write_text(report.as_json(about, found) + "\n")


def _write(given: argparse.Namespace, about: dict[str, Any], found: Found) -> None:
    bench = ROOT / "tests" / "bench"
    files = given.json, given.plot
    if given.save:
        files = bench / "comparison.json", bench / "comparison.png"
    _write_json(files[0], about, found)
    drawn = ""
    if files[1]:
        caption = (
            f"medians of {about['rounds']} rounds, {about['date'][:10]}, {about['processor']}, "
            f"{about['cores']} cores, {about['library']}"
        )
        try:
            plot.draw(found, files[1], caption)
            drawn = "tests/bench/comparison.png"
        except ImportError:
            tell("matplotlib is not installed, so there is no picture: pip install matplotlib")
    if given.save:
        readme = ROOT / "README.md"
        text = report.section(about, found, MODELS, drawn)
        readme.write_text(report.put(readme.read_text(), text))


def main() -> int:
    """Compare."""
    given = _parser().parse_args()
    found = Found()
    if given.earlier is not None:
        about = json.loads(given.earlier.read_text())
        found.values, found.notes = about.pop("values"), about.pop("notes")
    else:
        sizes = rounds.QUICK if given.quick else Sizes()
        if given.rounds is not None:
            sizes = replace(sizes, rounds=given.rounds)
        sizes = rounds.longer(sizes, given.times)
        try:
            programs: Programs | None = build_llama.find(given.llama)
        except BuildError as error:
            tell(f"without llama-server and llama-bench: {error}")
            programs = None
        try:
            about = _run(_measure(given, sizes, programs, found))
        except SideError as error:
            tell(str(error))
            return 1
    print(report.as_text(about, found))
    _write(given, about, found)
    return 0


def _run(work: Any) -> dict[str, Any]:
    """Run it on uvloop, as the clients of all contenders alike; on asyncio's loop without it."""
    try:
        import uvloop
    except ImportError:
        done: dict[str, Any] = asyncio.run(work)
    else:
        done = uvloop.run(work)
    return done


if __name__ == "__main__":
    sys.exit(main())
