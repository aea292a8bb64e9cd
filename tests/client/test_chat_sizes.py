"""The size of a chat's context when nobody gives one: as large as it may be, smaller if it must."""

from __future__ import annotations

import pytest
from support.daemon import run, until
from support.people import People

from infd_client import AsyncClient, Client, InfModelContextFull
from infd_client._results import InfGetModelInfoResult, InfGetUserResult
from infd_client.turns import smaller, wanted

BUDGET = 1024


@pytest.mark.parametrize(
    ("training", "ctxlength", "size"),
    [(8192, 9999, 4096), (1024, 600, 600), (1024, 100, 100), (0, 8, 32), (100, 9999, 256)],
)
def test_the_size_that_is_tried_first(training, ctxlength, size):
    info = InfGetModelInfoResult(2000, {"BUDGET_FREE": 0, "TRAINING_CONTEXT": training}, None)
    assert wanted(info, InfGetUserResult(2000, {"CTXLENGTH": ctxlength}, None)) == size


@pytest.mark.parametrize(
    ("size", "keys", "less"),
    [
        (4096, {"LIMIT": 1000}, 1000),
        (4096, {"LIMIT": 255}, None),
        (4096, {"LIMIT": 4096}, None),  # or it would be asked for without end
        (4096, {"LIMIT": 0}, None),
        (100, {"LIMIT": 99}, None),
        (4096, {}, 2048),
        (500, {}, None),
    ],
)
def test_what_is_tried_then(size, keys, less):
    assert smaller(size, InfModelContextFull("full", **keys)) == less


@pytest.fixture(scope="module")
def daemon():
    with run() as daemon, People(daemon) as people:
        people.root.ok("inf_load_model", MODEL="demo", CTXSIZE=BUDGET)
        yield daemon


@pytest.fixture
def ada(daemon):
    """How a user logs in who may have more than there is."""
    with People(daemon) as people:
        person = people.user(CTXLENGTH=BUDGET, models=("demo",))
        yield {"username": person.username, "token": person.token}
        people.root.ok("inf_delete_user", USERNAME=person.username, ACCTOK=person.token)


def left_behind(daemon, ada):
    """A session of the user's that nobody is connected to holds the whole budget."""
    with Client(daemon.host, daemon.port, **ada) as gone:
        gone.login()
        return gone.chat(model="demo").open().ctxsize


def orphaned(client, name):
    listed = client.inf_get_sessions(username=name).sessions
    return [s["CONTEXTS"] for s in listed if not s["CONNECTIONS"]] == [[1]]


def test_what_the_user_left_behind_gives_way(daemon, ada):
    assert left_behind(daemon, ada) == BUDGET
    with Client(daemon.host, daemon.port, **ada) as client:
        client.login()
        until(lambda: orphaned(client, ada["username"]))
        with client.chat(model="demo") as chat:
            assert (chat.ctxsize, chat.wanted) == (BUDGET, None)
        client.inf_destroy_session()


async def test_for_an_asynchronous_chat_too(daemon, ada):
    assert left_behind(daemon, ada) == BUDGET
    with Client(daemon.host, daemon.port, **ada) as looker:
        looker.login()
        until(lambda: orphaned(looker, ada["username"]))
        looker.inf_destroy_session()
    async with AsyncClient(daemon.host, daemon.port, **ada) as client:
        await client.login()
        async with client.chat(model="demo") as chat:
            assert (chat.ctxsize, chat.wanted) == (BUDGET, None)
        await client.inf_destroy_session()


def test_what_others_leave_is_taken_as_a_whole(daemon, ada):
    with Client(daemon.host, daemon.port, **ada) as client:
        client.login()
        client.inf_create_context(model="demo", ctxsize=BUDGET - 700)
        with client.chat(model="demo") as chat:
            assert (chat.ctxsize, chat.wanted) == (700, BUDGET)
            with pytest.raises(InfModelContextFull):
                client.chat(model="demo").open()
        client.inf_destroy_session()


async def test_by_an_asynchronous_chat_too(daemon, ada):
    async with AsyncClient(daemon.host, daemon.port, **ada) as client:
        await client.login()
        await client.inf_create_context(model="demo", ctxsize=BUDGET - 700)
        async with client.chat(model="demo") as chat:
            assert (chat.ctxsize, chat.wanted) == (700, BUDGET)
        await client.inf_destroy_session()
