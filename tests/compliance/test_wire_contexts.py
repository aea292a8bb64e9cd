"""The operations on contexts: the order of checks, budgets and shares, states, their end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from support import daemon as daemons
from support.daemon import BUDGET, Daemon
from support.people import People
from support.raw_client import RawClient

ON_A_CONTEXT = {
    "inf_get_context_status": {}, "inf_clear_context_history": {}, "inf_destroy_context": {},
    "exec_set_input": {"ROLE": "user"}, "exec_execute_input": {"MSGID": [1]}, "exec_next": {},
    "exec_stop": {}, "exec_get_messages": {},
}  # fmt: skip


@pytest.fixture(scope="module")
def people(shared_daemon: Daemon) -> Iterator[People]:
    with People(shared_daemon) as people:
        yield people


@pytest.mark.parametrize("op", list(ON_A_CONTEXT))
@pytest.mark.parametrize("ctxid", [0, 1, 4294967295, "1", "0000000000"])
def test_an_unknown_context_is_2005(client: RawClient, op: str, ctxid: int | str) -> None:
    data = "text" if op == "exec_set_input" else None
    client.refused(2005, op, data, CTXID=ctxid, **ON_A_CONTEXT[op])


@pytest.mark.parametrize("op", list(ON_A_CONTEXT))
def test_contexts_are_private_to_their_session(
    client: RawClient, shared_daemon: Daemon, op: str
) -> None:
    ctxid = client.context(size=64)
    data = "text" if op == "exec_set_input" else None
    with RawClient(shared_daemon).login("admin", shared_daemon.admin) as other:
        other.refused(2005, op, data, CTXID=ctxid, **ON_A_CONTEXT[op])
        assert other.ok("inf_get_context_ids").keys["CTXID"] == []
        other.ok("inf_destroy_session")
    assert client.ok("inf_get_context_status", CTXID=ctxid).code == 2010


def test_the_order_of_creating(people: People) -> None:
    """2002, 2016, 2014, 2006, 2004, 2020, 2019."""
    op = "inf_create_context"
    user = people.user(limits=BUDGET * 4, models=("demo", "twin"), CTXLENGTH=BUDGET * 2)
    with user.enter() as client:
        client.refused(2002, op, STOK="wrong", MODEL=5)
        client.refused(2016, op, MODEL="nowhere", CTXSIZE="5")
        client.refused(2014, op, MODEL="nowhere", CTXSIZE=5)
        client.refused(2006, op, MODEL="twin", CTXSIZE=31)
        client.refused(2006, op, MODEL="demo", CTXSIZE=0)
        client.refused(2004, op, MODEL="twin", CTXSIZE=4_000_000_000)
        too_long = client.refused(2020, op, MODEL="demo", CTXSIZE=BUDGET * 2 + 1)
        assert too_long.keys["LIMIT"] == BUDGET * 2
        full = client.refused(2019, op, MODEL="demo", CTXSIZE=BUDGET * 2)
        fits = client.ok(op, MODEL="demo", CTXSIZE=full.keys["LIMIT"])
        client.ok("inf_destroy_context", CTXID=fits.keys["CTXID"])
    people.root.refused(2004, op, MODEL="nowhere", CTXSIZE=64)


def test_ctxids_count_from_one_and_are_never_used_again(client: RawClient) -> None:
    assert [client.context(size=32) for _ in range(3)] == [1, 2, 3]
    client.ok("inf_destroy_context", CTXID=2)
    client.ok("inf_destroy_context", CTXID=3)
    assert client.context(size=32) == 4
    assert client.ok("inf_get_context_ids").keys["CTXID"] == [1, 4]
    client.refused(2005, "inf_destroy_context", CTXID=3)


def test_many_are_made_at_once(client: RawClient) -> None:
    """Their ids in the order asked for; the size binds though llama.cpp rounds it up."""
    sizes = [32, 33, 255, 256, 257, 500]
    seqs = [client.send("inf_create_context", MODEL="demo", CTXSIZE=size) for size in sizes]
    ids = [client.read(seq).keys["CTXID"] for seq in seqs]
    assert ids == [1, 2, 3, 4, 5, 6]
    for ctxid, size in zip(ids, sizes, strict=True):
        keys = client.ok("inf_get_context_status", CTXID=ctxid).keys
        assert (keys["MODEL"], keys["CTXSIZE"], keys["TOKENS_USED"]) == ("demo", size, 0)


def test_the_budget_is_given_back_before_the_answer(client: RawClient) -> None:
    free = client.ok("inf_get_model_info", MODEL="demo").keys["BUDGET_FREE"]
    for _ in range(3):
        ctxid = client.context(size=free)
        client.refused(2019, "inf_create_context", MODEL="demo", CTXSIZE=32)
        client.ok("inf_destroy_context", CTXID=ctxid)
    assert client.ok("inf_get_model_info", MODEL="demo").keys["BUDGET_FREE"] == free


def test_destroying_and_making_may_be_pipelined(client: RawClient) -> None:
    free = client.ok("inf_get_model_info", MODEL="demo").keys["BUDGET_FREE"]
    ctxid = client.context(size=free)
    gone = client.send("inf_destroy_context", CTXID=ctxid)
    after = client.send("inf_get_context_status", CTXID=ctxid)
    assert client.read(after).code == 2005
    assert client.read(gone).code == 2000


def test_a_user_holds_no_more_than_its_share() -> None:
    """Half of the budget when several users who are no superusers reach the model."""
    with daemons.run(config={"max_contexts_per_user": 3}) as daemon, People(daemon) as people:
        ada = people.user(models=("demo",), CTXLENGTH=BUDGET, ACCLIMIT=9)
        with ada.enter() as client:
            only = client.context(size=BUDGET)
            client.ok("inf_destroy_context", CTXID=only)
            people.user(models=("demo",))
            answer = client.refused(2019, "inf_create_context", MODEL="demo", CTXSIZE=BUDGET)
            assert ada.username in answer.keys["DETAIL"]
            client.context(size=BUDGET // 2)
            answer = client.refused(2019, "inf_create_context", MODEL="demo", CTXSIZE=32)
            assert "in all of its sessions" in answer.keys["DETAIL"]
            # What it says to do does it.
            assert f"inf_end_sessions with USERNAME={ada.username}" in answer.keys["DETAIL"]
            client.ok("inf_end_sessions", USERNAME=ada.username)
        with ada.enter() as client:
            client.context(size=BUDGET // 2)
        people.root.context(size=BUDGET // 2)
        people.root.refused(2019, "inf_create_context", MODEL="demo", CTXSIZE=32)
        people.root.ok("inf_load_model", MODEL="demo", CTXSIZE=2 * BUDGET)
        people.root.context(size=32)
        people.root.context(size=32)
        answer = people.root.refused(2019, "inf_create_context", MODEL="demo", CTXSIZE=32)
        assert "3 contexts" in answer.keys["DETAIL"]
        assert answer.keys["LIMIT"] == 0
        assert "inf_end_sessions with USERNAME=admin" in answer.keys["DETAIL"]


def test_a_lowered_limit_binds_new_contexts_only(people: People) -> None:
    user = people.user(models=("demo",), CTXLENGTH=512)
    with user.enter() as client:
        old = client.context(size=512)
        op = "inf_modify_user_maximum_context_length"
        people.root.ok(op, USERNAME=user.username, CTXLENGTH=64)
        client.refused(2020, "inf_create_context", MODEL="demo", CTXSIZE=65)
        client.context(size=64)
        assert client.ask(old, "Hello!", MAX_TOKENS=2)[1].keys["IS_SPECIAL"] is True


def test_revoking_a_model_ends_the_contexts_on_it(people: People) -> None:
    user = people.user(models=("demo",), CTXLENGTH=512, ACCLIMIT=2)
    with user.enter() as client:
        before = people.root.ok("inf_get_model_info", MODEL="demo").keys["BUDGET_USED"]
        ctxid = client.context(size=256)
        people.root.ok("inf_modify_user_accept_models", USERNAME=user.username, MODEL=["twin"])
        assert people.root.ok("inf_get_model_info", MODEL="demo").keys["BUDGET_USED"] == before
        client.refused(2014, "inf_create_context", MODEL="demo", CTXSIZE=64)
        client.refused(2005, "exec_next", CTXID=ctxid)
        assert client.ok("inf_get_context_ids").keys["CTXID"] == []


def test_the_states_of_a_context(client: RawClient) -> None:
    ctxid = client.context("endless", 30_000)
    status = "inf_get_context_status"
    assert client.ok(status, CTXID=ctxid).code == 2010
    client.execute(ctxid, client.say(ctxid, "go"))
    assert client.ok("exec_next", CTXID=ctxid).data
    seen = client.ok(status, CTXID=ctxid)
    assert seen.code == 2009
    assert seen.keys["PROMPT_DONE"] <= seen.keys["PROMPT_TOKENS"]
    assert seen.keys["QUEUE_POSITION"] >= 0
    assert seen.keys["ESTIMATE_MS"] >= 0
    client.ok("exec_stop", CTXID=ctxid)
    _, last = client.reply(ctxid)
    seen = client.ok(status, CTXID=ctxid)
    assert seen.code == 2010
    held = last.keys["TOKENS_IN"] + last.keys["TOKENS_OUT"]
    assert held - 2 <= seen.keys["TOKENS_USED"] <= held + 1
    client.ok("inf_clear_context_history", CTXID=ctxid)
    assert client.ok(status, CTXID=ctxid).keys["TOKENS_USED"] == 0


@contextmanager
def templates_stand_still(daemon: Daemon) -> Iterator[None]:
    """The processes in which the daemon renders templates are stopped: no prompt gets ready."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parent = (process / "stat").read_text().rpartition(")")[2].split()[1]
            if int(parent) == daemon.pid and b"renderer" in (process / "cmdline").read_bytes():
                found.append(int(process.name))
    assert found
    for pid in found:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in found:
            os.kill(pid, signal.SIGCONT)


def test_a_run_that_begins_says_nothing_of_the_one_before(
    client: RawClient, shared_daemon: Daemon
) -> None:
    ctxid = client.context("demo", 512)
    client.ask(ctxid, "Hello!", MAX_TOKENS=2)
    said = client.say(ctxid, "Hello again!")
    with templates_stand_still(shared_daemon):
        asked = client.send("exec_execute_input", CTXID=ctxid, MSGID=[said], MAX_TOKENS=1)
        seen = client.ok("inf_get_context_status", CTXID=ctxid)
    assert (seen.code, seen.keys["PROMPT_TOKENS"], seen.keys["PROMPT_DONE"]) == (2009, 0, 0)
    assert client.read(asked).code == 3000
