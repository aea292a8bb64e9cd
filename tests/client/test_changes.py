"""What both clients tell of the connection: "lost", "away", and "back" after either."""

from __future__ import annotations

import pytest
from support.daemon import run, until
from support.restart import restart

from infd_client import AsyncClient, Client, ConnectionLost


@pytest.fixture
def daemon():
    with run(demo=False) as daemon:
        yield daemon


@pytest.fixture
def told():
    return []


def options(daemon, told):
    return {"username": "admin", "token": daemon.admin, "reconnect": 0.1, "on_change": told.append}


def test_back_is_told_after_away_and_once(daemon, told):
    with Client(daemon.host, daemon.port, **options(daemon, told)) as client:
        client.login()
        daemon.kill()
        with pytest.raises(ConnectionLost):
            client.inf_get_users()
        assert told == ["lost", "away"]
        with pytest.raises(ConnectionLost):
            client.inf_get_users()
        assert told == ["lost", "away"]
        restart(daemon)
        client.login()
        until(lambda: told == ["lost", "away", "back"])
        client.inf_get_users()
        client.inf_destroy_session()
        assert told == ["lost", "away", "back"]


async def test_back_is_told_after_away_and_once_to_tasks_too(daemon, told):
    async with AsyncClient(daemon.host, daemon.port, **options(daemon, told)) as client:
        await client.login()
        daemon.kill()
        with pytest.raises(ConnectionLost):
            await client.inf_get_users()
        assert told == ["lost", "away"]
        restart(daemon)
        await client.login()
        assert told == ["lost", "away", "back"]
        await client.inf_get_users()
        await client.inf_destroy_session()
        assert told == ["lost", "away", "back"]


def test_back_is_told_after_a_loss_while_nobody_waited(daemon, told):
    with Client(daemon.host, daemon.port, **options(daemon, told)) as client:
        client.connect()
        daemon.kill()
        until(lambda: told == ["lost"])
        restart(daemon)
        client.connect()
        until(lambda: told == ["lost", "back"])


async def test_back_is_told_to_tasks_after_a_loss_while_nobody_waited(daemon, told):
    async with AsyncClient(daemon.host, daemon.port, **options(daemon, told)) as client:
        await client.connect()
        daemon.kill()
        restart(daemon)
        # What was sent to the one that is gone is sent again to the other.
        await client.connect()
        assert told == ["lost", "back"]
