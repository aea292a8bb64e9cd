"""What is advised on which figures, and that its lines are a configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from infd import config
from infd.bench.advice import advise
from infd.bench.choices import LOOKUP
from infd.bench.decoding import Subject
from infd.bench.report import Advice, Row
from infd.engine.options import ModelOptions

OWN = Subject(Path("/models/own-7b.q4.gguf"), synthetic=False)


def placement_rows(
    ratios: dict[int, float], *, gaps: tuple[float, float] = (50.0, 50.0)
) -> list[Row]:
    """So many times as fast in batched; p99 gaps in dedicated and batched."""
    rows = []
    for count, ratio in ratios.items():
        for placement, speed, gap in (
            ("dedicated", 1.0, gaps[0]), ("batched", ratio, gaps[1])
        ):  # fmt: skip
            samples = tuple(speed * base for base in (30.0, 20.0, 40.0))
            rows.append(
                Row(f"together_{placement}_{count}", "", samples, "tok/s",
                    beside={"p99 gap ms": gap})
            )  # fmt: skip
    return rows


def lookup_rows(quoting: float, ordinary: float) -> list[Row]:
    return [
        Row("lookup_quoting", "", (quoting,), ""),
        Row("lookup_ordinary", "", (ordinary,), ""),
    ]


def placement_of(advice: Advice) -> str:
    return next(line for line in advice.lines if line.startswith("placement")).partition(" = ")[2]


def test_batched_where_many_at_once_gain_and_nobody_loses() -> None:
    advice = advise(placement_rows({1: 1.0, 2: 1.05, 4: 1.4, 8: 2.0}), OWN)
    assert placement_of(advice) == '"batched"'
    (sentence,) = advice.sentences
    assert sentence.startswith("own-7b.q4: choose batched, which pays from 4 at once on:")
    assert "8 replies at once come 2 times as fast in batched (60 against 30 tokens" in sentence
    assert "p99 gaps of 50 against 50 ms" in sentence


@pytest.mark.parametrize(
    ("ratios", "gaps"),
    [
        ({1: 1.0, 8: 1.05}, (50.0, 50.0)),
        ({1: 0.8, 8: 2.0}, (50.0, 50.0)),
        ({1: 1.0, 8: 2.0}, (50.0, 80.0)),
    ],
    ids=["no gain", "one alone loses", "long gaps"],
)
def test_dedicated_otherwise(ratios: dict[int, float], gaps: tuple[float, float]) -> None:
    advice = advise(placement_rows(ratios, gaps=gaps), OWN)
    assert placement_of(advice) == '"dedicated"'
    assert advice.sentences[0].startswith("own-7b.q4: choose dedicated: ")


@pytest.mark.parametrize(
    ("quoting", "ordinary", "value"),
    [(1.5, 1.0, LOOKUP), (1.5, 0.9, 0), (1.05, 1.05, 0)],
    ids=["gains", "costs others", "gains too little"],
)
def test_lookup_only_where_it_gains(quoting: float, ordinary: float, value: int) -> None:
    advice = advise(lookup_rows(quoting, ordinary), OWN)
    assert advice.lines[-1] == f"lookup = {value}"
    assert advice.sentences[0].startswith(
        f"own-7b.q4: {'turn lookup on' if value else 'leave lookup off'}: "
    )


def test_lookup_is_left_off_where_batched_is_chosen() -> None:
    rows = [*placement_rows({1: 1.0, 8: 2.0}), *lookup_rows(1.5, 1.0)]
    advice = advise(rows, OWN)
    assert advice.lines[-2:] == ('placement = "batched"', "lookup = 0")
    assert "as batched has none" in advice.sentences[1]
    kept = Subject(
        OWN.path, synthetic=False, listed="own", options=ModelOptions(placement="batched")
    )
    assert advise(lookup_rows(1.5, 1.0), kept).lines == ("[models.own]", "lookup = 0")


@pytest.mark.parametrize(("ratio", "word"), [(1.3, "on"), (0.7, "off"), (1.05, "auto")])
def test_flash_attention_where_it_gains(ratio: float, word: str) -> None:
    advice = advise([Row("flash_attention", "", (ratio,), "")], OWN)
    assert advice.lines[-1] == f'flash_attention = "{word}"'
    assert f'set flash_attention to "{word}"' in advice.sentences[0]


def test_made_models_say_nothing_of_lookup() -> None:
    made = Subject(Path("/tmp/llama.gguf"), synthetic=True)
    advice = advise([*placement_rows({1: 1.0, 8: 1.0}), *lookup_rows(1.5, 1.0)], made)
    assert advice.lines == ("[models.NAME]", 'placement = "dedicated"')
    assert "--model" in advice.sentences[1]


def test_nothing_measured_nothing_said() -> None:
    assert advise([], OWN) == Advice()


def test_the_lines_are_a_configuration(tmp_path: Path) -> None:
    rows = [*placement_rows({1: 1.0, 8: 1.0}), *lookup_rows(1.5, 1.0)]
    file = tmp_path / "infd.toml"
    file.write_text("\n".join(advise(rows, OWN).lines))
    table = config.load(file).models["own-7b.q4"]
    assert table.path == OWN.path
    assert table.options == ModelOptions(lookup=LOOKUP)
