"""Hello, logging in, and sessions, through dispatch."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.world import HERE, Connection, World

import infd
from infd.accounts.user import Flag, User
from infd.config import Config
from infd_protocol import PROTOCOL_VERSION, codes
from infd_protocol.operations import OPERATIONS

USERS = (
    User("root", is_super=True),
    User("boss", is_super=True),
    User("warden", flags=frozenset({Flag.USER_MODIFICATION})),
    User("ada", is_static=True),
    User("bob"),
)
ADA = {"USERNAME": "ada", "ACCTOK": "token-ada"}


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    opened = World(tmp_path, *USERS, config=Config(max_sessions_per_user=3))
    yield opened
    await opened.close()


async def test_hello_lists_what_there_is(world: World) -> None:
    keys = (await world.call(None, "inf_hello")).keys
    assert (keys["VERSION"], keys["PROTOCOL"]) == (infd.__version__, PROTOCOL_VERSION)
    assert keys["MAX_FRAME"] == world.config.max_frame
    assert set(keys["OPERATIONS"]) == set(OPERATIONS)
    assert keys["OPERATIONS"]["inf_access_request"] == ["USERNAME", "ACCTOK"]


async def test_logging_in_opens_a_session_of_this_connection(world: World) -> None:
    connection = Connection()
    result = await world.call(None, "inf_access_request", **ADA, connection=connection)
    session = world.sessions.find(result.keys["STOK"])
    assert session is not None
    assert (session.username, session.address) == ("ada", HERE)
    assert connection.sessions == {session}
    again = await world.call(None, "inf_access_request", **ADA)
    assert again.keys["STOK"] != result.keys["STOK"]
    # The one that was there before is nobody's any more.
    assert await world.code(None, "inf_access_request", **ADA) == codes.INF_SUCCESS
    assert await world.code(None, "inf_access_request", **ADA) == codes.INF_MAXIMUM_CLIENTS


async def test_a_session_whose_connection_went_while_hashing_is_left_to_its_idle_time(
    world: World,
) -> None:
    connection = Connection()
    call = world.start(None, "inf_access_request", **ADA, connection=connection)
    connection.closed = True
    session = world.sessions.find((await call).keys["STOK"])
    assert session is not None
    assert session.connections == set()
    assert session.detached_at is not None


@pytest.mark.parametrize("name", ["ada", "nobody", "no name at all", "x" * 70_000])
async def test_wrong_logins_get_one_answer(world: World, name: str) -> None:
    for token in ("", "wrong", "token-root"):
        code = await world.code(None, "inf_access_request", USERNAME=name, ACCTOK=token)
        assert code == codes.INF_AUTHORIZATION_FAILED


async def test_one_login_a_connection_at_a_time(world: World) -> None:
    connection = Connection()
    wrong = {"USERNAME": "nobody", "ACCTOK": "wrong", "connection": connection}
    calls = [world.start(None, "inf_access_request", **wrong) for _ in range(2)]
    outcomes = await asyncio.gather(*calls, return_exceptions=True)
    assert [getattr(outcome, "code", None) for outcome in outcomes] == [
        codes.INF_AUTHORIZATION_FAILED,
        codes.PKT_OVERLOADED,
    ]


async def test_a_destroyed_session_is_gone_at_once(world: World) -> None:
    ending = world.start("ada", "inf_destroy_session")
    assert await world.code("ada", "inf_get_context_ids") == codes.INF_SESSION_TOKEN_MISMATCH
    await ending
    assert await world.code("ada", "inf_destroy_dession") == codes.INF_SESSION_TOKEN_MISMATCH


async def test_sessions_are_listed_without_their_tokens(world: World) -> None:
    await world.call(None, "inf_access_request", **ADA)
    result = await world.call("ada", "inf_get_sessions", USERNAME="ada")
    listed = result.keys["SESSIONS"]
    assert [entry["CURRENT"] for entry in listed] == [True, False]
    assert {entry["ADDRESS"] for entry in listed} == {HERE}
    assert world.stoks["ada"] not in str(listed)


async def test_who_may_see_and_end_whose_sessions(world: World) -> None:
    for op in ("inf_get_sessions", "inf_end_sessions"):
        assert await world.code("bob", op, USERNAME="ada") == codes.INF_AUTHORIZATION_FAILED
        assert await world.code("bob", op, USERNAME="x") == codes.INF_AUTHORIZATION_FAILED
        assert await world.code("warden", op, USERNAME="x") == codes.INF_USER_NOT_FOUND
    assert await world.code("warden", "inf_get_sessions", USERNAME="root") == codes.INF_SUCCESS
    for name in ("root", "ada"):  # a superuser, a static user
        code = await world.code("warden", "inf_end_sessions", USERNAME=name)
        assert code == codes.INF_AUTHORIZATION_FAILED
    assert (await world.call("warden", "inf_end_sessions", USERNAME="bob")).keys == {"SESSIONS": 1}
    assert (await world.call("warden", "inf_end_sessions", USERNAME="bob")).keys == {"SESSIONS": 0}
    assert (await world.call("root", "inf_end_sessions", USERNAME="boss")).keys == {"SESSIONS": 1}
    await world.call(None, "inf_access_request", **ADA)
    assert (await world.call("ada", "inf_end_sessions", USERNAME="ada")).keys == {"SESSIONS": 2}
    assert await world.code("ada", "inf_get_context_ids") == codes.INF_SESSION_TOKEN_MISMATCH
