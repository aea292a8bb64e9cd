"""What holds for every operation, from the table: session, authority, keys, data, in this order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support.daemon import Daemon
from support.raw_client import RawClient
from support.samples import WRONG, complete, least

from infd_protocol.operations import OPERATIONS, Key, Operation

ROWS = list(OPERATIONS.values())
WITH_SESSION = [row for row in ROWS if row.session]
FLAGGED = [row for row in ROWS if row.flag]
KEYS = [(row, key) for row in ROWS for key in row.takes if key.name != "STOK"]
KEY_IDS = [f"{row.name}-{key.name}" for row, key in KEYS]
NOBODY = {
    "ACCLIMIT": 1, "CTXLENGTH": 64, "BATCH_SET": 1, "MAX_PROC_THREADS": 1, "PROC_THREADS": 1,
    "AUTHFLAGS": [],
}  # fmt: skip


def over(rows: list[Operation]) -> Any:
    return pytest.mark.parametrize("row", rows, ids=lambda row: row.name)


@pytest.fixture(scope="module")
def root(shared_daemon: Daemon) -> Iterator[RawClient]:
    with RawClient(shared_daemon) as client:
        yield client.login("admin", shared_daemon.admin)


@pytest.fixture(scope="module")
def nobody(shared_daemon: Daemon, root: RawClient) -> Iterator[RawClient]:
    """A user without any authority."""
    root.ok("inf_create_new_user", USERNAME="nobody", ACCTOK="nobody-at-all", **NOBODY)
    with RawClient(shared_daemon) as client:
        yield client.login("nobody", "nobody-at-all")
    root.ok("inf_delete_user", USERNAME="nobody", ACCTOK="nobody-at-all")


def keys_of(row: Operation, keys: dict[str, Any]) -> dict[str, Any]:
    """As a request of `root` takes them; its own STOK goes along."""
    return {name: value for name, value in keys.items() if name != "STOK"}


@over(WITH_SESSION)
@pytest.mark.parametrize("stok", [None, "", "no such token", 5, ["x"], b"x", True])
def test_no_live_session_is_2002(row: Operation, stok: Any, shared_daemon: Daemon) -> None:
    """Before anything else is looked at: the other keys are wrong too."""
    with RawClient(shared_daemon) as client:
        client.refused(2002, row.name, "data", STOK=stok, TYPO=1)


@over(FLAGGED)
def test_without_the_authority_it_is_2008(row: Operation, nobody: RawClient) -> None:
    """Before the keys are looked at."""
    nobody.refused(2008, row.name, None, TYPO=1)
    nobody.refused(2008, row.name, None, **keys_of(row, least(row)))


@over(ROWS)
def test_unknown_keys_are_told(row: Operation, root: RawClient) -> None:
    answer = root.refused(2016, row.name, TYPO=1, MODELL="x", **keys_of(row, complete(row)))
    assert answer.keys["UNKNOWN"] == ["TYPO", "MODELL"]


@pytest.mark.parametrize(("row", "key"), KEYS, ids=KEY_IDS)
def test_a_wrong_or_missing_key_is_2016_and_named(
    row: Operation, key: Key, root: RawClient
) -> None:
    """The checks stand before the target and the context, which do not exist here."""
    good = keys_of(row, complete(row))
    seqs = [root.send(row.name, **(good | {key.name: value})) for value in WRONG[key.kind]]
    if not key.optional:
        seqs.append(root.send(row.name, **(good | {key.name: None})))
    for seq in seqs:
        answer = root.read(seq)
        assert answer.code == 2016
        assert key.name in answer.keys["DETAIL"]
        assert "UNKNOWN" not in answer.keys


@over([row for row in ROWS if not row.data_in])
def test_data_where_none_is_taken_is_2016(row: Operation, root: RawClient) -> None:
    answer = root.refused(2016, row.name, "data", **keys_of(row, least(row)))
    assert "takes no data" in answer.keys["DETAIL"]


def test_an_operation_that_does_not_exist_is_1002(root: RawClient) -> None:
    for name in ("", "inf_helo", "INF_HELLO", "inf_hello ", "x" * 60_000, "inf_\N{SNOWMAN}"):
        root.refused(1002, name, "data", TYPO=1)


def test_a_refusal_does_not_echo_a_whole_frame(root: RawClient) -> None:
    """The sentence keeps both its ends, so that what is wrong and what to do can be read."""
    name = "x" * 1_000_000
    for code, op, keys in (
        (2021, "inf_get_user", {"USERNAME": name}),
        (2004, "inf_load_model", {"MODEL": name, "CTXSIZE": 1}),
        (2016, "inf_hello", {name: 1}),
        (1002, name, {}),
    ):
        detail = root.refused(code, op, **keys).keys["DETAIL"]
        assert len(detail) <= 1000
        assert not detail.startswith("xxx")
        assert detail.endswith(".")


@pytest.mark.parametrize("name", ["a\nb", "\x1b[2J", "\0", "\r\n", "\u202e"])
def test_a_refusal_is_one_printable_line(root: RawClient, name: str) -> None:
    for code, op, keys in (
        (2021, "inf_get_user", {"USERNAME": name}),
        (2004, "inf_create_context", {"MODEL": name, "CTXSIZE": 64}),
        (2016, "inf_hello", {name: 1}),
        (1002, name, {}),
    ):
        answer = root.refused(code, op, **keys)
        assert answer.keys["DETAIL"].isprintable()
        if code == 2016:
            assert answer.keys["UNKNOWN"] == [name]


def test_the_misspelled_names_are_taken(shared_daemon: Daemon, root: RawClient) -> None:
    long = "inf_modify_inf_modify_user_set_authority_flags"
    root.refused(2021, long, USERNAME="nowhere", ACCTOK="x", AUTHFLAGS=[])
    with RawClient(shared_daemon) as client:
        client.login("admin", shared_daemon.admin)
        client.ok("inf_destroy_dession")
        client.refused(2002, "inf_get_context_ids")


def test_hello_tells_the_table(root: RawClient) -> None:
    keys = root.ok("inf_hello").keys
    assert keys["OPERATIONS"] == {row.name: [key.name for key in row.takes] for row in ROWS}
    assert keys["PROTOCOL"] == 1
    assert keys["MAX_FRAME"] == 2**24
    assert keys["VERSION"]


def test_any_value_of_the_wrong_type_leaves_the_daemon_well(root: RawClient) -> None:
    """Every key of every operation with every kind's wrong values, all sent before any is read."""
    values = [value for wrong in WRONG.values() for value in wrong]
    for row, key in KEYS:
        if row.name in {"inf_create_new_user", "inf_access_request"}:
            continue
        good = keys_of(row, complete(row))
        good |= {"USERNAME": "nowhere"} if "USERNAME" in good else {}
        good |= {"CTXID": 4_000_000_000} if "CTXID" in good else {}
        good |= {"MODEL": "nowhere"} if "MODEL" in good and row.name != "inf_load_model" else {}
        for seq in [root.send(row.name, **(good | {key.name: value})) for value in values]:
            answer = root.read(seq)
            assert answer.code in row.may_answer - row.success, (row.name, key.name)
    assert root.ok("inf_hello")
