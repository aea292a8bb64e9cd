"""The response codes: one row a code.

Group 1000 speaks of the frame, 2000 of the INF operations, 3000 of the EXEC operations.
A client treats a code that it does not know by its group. `errors.py` registers an exception
class for every row that refuses. The numbers and names are those of the protocol's contract;
rows marked `ext` are not in the document that the protocol comes from.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum


class Group(IntEnum):
    """What a code speaks of."""

    PKT = 1000
    INF = 2000
    EXEC = 3000


@dataclass(frozen=True, slots=True)
class Code:
    """One response code.

    `sentence` says what happened, for people. `retryable`: the same request may succeed later
    without anybody changing it. `http`: the status a gateway answers with. `refuses`: the
    request was not carried out, and clients raise.
    """

    number: int
    name: str
    sentence: str
    retryable: bool = False
    http: int = 400
    refuses: bool = True
    ext: bool = False

    @property
    def group(self) -> Group:
        return group_of(self.number)


def group_of(number: int) -> Group:
    """The group of any code, known or not; outside the three groups it is PKT."""
    thousand = number // 1000 * 1000
    return Group(thousand) if thousand in (2000, 3000) else Group.PKT


ROWS: tuple[Code, ...] = (
    Code(1002, "PKT_UNDEFINED_OPERATION", "There is no such operation.", http=404, ext=True),
    Code(1007, "PKT_TIMED_OUT", "A frame was begun and not completed in time.", http=408, ext=True),
    Code(1016, "PKT_TOO_LARGE", "The frame is longer than allowed.", http=413, ext=True),
    Code(1021, "PKT_INVALID_FORMAT", "The frame is not a well-formed request.", ext=True),
    Code(
        1022, "PKT_OVERLOADED", "Too much is under way; try again later.",
        retryable=True, http=503, ext=True,
    ),
    Code(
        1099, "PKT_INTERNAL_ERROR", "The daemon failed; its log names the incident.",
        http=500, ext=True,
    ),
    Code(2000, "INF_SUCCESS", "Done.", http=200, refuses=False),
    Code(
        2001, "INF_MAXIMUM_CLIENTS", "No more sessions or connections are admitted now.",
        retryable=True, http=503, ext=True,
    ),
    Code(2002, "INF_SESSION_TOKEN_MISMATCH", "The session token is not valid.", http=401),
    Code(2004, "INF_MODEL_NAME_MISMATCH", "The model is not known or not loaded.", http=404),
    Code(2005, "INF_CONTEXT_ID_MISMATCH", "The session has no such context.", http=404),
    Code(2006, "INF_INVALID_TOKEN_LIMIT", "The context size is below the smallest allowed."),
    Code(
        2007, "INF_FAILED_TO_CREATE_CONTEXT", "The context could not be created.",
        retryable=True, http=503,
    ),
    Code(2008, "INF_AUTHORIZATION_FAILED", "Not allowed.", http=403),
    Code(
        2009, "INF_CONTEXT_ACTIVE", "The context is processing.",
        http=200, refuses=False,
    ),
    Code(2010, "INF_CONTEXT_INACTIVE", "The context is idle.", http=200, refuses=False),
    Code(
        2012, "INF_CONTEXT_INITIALIZING", "The context is being made.",
        retryable=True, http=503,
    ),
    Code(2013, "INF_CONTEXT_HALTED", "The run was aborted, or the context's engine failed.",
         http=500),
    Code(2014, "INF_MODEL_IS_NOT_ACCESSIBLE", "The user may not use this model.", http=403),
    Code(2015, "INF_USER_ALREADY_EXISTS", "A user of this name exists.", http=409),
    Code(2016, "INF_INVALID_PARAMS", "A key is missing, unknown, or has a wrong value."),
    Code(2017, "INF_CANT_DELETE_SELF", "A user cannot delete itself."),
    Code(
        2019, "INF_MODEL_CONTEXT_FULL", "The model's context budget is used up.",
        retryable=True, http=503,
    ),
    Code(2020, "INF_USER_CONTEXT_LENGTH_EXCEEDED",
         "The context size is above the user's limit."),
    Code(2021, "INF_USER_NOT_FOUND", "There is no such user.", http=404),
    Code(2023, "INF_NOT_ENOUGH_MEMORY", "There is not enough memory for the model.",
         http=507, ext=True),
    Code(2026, "INF_UNABLE_TO_OPEN_MODEL_FILE", "The model's file cannot be used.",
         http=500, ext=True),
    Code(3000, "EXEC_SUCCESS", "Done.", http=200, refuses=False),
    Code(3001, "EXEC_ALREADY_PROCESSING", "A run is under way in the context.", http=409, ext=True),
    Code(3002, "EXEC_MESSAGE_ID_MISMATCH", "The context has no such message.", http=404),
    Code(3003, "EXEC_MISSING_MESSAGE", "There is no run to read from.", http=404),
    Code(3004, "EXEC_TOKENIZATION_FAILED", "The messages cannot be made into tokens."),
    Code(3005, "EXEC_TOKEN_LIMIT_EXCEEDED", "The prompt is longer than the context."),
    Code(3009, "EXEC_PROCESS_HALTED", "Nothing is executed here now.", retryable=True, http=503),
)  # fmt: skip

BY_NUMBER: dict[int, Code] = {row.number: row for row in ROWS}
BY_NAME: dict[str, Code] = {row.name: row for row in ROWS}

if len(BY_NUMBER) != len(ROWS) or len(BY_NAME) != len(ROWS):
    raise ImportError("codes.py: a code's number or name stands twice in the table")


def refusing() -> Iterator[Code]:
    """Every code that refuses, by number."""
    return (row for row in ROWS if row.refuses)


PKT_UNDEFINED_OPERATION = 1002
PKT_TIMED_OUT = 1007
PKT_TOO_LARGE = 1016
PKT_INVALID_FORMAT = 1021
PKT_OVERLOADED = 1022
PKT_INTERNAL_ERROR = 1099
INF_SUCCESS = 2000
INF_MAXIMUM_CLIENTS = 2001
INF_SESSION_TOKEN_MISMATCH = 2002
INF_MODEL_NAME_MISMATCH = 2004
INF_CONTEXT_ID_MISMATCH = 2005
INF_INVALID_TOKEN_LIMIT = 2006
INF_FAILED_TO_CREATE_CONTEXT = 2007
INF_AUTHORIZATION_FAILED = 2008
INF_CONTEXT_ACTIVE = 2009
INF_CONTEXT_INACTIVE = 2010
INF_CONTEXT_INITIALIZING = 2012
INF_CONTEXT_HALTED = 2013
INF_MODEL_IS_NOT_ACCESSIBLE = 2014
INF_USER_ALREADY_EXISTS = 2015
INF_INVALID_PARAMS = 2016
INF_CANT_DELETE_SELF = 2017
INF_MODEL_CONTEXT_FULL = 2019
INF_USER_CONTEXT_LENGTH_EXCEEDED = 2020
INF_USER_NOT_FOUND = 2021
INF_NOT_ENOUGH_MEMORY = 2023
INF_UNABLE_TO_OPEN_MODEL_FILE = 2026
EXEC_SUCCESS = 3000
EXEC_ALREADY_PROCESSING = 3001
EXEC_MESSAGE_ID_MISMATCH = 3002
EXEC_MISSING_MESSAGE = 3003
EXEC_TOKENIZATION_FAILED = 3004
EXEC_TOKEN_LIMIT_EXCEEDED = 3005
EXEC_PROCESS_HALTED = 3009
