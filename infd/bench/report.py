"""What the bench found: rows with their targets, as a table for people and as JSON.

A row's value is the median of its samples, one a round. Ratios are taken within a round, between
neighbours in time, so that a machine whose speed drifts shifts both sides.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import infd


@dataclass(frozen=True, slots=True)
class Row:
    """One measured thing. `target` None: for information, nothing is promised."""

    name: str
    what: str
    samples: tuple[float, ...]
    unit: str
    target: float | None = None
    at_least: bool = True
    """Whether the target is a lower bound; else an upper one."""
    beside: dict[str, Any] = field(default_factory=dict)
    """What helps to judge the value: the two sides of a ratio, sizes."""

    @property
    def value(self) -> float:
        """The median."""
        return statistics.median(self.samples)

    @property
    def passed(self) -> bool | None:
        """Whether the target is met; None without one."""
        if self.target is None:
            return None
        return self.value >= self.target if self.at_least else self.value <= self.target

    @property
    def aim(self) -> str:
        """The target in words."""
        if self.target is None:
            return "-"
        return f"{'>=' if self.at_least else '<='} {number(self.target)}"

    def as_json(self) -> dict[str, Any]:
        """The row as a JSON object."""
        return {
            "name": self.name,
            "what": self.what,
            "unit": self.unit,
            "target": self.target,
            "bound": "at least" if self.at_least else "at most",
            "value": round(self.value, 6),
            "least": round(min(self.samples), 6),
            "most": round(max(self.samples), 6),
            "samples": [round(sample, 6) for sample in self.samples],
            "passed": self.passed,
            "beside": self.beside,
        }


def number(value: float) -> str:
    """Three significant digits, and thousands as such."""
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"


def circumstances(library: str, kernels: Sequence[str]) -> dict[str, Any]:
    """The machine, the versions and the moment."""
    return {
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "infd": infd.__version__,
        "python": platform.python_version(),
        "library": library,
        "kernels": list(kernels),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "processor": _from_proc("cpuinfo", "model name") or platform.processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": _from_proc("meminfo", "MemTotal"),
        "load": round(os.getloadavg()[0], 2),
    }


def _from_proc(name: str, key: str) -> str:
    try:
        lines = Path("/proc", name).read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(key)), "")


@dataclass(frozen=True, slots=True)
class Advice:
    """What follows for an owner: sentences, and the lines for infd.toml (none: leave it)."""

    sentences: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()


_NONE = Advice()


def as_json(where: dict[str, Any], rows: Sequence[Row], advice: Advice = _NONE) -> str:
    """Everything, as one JSON object."""
    found = {**where, "rows": [row.as_json() for row in rows]}
    if advice.sentences:
        found["advice"] = {"sentences": advice.sentences, "toml": "\n".join(advice.lines)}
    return json.dumps(found, indent=2, ensure_ascii=False)


def as_text(where: dict[str, Any], rows: Sequence[Row], advice: Advice = _NONE) -> str:
    """A table, with what it was measured on above it and what follows from it below."""
    kernels = " ".join(where["kernels"])
    quick = where.get("quick", False)
    lines = [
        f"infd {where['infd']}, {where['library']}, Python {where['python']}, {where['date']}",
        f"{where['processor']}, {where['cores']} cores, {where['memory']}, {where['system']}; "
        f"load {where['load']}",
        f"kernels: {kernels}",
    ]
    if quick:
        lines.append("quick: toy models, few samples: targets are not judged, no advice is given")
    lines.append("")
    cells = [("", "measured", "target", "median", "least .. most")]
    cells += [
        (
            "" if quick else {True: "pass", False: "MISS", None: ""}[row.passed],
            row.what,
            row.aim,
            f"{number(row.value)} {row.unit}".strip(),
            f"{number(min(row.samples))} .. {number(max(row.samples))}",
        )
        for row in rows
    ]
    widths = [max(len(row[i]) for row in cells) for i in range(len(cells[0]))]
    for index, cell in enumerate(cells):
        row_text = "  ".join(text.ljust(width) for text, width in zip(cell, widths, strict=True))
        lines.append(row_text.rstrip())
        if index == 0:
            lines.append("  ".join("-" * width for width in widths))
        elif beside := rows[index - 1].beside:
            shown = ", ".join(f"{key} {_shown(value)}" for key, value in beside.items())
            lines.append(f"{'':{widths[0]}}    {shown}")
    if advice.sentences:
        lines += ["", *advice.sentences]
    if advice.lines:
        lines += ["In infd.toml:", "", *(f"    {line}" for line in advice.lines)]
    return "\n".join(lines)


def _shown(value: Any) -> str:
    return number(value) if isinstance(value, int | float) else str(value)


def progress(text: str) -> None:
    """Tell on standard error what is measured now."""
    print(f"bench: {text}", file=sys.stderr, flush=True)
