"""The code table and the exceptions registered by code."""

from __future__ import annotations

import copy
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infd_protocol import codes, errors
from infd_protocol.codes import Group
from infd_protocol.errors import ExecError, InfdError, InfError, PktError

CONTRACT = {
    1002: "PKT_UNDEFINED_OPERATION", 1007: "PKT_TIMED_OUT", 1016: "PKT_TOO_LARGE",
    1021: "PKT_INVALID_FORMAT", 1022: "PKT_OVERLOADED", 1099: "PKT_INTERNAL_ERROR",
    2000: "INF_SUCCESS", 2001: "INF_MAXIMUM_CLIENTS", 2002: "INF_SESSION_TOKEN_MISMATCH",
    2004: "INF_MODEL_NAME_MISMATCH", 2005: "INF_CONTEXT_ID_MISMATCH",
    2006: "INF_INVALID_TOKEN_LIMIT", 2007: "INF_FAILED_TO_CREATE_CONTEXT",
    2008: "INF_AUTHORIZATION_FAILED", 2009: "INF_CONTEXT_ACTIVE", 2010: "INF_CONTEXT_INACTIVE",
    2012: "INF_CONTEXT_INITIALIZING", 2013: "INF_CONTEXT_HALTED",
    2014: "INF_MODEL_IS_NOT_ACCESSIBLE", 2015: "INF_USER_ALREADY_EXISTS",
    2016: "INF_INVALID_PARAMS", 2017: "INF_CANT_DELETE_SELF", 2019: "INF_MODEL_CONTEXT_FULL",
    2020: "INF_USER_CONTEXT_LENGTH_EXCEEDED", 2021: "INF_USER_NOT_FOUND",
    2023: "INF_NOT_ENOUGH_MEMORY", 2026: "INF_UNABLE_TO_OPEN_MODEL_FILE",
    3000: "EXEC_SUCCESS", 3001: "EXEC_ALREADY_PROCESSING", 3002: "EXEC_MESSAGE_ID_MISMATCH",
    3003: "EXEC_MISSING_MESSAGE", 3004: "EXEC_TOKENIZATION_FAILED",
    3005: "EXEC_TOKEN_LIMIT_EXCEEDED", 3009: "EXEC_PROCESS_HALTED",
}  # fmt: skip
SUCCESSES = {2000, 2009, 2010, 3000}
"""2012 is the answer of inf_get_context_status too, but refuses everywhere else."""


def test_the_codes_are_the_contracts() -> None:
    assert {row.number: row.name for row in codes.ROWS} == CONTRACT
    assert {row.number for row in codes.ROWS if not row.refuses} == SUCCESSES
    for row in codes.ROWS:
        assert getattr(codes, row.name) == row.number
        assert row.sentence.endswith(".")
        assert 200 <= row.http < 600
        assert (row.http == 200) == (not row.refuses)


@pytest.mark.parametrize("row", list(codes.refusing()), ids=lambda row: row.name)
def test_every_refusal_has_its_class(row: codes.Code) -> None:
    cls = errors.class_for(row.number)
    assert cls.__name__ == "".join(part.title() for part in row.name.split("_"))
    assert issubclass(cls, {1: PktError, 2: InfError, 3: ExecError}[row.number // 1000])
    error = cls("What to do.", RETRY_AFTER=3)
    assert (error.code, error.name, error.detail) == (row.number, row.name, "What to do.")
    assert error.keys == {"RETRY_AFTER": 3}
    assert error.retryable is row.retryable
    assert str(error) == f"{row.name} ({row.number}): What to do."
    assert cls().detail == row.sentence


def test_classes_are_registered_once_each() -> None:
    assert set(errors.registered()) == {row.number for row in codes.refusing()}
    with pytest.raises(ImportError, match="two classes"):
        type("Again", (InfError,), {}, code=2002)
    with pytest.raises(ImportError, match="not in the table"):
        type("Unheard", (InfError,), {}, code=2999)


@given(st.integers(0, 65535))
def test_an_unknown_code_is_its_groups(number: int) -> None:
    error = errors.error_for(number, {"DETAIL": "No.", "LIMIT": 4})
    assert error.code == number
    assert error.keys == {"LIMIT": 4}
    group = {2: InfError, 3: ExecError}.get(number // 1000, PktError)
    assert isinstance(error, group)
    assert codes.group_of(number) is {2: Group.INF, 3: Group.EXEC}.get(number // 1000, Group.PKT)
    if number not in codes.BY_NUMBER:
        assert type(error) is group
        assert error.name == f"CODE_{number}"
        assert str(error) == f"CODE_{number} ({number}): No."
        assert not error.retryable


@pytest.mark.parametrize("detail", [None, 5, ["x"], {}])
def test_a_detail_that_is_no_text_is_replaced(detail: object) -> None:
    error = errors.error_for(2005, {"DETAIL": detail})
    assert error.detail == codes.BY_NUMBER[2005].sentence


def test_errors_survive_copying_and_pickling() -> None:
    error = errors.error_for(1022, {"DETAIL": "Later.", "RETRY_AFTER": 2})
    for twin in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(twin) is type(error)
        assert (twin.code, twin.detail, twin.keys) == (1022, "Later.", {"RETRY_AFTER": 2})


def test_any_key_may_ride_along() -> None:
    error = InfdError("x", detail="not the detail", self=1)
    assert error.keys == {"detail": "not the detail", "self": 1}
