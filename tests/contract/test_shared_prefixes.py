"""Over the wire: a user's system prompt is computed once for a model, and never for another user.

What a run did not compute is its TOKENS_CACHED; who could see it grow by another user's runs
could guess what they say.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support import daemon as daemons
from support.daemon import BUDGET, Daemon
from support.people import LIMITS, People
from support.raw_client import RawClient

PROMPT = "Your name is Ada. You answer each question of a person with a few words. " * 5
GRANTS: dict[str, Any] = {"limits": 4096, "models": ("demo",), "prompt": PROMPT}


@pytest.fixture(scope="module")
def daemon(placement: str) -> Iterator[Daemon]:
    with daemons.run() as daemon:
        yield daemon


@pytest.fixture
def people(daemon: Daemon) -> Iterator[People]:
    with People(daemon) as people:
        yield people


def ask(client: RawClient, ctxid: int, said: str = "Hello!") -> tuple[str, int]:
    """The reply, and how many of the prompt's tokens were not computed."""
    text, last = client.ask(ctxid, said, MAX_TOKENS=16)
    return text, last.keys["TOKENS_CACHED"]


def new(client: RawClient, said: str = "Hello!") -> tuple[str, int]:
    """As `ask`, in a context that is made for it and destroyed."""
    ctxid = client.ok("inf_create_context", MODEL="demo", CTXSIZE=1024).keys["CTXID"]
    answer = ask(client, ctxid, said)
    client.ok("inf_destroy_context", CTXID=ctxid)
    return answer


def test_new_contexts_and_cleared_ones_begin_with_the_system_prompt(people: People) -> None:
    person = people.user(**GRANTS)
    with person.enter() as ada, person.enter() as other:
        first, cached = new(ada)
        assert cached == 0
        again, head = new(ada)
        assert again == first
        assert head > 64
        ctxid = ada.ok("inf_create_context", MODEL="demo", CTXSIZE=1000).keys["CTXID"]
        assert ask(ada, ctxid, "What is infd?")[1] == head
        ada.ok("inf_clear_context_history", CTXID=ctxid)
        assert ask(ada, ctxid)[0] == first
        # A second session of the same user.
        assert new(other)[1] >= head


def test_another_user_with_the_same_prompt_computes_it_itself(people: People) -> None:
    ada, bob = people.user(**GRANTS), people.user(**GRANTS)
    with ada.enter() as one, bob.enter() as other:
        expected, _ = new(one)
        assert new(one)[1] > 0
        text, cached = new(other)
        assert (text, cached) == (expected, 0)
        assert new(other)[1] > 0


def test_superusers_share_nothing_either(people: People) -> None:
    people.root.ok("inf_modify_user_system_prompt", PROMPT, USERNAME="admin")
    other = people.user(**GRANTS)
    people.root.ok("inf_modify_user_make_superuser", USERNAME=other.username, ACCTOK=other.token)
    new(people.root)
    assert new(people.root)[1] > 0
    with other.enter() as client:
        assert new(client)[1] == 0
    people.root.ok("inf_modify_user_system_prompt", "", USERNAME="admin")


def test_a_deleted_users_name_brings_nothing_back(people: People) -> None:
    ada = people.user(**GRANTS)
    with ada.enter() as client:
        new(client)
        assert new(client)[1] > 0
    root = people.root
    root.ok("inf_delete_user", USERNAME=ada.username, ACCTOK=ada.token)
    limits = dict.fromkeys(LIMITS, 4096)
    root.ok("inf_create_new_user", PROMPT, USERNAME=ada.username, ACCTOK=ada.token, AUTHFLAGS=[],
            **limits)  # fmt: skip
    root.ok("inf_modify_user_accept_models", USERNAME=ada.username, MODEL=["demo"])
    with ada.enter() as client:
        assert new(client)[1] == 0


def test_a_new_prompt_and_a_model_loaded_anew_begin_with_nothing(people: People) -> None:
    person = people.user(**GRANTS)
    with person.enter() as ada:
        new(ada)
        assert new(ada)[1] > 0
        people.root.ok("inf_modify_user_system_prompt", "Mind: " + PROMPT, USERNAME=person.username)
        assert new(ada)[1] == 0
        people.root.ok("inf_modify_user_system_prompt", PROMPT, USERNAME=person.username)
        # The old prompt's are forgotten as well.
        assert new(ada)[1] == 0
        assert new(ada)[1] > 0
        people.root.ok("inf_unload_model", MODEL="demo")
        people.root.ok("inf_load_model", MODEL="demo", CTXSIZE=BUDGET)
        assert new(ada)[1] == 0
        assert new(ada)[1] > 0


def test_nothing_is_kept_where_there_is_no_room_for_it() -> None:
    for limit in (0, 1000):
        with (
            daemons.run(config={"prefix_memory": limit}) as daemon,
            People(daemon) as people,
            people.user(**GRANTS).enter() as ada,
        ):
            expected, _ = new(ada)
            assert [new(ada) for _ in range(3)] == [(expected, 0)] * 3
