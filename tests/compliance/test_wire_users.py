"""The operations on users, each with every code of its row, in the contract's order of checks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest
from support.daemon import Daemon
from support.people import FLAGS, LIMIT_OPERATIONS, LIMITS, PLAIN, TOKEN, People
from support.raw_client import RawClient

from infd_protocol.operations import OPERATIONS

ON_A_TARGET: dict[str, dict[str, Any]] = {
    "inf_delete_user": {"ACCTOK": TOKEN},
    **{f"inf_modify_user_{name}": {key: 1} for key, name in LIMIT_OPERATIONS.items()},
    "inf_modify_user_system_prompt": {},
    "inf_modify_user_sampling_set": {},
    "inf_modify_user_accept_models": {"MODEL": []},
    "inf_modify_user_make_superuser": {"ACCTOK": TOKEN},
    "inf_modify_user_unmake_superuser": {"ACCTOK": TOKEN},
    "inf_modify_user_set_authority_flags": {"ACCTOK": TOKEN, "AUTHFLAGS": []},
    "inf_modify_user_access_token": {"ACCTOK": TOKEN},
    "inf_get_user": {},
    "inf_get_sessions": {},
    "inf_end_sessions": {},
}
BY_A_FLAG = [name for name in ON_A_TARGET if OPERATIONS[name].flag in FLAGS]
CONFIRMED = [name for name, keys in ON_A_TARGET.items() if "ACCTOK" in keys]


@pytest.fixture(scope="module")
def people(shared_daemon: Daemon) -> Iterator[People]:
    with People(shared_daemon) as people:
        yield people


def test_a_new_user_is_as_it_was_described(people: People) -> None:
    sampling = {"TOP_K": 7, "TEMP": 0.5, "REPEAT_LF": True, "MIROSTAT_V2_TAU": 3.0}
    limits = {key: number for number, key in enumerate(LIMITS, 2)}
    name = people.name()
    made = people.root.ok(
        "inf_create_new_user", "Be brief.", USERNAME=name, AUTHFLAGS=["USER_MODIFICATION"],
        ISSTATIC=1, ISSUPER=0, **limits, **sampling,
    )  # fmt: skip
    assert len(made.keys["ACCTOK"]) >= 43
    shown = people.root.ok("inf_get_user", USERNAME=name)
    assert shown.data == "Be brief."
    assert shown.keys == {
        "USERNAME": name, "ISSUPER": 0, "ISSTATIC": 1, "AUTHFLAGS": ["USER_MODIFICATION"],
        "MODEL": [], **limits, **sampling,
    }  # fmt: skip
    with people.enter(name, made.keys["ACCTOK"]) as client:
        assert client.ok("inf_get_user", USERNAME=name).keys["USERNAME"] == name
    assert name in people.root.ok("inf_get_users").keys["USERNAME"]


@pytest.mark.parametrize("token", ["x" * 8, "é" * 384, "with spaces and \N{SNOWMAN}"])
def test_a_chosen_token_lets_in(people: People, token: str) -> None:
    name = people.name()
    made = people.root.ok("inf_create_new_user", USERNAME=name, ACCTOK=token, **PLAIN)
    assert made.keys["ACCTOK"] == token
    people.enter(name, token).close()


def test_the_order_of_creating(people: People) -> None:
    """2016 before 2015 before 2008."""
    creator = people.user("USER_CREATE_DELETE")
    there = people.user().username
    keys = PLAIN | {"AUTHFLAGS": ["MODEL_LOAD_UNLOAD"]}
    with creator.enter() as client:
        op = "inf_create_new_user"
        client.refused(2016, op, USERNAME=there, **(keys | {"AUTHFLAGS": ["NO_SUCH_FLAG"]}))
        client.refused(2016, op, USERNAME="a b", **keys)
        client.refused(2016, op, USERNAME=there, ACCTOK="short", **keys)
        client.refused(2015, op, USERNAME=there, **keys)
        client.refused(2008, op, USERNAME=people.name(), **keys)
        client.ok(op, USERNAME=people.name(), **PLAIN)


@pytest.mark.parametrize("key", LIMITS)
def test_nobody_sets_a_limit_above_its_own(people: People, key: str) -> None:
    flag = OPERATIONS[f"inf_modify_user_{LIMIT_OPERATIONS[key]}"].flag
    assert flag is not None
    setter = people.user("USER_CREATE_DELETE", flag, limits=10)
    target = people.user(limits=3)
    op = f"inf_modify_user_{LIMIT_OPERATIONS[key]}"
    with setter.enter() as client:
        client.refused(2008, op, USERNAME=target.username, **{key: 11})
        client.ok(op, USERNAME=target.username, **{key: 10})
        new = PLAIN | {key: 11}
        client.refused(2008, "inf_create_new_user", USERNAME=people.name(), **new)
        client.ok("inf_create_new_user", USERNAME=people.name(), **(PLAIN | {key: 10}))
    assert people.root.ok("inf_get_user", USERNAME=target.username).keys[key] == 10


def test_nobody_grants_what_it_has_not(people: People) -> None:
    creator = people.user("USER_CREATE_DELETE", "USER_ACCESS_MODIFICATION")
    with creator.enter() as client:
        for beyond, data in (
            ({"AUTHFLAGS": ["USER_MODIFICATION"]}, None),
            ({"ISSUPER": 1}, None),
            ({"ISSTATIC": 1}, None),
            ({"TEMP": 0.5}, None),
            ({}, "a system prompt"),
        ):
            client.refused(
                2008, "inf_create_new_user", data, USERNAME=people.name(), **(PLAIN | beyond)
            )
        mine = PLAIN | {"AUTHFLAGS": ["USER_CREATE_DELETE"], "ISSUPER": 0, "ISSTATIC": 0}
        client.ok("inf_create_new_user", USERNAME=people.name(), **mine)


@pytest.mark.parametrize("op", list(ON_A_TARGET))
def test_a_user_that_does_not_exist_is_2021(people: People, op: str) -> None:
    people.root.refused(2021, op, USERNAME="nowhere", **ON_A_TARGET[op])


@pytest.mark.parametrize("op", BY_A_FLAG)
def test_static_users_and_superusers_are_the_superusers(people: People, op: str) -> None:
    """Static before super, both before self and ACCTOK, which are wrong here as well."""
    keys = ON_A_TARGET[op] | ({"ACCTOK": "wrong"} if op in CONFIRMED else {})
    with people.user(OPERATIONS[op].flag or "", limits=5).enter() as client:
        static = people.static.username
        assert "static" in client.refused(2008, op, USERNAME=static, **keys).keys["DETAIL"]
        answer = client.refused(2008, op, USERNAME="admin", **keys)
        assert "superuser" in answer.keys["DETAIL"]
        client.refused(2021, op, USERNAME="nowhere", **keys)


@pytest.mark.parametrize("op", CONFIRMED)
def test_a_wrong_confirmation_is_2008_and_changes_nothing(people: People, op: str) -> None:
    target = people.user()
    keys = ON_A_TARGET[op] | {"USERNAME": target.username, "ACCTOK": "no, it is not"}
    before = people.root.ok("inf_get_user", USERNAME=target.username).keys
    people.root.refused(2008, op, **keys)
    assert people.root.ok("inf_get_user", USERNAME=target.username).keys == before
    target.enter().close()
    # It counted as a failed login of the caller; a success clears that.
    people.enter("admin", people.daemon.admin).close()


@pytest.mark.parametrize("op", CONFIRMED)
@pytest.mark.parametrize("whose", ["target", "caller"])
def test_either_token_confirms(people: People, op: str, whose: str) -> None:
    target = people.user()
    token = target.token if whose == "target" else people.daemon.admin
    people.root.ok(op, **(ON_A_TARGET[op] | {"USERNAME": target.username, "ACCTOK": token}))


def test_self_and_the_last_superuser(fresh_daemon: Daemon) -> None:
    """Self stands before ACCTOK, ACCTOK before the last superuser."""
    admin = fresh_daemon.admin
    with People(fresh_daemon) as people:
        root = people.root
        root.refused(2017, "inf_delete_user", USERNAME="admin", ACCTOK="wrong")
        root.refused(2017, "inf_delete_user", USERNAME="admin", ACCTOK=admin)
        op = "inf_modify_user_unmake_superuser"
        assert "last" not in root.refused(2008, op, USERNAME="admin", ACCTOK="wrong").keys["DETAIL"]
        assert "last" in root.refused(2008, op, USERNAME="admin", ACCTOK=admin).keys["DETAIL"]
        second = people.user()
        root.ok("inf_modify_user_make_superuser", USERNAME=second.username, ACCTOK=admin)
        with second.enter() as client:
            client.ok(op, USERNAME="admin", ACCTOK=second.token)
            assert client.ok("inf_get_user", USERNAME="admin").keys["ISSUPER"] == 0
        root.refused(2008, "inf_modify_user_make_superuser", USERNAME="admin", ACCTOK=admin)
        people.close()


def test_deleting_ends_the_users_sessions(people: People) -> None:
    target = people.user("MODEL_LOAD_UNLOAD")
    with target.enter() as client:
        people.root.ok("inf_delete_user", USERNAME=target.username, ACCTOK=people.daemon.admin)
        client.refused(2002, "inf_get_context_ids")
    with RawClient(people.daemon) as client:
        client.refused(2008, "inf_access_request", USERNAME=target.username, ACCTOK=target.token)
    people.root.refused(2021, "inf_get_user", USERNAME=target.username)


def test_a_deleted_users_budget_is_free_at_once(people: People) -> None:
    before = people.root.ok("inf_get_model_info", MODEL="endless").keys["BUDGET_USED"]
    target = people.user(models=("endless",), CTXLENGTH=4096, ACCLIMIT=2)
    with target.enter() as client:
        for _ in range(4):
            ctxid = client.context("endless", 4096)
            client.execute(ctxid, client.say(ctxid, "go"))
        people.root.ok("inf_delete_user", USERNAME=target.username, ACCTOK=people.daemon.admin)
        held = people.root.ok("inf_get_model_info", MODEL="endless").keys["BUDGET_USED"]
        assert held == before


def test_a_new_token_ends_the_other_sessions(people: People) -> None:
    user = people.user()
    with user.enter() as other, user.enter() as client:
        keys = {"USERNAME": user.username, "ACCTOK": user.token}
        made = client.ok("inf_modify_user_access_token", NEW_ACCTOK="brand new token", **keys)
        assert made.keys["ACCTOK"] == "brand new token"
        client.ok("inf_get_context_ids")
        other.refused(2002, "inf_get_context_ids")
        other.stok = None
        other.refused(2008, "inf_access_request", **keys)
        keys["ACCTOK"] = "brand new token"
        generated = client.ok("inf_modify_user_access_token", **keys).keys["ACCTOK"]
        people.enter(user.username, generated).close()
        with people.user("USER_MODIFICATION").enter() as stranger:
            stranger.refused(2008, "inf_modify_user_access_token", **keys)


@pytest.mark.parametrize("mode", [None, "replace"])
def test_accepting_models_replaces_the_list(people: People, mode: str | None) -> None:
    user = people.user(limits=2).username
    accept = {"USERNAME": user, "MODE": mode}
    op, root = "inf_modify_user_accept_models", people.root
    assert root.ok(op, MODEL=["demo", "twin", "demo"], **accept).keys["MODEL"] == ["demo", "twin"]
    answer = root.refused(2004, op, MODEL=["demo", "missing", "gone"], **accept)
    assert answer.keys["MISSING"] == ["missing", "gone"]
    root.refused(2016, "inf_modify_user_model_access_limit", USERNAME=user, ACCLIMIT=1)
    assert root.ok(op, MODEL=["twin"], **accept).keys["MODEL"] == ["twin"]
    root.ok("inf_modify_user_model_access_limit", USERNAME=user, ACCLIMIT=1)
    root.refused(2008, op, MODEL=["demo", "twin"], **accept)
    assert root.ok("inf_get_user", USERNAME=user).keys["MODEL"] == ["twin"]


def test_accepting_models_can_add_and_remove(people: People) -> None:
    user = people.user(limits=2).username
    op, root = "inf_modify_user_accept_models", people.root
    for mode, models, expected in (
        ("add", ["twin"], ["twin"]),
        ("ADD", ["demo", "twin"], ["twin", "demo"]),
        ("remove", ["twin"], ["demo"]),
        ("remove", ["twin"], ["demo"]),
        ("replace", [], []),
    ):
        answer = root.ok(op, USERNAME=user, MODEL=models, MODE=mode)
        assert answer.keys["MODEL"] == expected


def test_nobody_lends_a_model_that_it_has_not(people: People) -> None:
    lender = people.user("USER_ACCESS_MODIFICATION", limits=2)
    target = people.user(limits=2).username
    op = "inf_modify_user_accept_models"
    people.root.ok(op, USERNAME=lender.username, MODEL=["twin"])
    with lender.enter() as client:
        assert client.ok("inf_get_accessible_models").keys["MODEL"] == ["twin"]
        client.refused(2008, op, USERNAME=target, MODEL=["demo"])
        client.ok(op, USERNAME=target, MODEL=["twin"])


def test_flags_are_replaced(people: People) -> None:
    user = people.user("USER_MODIFICATION", "MODEL_LOAD_UNLOAD")
    keys = {"USERNAME": user.username, "ACCTOK": user.token}
    op = "inf_modify_user_set_authority_flags"
    people.root.refused(2016, op, AUTHFLAGS=["model_load_unload"], **keys)
    people.root.ok(op, AUTHFLAGS=["USER_CREATE_DELETE"], **keys)
    shown = people.root.ok("inf_get_user", USERNAME=user.username).keys
    assert shown["AUTHFLAGS"] == ["USER_CREATE_DELETE"]
    with user.enter() as client:
        client.refused(2008, "inf_load_model", MODEL="nowhere", CTXSIZE=1)
        people.root.ok(op, AUTHFLAGS=["MODEL_LOAD_UNLOAD"], **keys)
        client.refused(2004, "inf_load_model", MODEL="nowhere", CTXSIZE=1)
        client.refused(2008, op, AUTHFLAGS=[], **keys)


def test_prompt_and_sampling_are_replaced_whole(people: People) -> None:
    user = people.user()
    root, name = people.root, user.username
    root.ok("inf_modify_user_sampling_set", USERNAME=name, TEMP=0.5, TOP_K=3)
    root.ok("inf_modify_user_sampling_set", USERNAME=name, MIN_P=0.25)
    root.ok("inf_modify_user_system_prompt", "Be kind.", USERNAME=name)
    shown = root.ok("inf_get_user", USERNAME=name)
    assert shown.keys["MIN_P"] == 0.25
    assert not {"TEMP", "TOP_K"} & shown.keys.keys()
    assert shown.data == "Be kind."
    root.ok("inf_modify_user_system_prompt", USERNAME=name)
    assert not root.ok("inf_get_user", USERNAME=name).data


def test_who_may_look(people: People) -> None:
    plain, looker = people.user(), people.user("USER_BATCH_LENGTH_MODIFICATION")
    loader = people.user("MODEL_LOAD_UNLOAD")
    for user in (plain, loader):
        with user.enter() as client:
            client.refused(2008, "inf_get_users")
            client.refused(2008, "inf_get_user", USERNAME=looker.username)
            client.refused(2008, "inf_get_user", USERNAME="nowhere")
            client.ok("inf_get_user", USERNAME=user.username)
    with looker.enter() as client:
        assert plain.username in client.ok("inf_get_users").keys["USERNAME"]
        client.ok("inf_get_user", USERNAME=plain.username)
        client.refused(2021, "inf_get_user", USERNAME="nowhere")


def test_pipelined_changes_take_effect_in_order(people: People) -> None:
    """Each answered, the last in force, a read behind them sees it, without waiting between."""
    name = people.user().username
    sizes = list(itertools.chain(range(1, 40), [7]))
    op = "inf_modify_user_maximum_context_length"
    seqs = [people.root.send(op, USERNAME=name, CTXLENGTH=size) for size in sizes]
    look = people.root.send("inf_get_user", USERNAME=name)
    assert people.root.read(look).keys["CTXLENGTH"] == 7
    assert {people.root.read(seq).code for seq in seqs} == {2000}
