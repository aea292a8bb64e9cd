"""The operations table: it is the seed's, its rows are sound, and every key is checked."""

from __future__ import annotations

from typing import Any

import pytest
from support.samples import SAMPLES, WRONG, complete, least, sample
from support.seed import SEED

from infd_protocol import codes
from infd_protocol.errors import InfInvalidParams
from infd_protocol.operations import OPERATIONS, SAMPLING, SUPERUSER, Key, Operation, resolve
from infd_protocol.values import Kind

ROWS = list(OPERATIONS.values())
KEYS = [(row, key) for row in ROWS for key in row.takes]
FLAGS = {
    "MODEL_LOAD_UNLOAD", "ADAPTER_LOAD_UNLOAD", "USER_CREATE_DELETE", "USER_MODIFICATION",
    "USER_CONTEXT_LENGTH_MODIFICATION", "USER_ACCESS_MODIFICATION",
    "USER_SYS_PROMPT_MODIFICATION", "USER_SAMPLER_MODIFICATION",
    "USER_MAX_PROCESSOR_THREAD_COUNT_MODIFICATION", "USER_PROCESSOR_THREAD_COUNT_MODIFICATION",
    "USER_BATCH_LENGTH_MODIFICATION",
}  # fmt: skip

row_by_row = pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
key_by_key = pytest.mark.parametrize(
    ("row", "key"), KEYS, ids=[f"{row.name}-{key.name}" for row, key in KEYS]
)


def refused(row: Operation, keys: dict[str, Any]) -> InfInvalidParams:
    with pytest.raises(InfInvalidParams) as caught:
        row.parse(keys)
    assert caught.value.detail.endswith(".")
    return caught.value


# --- the rows --------------------------------------------------------------------------------


@row_by_row
def test_a_row_is_sound(row: Operation) -> None:
    assert row.name.startswith(("inf_", "exec_"))
    assert row.doc.endswith(".")
    assert resolve(row.name) is row
    assert len(row.by_name) == len(row.takes)
    assert len({key.name for key in row.gives}) == len(row.gives)
    assert row.session == ("STOK" in row.by_name)
    assert row.flag is None or row.flag == SUPERUSER or row.flag in FLAGS
    assert row.may_answer <= set(codes.BY_NUMBER)
    assert all(not codes.BY_NUMBER[code].refuses or code == 2012 for code in row.success)
    assert row.success.isdisjoint(row.codes)
    if row.data_required:
        assert row.data_in
    for key in (*row.takes, *row.gives):
        assert key.name == key.name.upper()
        assert key.doc
        assert not key.choices or key.kind is Kind.STR
        assert key.range is None or key.kind is Kind.F32


def test_success_is_of_the_operations_group() -> None:
    """As in the seed: exec_set_input succeeds with 2000, the other EXEC operations with 3000."""
    for row in ROWS:
        if row.name == "inf_get_context_status":
            assert row.success == {2009, 2010, 2012}
        elif row.name.startswith("exec_") and row.name != "exec_set_input":
            assert row.success == {3000}
        else:
            assert row.success == {2000}


def test_only_hello_and_access_need_no_session() -> None:
    assert {row.name for row in ROWS if not row.session} == {"inf_hello", "inf_access_request"}


def test_the_aliases_are_the_seeds_spellings() -> None:
    assert resolve("inf_destroy_dession") is OPERATIONS["inf_destroy_session"]
    long = "inf_modify_inf_modify_user_set_authority_flags"
    assert resolve(long) is OPERATIONS["inf_modify_user_set_authority_flags"]
    assert resolve("inf_destroy") is None
    assert [name for row in ROWS for name in row.aliases] == ["inf_destroy_dession", long]


# --- the seed --------------------------------------------------------------------------------


WRITTEN: dict[Kind, set[str]] = {
    Kind.USERNAME: {"str"},
    Kind.NEW_ACCTOK: {"str"},
    Kind.BIT: {"bool"},
    Kind.ID: {"str", "uint32"},
    Kind.ID_LIST: {"list<str>"},
}
"""How the seed writes the kinds that it has no word for."""


def spellings(key: Key) -> set[str]:
    """A key as the seed may write it."""
    mark = " ?" if key.optional else ""
    return {f"{key.name}{mark} <{kind}>" for kind in WRITTEN.get(key.kind, {str(key.kind)})}


@pytest.mark.parametrize("name", list(SEED))
def test_the_row_is_the_seeds(name: str) -> None:
    """Its keys, types, order, payloads and codes; what goes beyond it is marked ext."""
    row = resolve(name)
    assert row is not None
    assert not row.ext
    takes, gives, answers, data_in, data_out = SEED[name]
    for keys, written in ((row.takes, takes), (row.gives, gives)):
        ours = [spellings(key) for key in keys if not key.ext]
        assert len(ours) == len(written)
        assert all(line in ways for line, ways in zip(written, ours, strict=True))
    assert {codes.BY_NAME[answer].number for answer in answers} <= row.may_answer
    assert (bool(row.data_in), bool(row.data_out)) == (data_in, data_out)
    assert all(key.optional for key in row.takes if key.ext)


def test_what_the_seed_lacks_is_marked_ext() -> None:
    assert {row.name for row in ROWS if not row.ext} == {resolve(name).name for name in SEED}  # type: ignore[union-attr]
    assert len(SEED) == 26


# --- requests --------------------------------------------------------------------------------


@row_by_row
def test_all_keys_and_the_least_are_taken(row: Operation) -> None:
    assert set(row.parse(complete(row))) == set(row.by_name)
    assert set(row.parse(least(row))) == set(row.required)


@row_by_row
def test_every_unknown_key_is_named(row: Operation) -> None:
    error = refused(row, complete(row) | {"TYPO": 1, "CTXIDS": None})
    assert error.keys["UNKNOWN"] == ["TYPO", "CTXIDS"]
    assert "TYPO" in error.detail
    assert refused(row, least(row) | {"stok": "x"}).keys["UNKNOWN"] == ["stok"]


@key_by_key
def test_a_key_may_be_missing_only_where_optional(row: Operation, key: Key) -> None:
    without = complete(row)
    del without[key.name]
    for keys in (without, without | {key.name: None}):
        if key.optional:
            assert key.name not in row.parse(keys)
        else:
            assert key.name in refused(row, keys).detail


@key_by_key
def test_a_wrong_value_is_refused_by_name(row: Operation, key: Key) -> None:
    for value in WRONG[key.kind]:
        error = refused(row, complete(row) | {key.name: value})
        assert error.detail.startswith(f"{key.name} must be ")
        assert "UNKNOWN" not in error.keys


@key_by_key
def test_a_value_arrives_in_its_canonical_form(row: Operation, key: Key) -> None:
    if key.kind is Kind.ID:
        assert row.parse(complete(row) | {key.name: "12"})[key.name] == 12
    elif key.kind is Kind.ID_LIST:
        assert row.parse(complete(row) | {key.name: ["3", 4]})[key.name] == [3, 4]
    elif key.kind in (Kind.BOOL, Kind.BIT):
        assert row.parse(complete(row) | {key.name: 0})[key.name] is False
    elif key.kind is Kind.F32:
        value = row.parse(complete(row) | {key.name: 1})[key.name]
        assert (value, type(value)) == (1.0, float)
    elif key.choices:
        for choice in key.choices:
            assert row.parse(complete(row) | {key.name: choice.upper()})[key.name] == choice
        refused(row, complete(row) | {key.name: "neither"})
    else:
        assert row.parse(complete(row))[key.name] == SAMPLES[key.kind]


@pytest.mark.parametrize("name", ["ISSUPER", "ISSTATIC"])
def test_the_bits_are_integers_and_no_booleans(name: str) -> None:
    row = OPERATIONS["inf_create_new_user"]
    for value in (True, False):
        assert "not a boolean" in refused(row, complete(row) | {name: value}).detail


RANGES: dict[str, tuple[list[float], list[float]]] = {
    "TOP_P": ([0, 1, 0.5], [-0.01, 1.01]),
    "MIN_P": ([0, 1], [-0.01, 1.01]),
    "TYPICAL_P": ([0, 1], [-0.01, 1.01]),
    "TEMP": ([0, 100.0], [-0.01]),
    "REPEAT_PENALTY": ([0.01, 10], [0, -1, 1e-50]),
    "REPEAT_PRESENT": ([-2, 2], [-2.01, 2.01]),
    "REPEAT_FREQUENCY": ([-2, 2], [-2.01, 2.01]),
    "MIROSTAT_V2_TAU": ([0.01, 9], [0, -1]),
    "MIROSTAT_V2_ETA": ([0.01, 9], [0, -1]),
}


@pytest.mark.parametrize("key", SAMPLING, ids=lambda key: key.name)
def test_sampling_keys_keep_their_ranges(key: Key) -> None:
    row = OPERATIONS["inf_modify_user_sampling_set"]
    inside, outside = RANGES.get(key.name, ([], []))
    assert bool(inside) == (key.range is not None)
    if key.kind is Kind.F32:
        outside = [*outside, 3.4028235677973366e38]  # the tie above FLT_MAX: infinite in 32 bits
    for value in inside:
        assert row.parse(least(row) | {key.name: value})[key.name] == value
    for value in outside:
        assert key.name in refused(row, least(row) | {key.name: value}).detail


@row_by_row
def test_data_is_taken_where_it_has_a_meaning(row: Operation) -> None:
    for nothing in (None, "", b""):
        if row.data_required:
            with pytest.raises(InfInvalidParams):
                row.parse_data(nothing)
        else:
            assert not row.parse_data(nothing)
    if row.data_in:
        assert row.parse_data("héllo") == row.parse_data("héllo".encode()) == "héllo"
        with pytest.raises(InfInvalidParams, match="UTF-8"):
            row.parse_data(b"\xff")
    else:
        for something in ("x", b"x"):
            with pytest.raises(InfInvalidParams, match="takes no data"):
                row.parse_data(something)


def test_every_sample_is_tried() -> None:
    assert set(SAMPLES) == set(WRONG) == set(Kind)
    assert all(key.check(sample(key)) is not None for _, key in KEYS)
