"""`infd bench`: measure the daemon on this machine, beside llama.cpp alone."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infd.failures import CommandError, UsageError
from infd.machine import usable_cores

if TYPE_CHECKING:
    from infd.bench.decoding import Subject

NAMES = (
    "decode", "first_token", "calls", "latency", "memory", "connections", "placement", "lookup",
    "flash",
)  # fmt: skip


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "bench",
        help="measure the daemon beside llama.cpp alone",
        description="Start a throw-away daemon on a free loopback port and measure it: ratios to "
        "llama.cpp's plain loop in the same run, calls, memory. Then both placements, "
        "prompt-lookup and flash attention are tried on the model, and the lines for infd.toml "
        "are printed that it does best with. Takes some minutes; nothing else should compute "
        "meanwhile.",
    )
    parser.add_argument(
        "--model",
        metavar="PATH|NAME",
        help="a GGUF file, or a model of the models folder, to measure computing on; else one of "
        "0.5 B parameters with random weights is made",
    )
    parser.add_argument(
        "--state", metavar="DIR", help="the state folder whose models --model names"
    )
    parser.add_argument(
        "--quick", action="store_true", help="only see that the bench works; gives no advice"
    )
    parser.add_argument("--json", action="store_true", help="print JSON after the table")
    parser.add_argument("--rounds", metavar="N", type=int, help="rounds of each measurement (5)")
    parser.add_argument(
        "--only", metavar="NAME", action="append", choices=NAMES,
        help=f"measure only this, may be repeated: {', '.join(NAMES)}",
    )  # fmt: skip
    parser.add_argument(
        "--cache", metavar="DIR", type=Path,
        help="where the made models are kept (a temporary folder, kept for the next time)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    from dataclasses import replace

    from infd.bench import advice, plan, report
    from infd.bench.calls import CallerFailed
    from infd.bench.decoding import Differs
    from infd.bench.side import SideError
    from infd.bench.throwaway import ThrowawayError
    from infd.wire import WireError
    from infd_protocol.errors import InfdError

    if given.rounds is not None and given.rounds < 1:
        raise UsageError(f"--rounds {given.rounds}: at least one round is needed")
    cache = given.cache or Path(tempfile.gettempdir()) / f"infd-bench-models-{os.getuid()}"
    sizes = plan.QUICK if given.quick else plan.Sizes()
    if given.rounds is not None:
        sizes = replace(sizes, rounds=given.rounds)
    try:
        large, small = plan.subjects(_given(given.model, given.state), cache, given.quick)
    except OSError as error:
        raise CommandError(
            f"--cache {cache}: the models to measure cannot be written ({error.strerror})"
        ) from None
    names = tuple(name for name in NAMES if name in (given.only or NAMES))
    # Beside other work, threads that wait for each other spin: no way to look quickly.
    cores = 1 if given.quick else usable_cores()
    chosen = plan.Plan(large, small, sizes, names, cores)
    about: dict[str, Any] = {}
    rows: list[report.Row] = []
    try:
        rows.extend(plan.measure(chosen, about))
    except InfdError as error:
        raise CommandError(f"the bench's daemon refused: {error.name} {error.detail}") from None
    except (CallerFailed, Differs, SideError, ThrowawayError, WireError) as error:
        raise CommandError(str(error)) from None
    where = report.circumstances(about["library"], about["kernels"])
    found = report.Advice() if given.quick else advice.advise(rows, large)
    where |= {"quick": given.quick, "model": large.name, "bundled": small.name}
    if given.json:
        print(report.as_text(where, rows, found), file=sys.stderr)
        print(report.as_json(where, rows, found))
    else:
        print(report.as_text(where, rows, found))
    return 0


def _given(model: str | None, state: str | None) -> Subject | None:
    """The model that --model means. Raises CommandError."""
    from infd import config
    from infd.bench.decoding import Subject
    from infd.models.registry import Registry
    from infd.reach import warnings_told

    if model is None:
        return None
    if Path(model).is_file():
        return Subject(Path(model), synthetic=False, prefix="given-")
    settings = config.load(state=state)
    found = None
    if settings.models_folder.is_dir():
        with warnings_told():
            found = Registry(settings).find(model)
    if found is None:
        raise CommandError(
            f"--model {model}: there is neither such a file nor such a model in "
            f"{settings.models_folder} (--state DIR names another state folder)"
        )
    return Subject(
        found.path, synthetic=False, prefix="given-", listed=model, options=found.settings.options
    )
