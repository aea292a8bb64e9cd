"""The comparison as one picture (matplotlib)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.compare.measures import middle
from bench.compare.rounds import Found
from bench.compare.targets import BUNDLED, LARGE

# Colours that people who see colours differently tell apart (Okabe and Ito).
COLOURS = {
    "infd dedicated": "#0072B2", "infd batched": "#56B4E9", "infd batched strict": "#009E73",
    "llama-server": "#E69F00", "llama-cpp-python": "#CC79A7", "llama-bench": "#999999",
    "llama.cpp alone": "#444444",
}  # fmt: skip

Bars = Sequence[tuple[str, str, str]]
"""Label, scenario, value."""

PANELS: tuple[tuple[str, str, Bars, float, str], ...] = (
    (
        "1 B parameters: tokens a second in all", LARGE,
        (("1", "single", "decode"), ("2", "2 at once", "decode"), ("4", "4 at once", "decode"),
         ("8", "8 at once", "decode")), 1.0, "streams at once",
    ),
    (
        "bundled model: tokens a second in all", BUNDLED,
        (("1", "single", "decode"), ("2", "2 at once", "decode"), ("4", "4 at once", "decode"),
         ("8", "8 at once", "decode")), 1.0, "streams at once",
    ),
    (
        "1 B parameters: ms to the first token", LARGE,
        (("short message", "single", "first"), ("turn 10", "turn 10", "first"),
         ("500-token system prompt,\nwarm", "system prompt", "first"),
         ("192-token message", "long prompt", "first")), 1000.0, "",
    ),
    (
        "1 B parameters: ms, 99th percentile of gaps in a stream", LARGE,
        (("alone", "light beside heavy", "alone"),
         ("beside eight streams", "light beside heavy", "gap"),
         ("beside a 4,000-token prompt", "beside a prompt", "gap")), 1000.0, "",
    ),
)  # fmt: skip


def draw(found: Found, path: Path, caption: str) -> None:
    """Write the picture. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(12, 8), layout="constrained")
    shown: dict[str, Any] = {}
    for axis, (title, subject, bars, factor, label) in zip(axes.flat, PANELS, strict=True):
        scenarios = found.values.get(subject, {})
        names = [
            name
            for name in COLOURS
            if any(value in scenarios.get(row, {}).get(name, {}) for _, row, value in bars)
        ]
        width = 0.8 / max(1, len(names))
        for at, name in enumerate(names):
            places, heights = [], []
            for place, (_, scenario, value) in enumerate(bars):
                median = middle(found.of(subject, scenario, name, value))
                if median is not None:
                    places.append(place + (at - (len(names) - 1) / 2) * width)
                    heights.append(median * factor)
            drawn = axis.bar(places, heights, width, color=COLOURS[name])
            axis.bar_label(drawn, fmt="{:,.0f}", fontsize=6)
            shown.setdefault(name, drawn)
        axis.set_title(title, fontsize=10)
        axis.set_xticks(range(len(bars)), [text for text, _, _ in bars], fontsize=8)
        axis.set_xlabel(label, fontsize=8)
        axis.spines[["top", "right"]].set_visible(False)
    if shown:
        figure.legend(
            list(shown.values()), list(shown), loc="outside upper center", ncols=len(shown)
        )
    figure.supxlabel(caption, fontsize=7)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
