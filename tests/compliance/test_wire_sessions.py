"""Sessions: logging in and out, their life without a connection, orphans, making room."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from support import daemon as daemons
from support.daemon import BUDGET, Daemon, until
from support.endless import TABLE, endless
from support.people import People
from support.raw_client import RawClient


@pytest.fixture(scope="module")
def people(shared_daemon: Daemon) -> Iterator[People]:
    with People(shared_daemon) as people:
        yield people


def short(**config: Any) -> Any:
    """A daemon whose sessions are short-lived as `config` says."""
    return daemons.run(models={"endless": endless()}, config={"models": TABLE, **config})


@pytest.mark.parametrize(
    ("username", "token"),
    [
        ("admin", "wrong"),
        ("nobody-here", "wrong"),
        ("", ""),
        ("admin", ""),
        ("no\0body", "x" * 999),
    ],
)
def test_a_wrong_login_is_2008_whoever_it_is(
    shared_daemon: Daemon, people: People, username: str, token: str
) -> None:
    with RawClient(shared_daemon) as client:
        answer = client.refused(2008, "inf_access_request", USERNAME=username, ACCTOK=token)
        assert answer.keys["DETAIL"] == "USERNAME or ACCTOK is wrong."
    people.enter("admin", shared_daemon.admin).close()


def test_guessing_is_slowed_down_for_that_user_alone(people: People) -> None:
    victim, other = people.user(), people.user()
    keys = {"USERNAME": victim.username, "ACCTOK": "a wrong guess"}
    with RawClient(people.daemon) as client:
        for _ in range(5):
            client.refused(2008, "inf_access_request", **keys)
        slowed = client.refused(1022, "inf_access_request", **keys)
        assert slowed.keys["RETRY_AFTER"] >= 1
        other.enter().close()


def test_more_hashes_than_one_a_connection_are_1022(people: People) -> None:
    """One is hashed or waits; the second of the same connection is turned away."""
    user = people.user()
    with RawClient(people.daemon) as client:
        seqs = [
            client.send("inf_access_request", USERNAME=user.username, ACCTOK=f"wrong {n}")
            for n in range(3)
        ]
        assert sorted(client.read(seq).code for seq in seqs) == [1022, 1022, 2008]


def test_a_session_is_used_from_several_connections(client: RawClient, people: People) -> None:
    ctxid = client.context(size=512)
    with RawClient(people.daemon, client.stok) as second:
        msgid = second.say(ctxid, "Hello!")
        client.execute(ctxid, msgid)
        assert second.reply(ctxid)[1].keys["FINISH_REASON"] == "stop"


def test_a_connection_carries_several_sessions(people: People) -> None:
    ada, bob = people.user(), people.user()
    with ada.enter() as client:
        first = client.stok
        client.stok = None
        client.login(bob.username, bob.token)
        assert client.ok("inf_get_sessions", USERNAME=bob.username).keys["SESSIONS"][0]["CURRENT"]
        client.stok = first
        assert client.ok("inf_get_sessions", USERNAME=ada.username).keys["SESSIONS"][0]["CURRENT"]
        client.refused(2008, "inf_get_sessions", USERNAME=bob.username)


def test_a_lost_connection_loses_nothing(client: RawClient, people: People) -> None:
    ctxid = client.context("endless", 30_000)
    client.execute(ctxid, client.say(ctxid, "go"), MAX_TOKENS=300)
    seq = client.send("exec_next", CTXID=ctxid, OFFSET=0, STREAM=1)
    begun = client.read(seq).data or ""
    client.socket.close()
    with RawClient(people.daemon, client.stok) as second:
        rest, last = second.reply(ctxid, len(begun.encode()))
        assert last.keys["TOKENS_OUT"] == 300
        assert second.reply(ctxid, 0)[0] == begun + rest


def test_sessions_are_listed_and_ended(people: People) -> None:
    user = people.user(models=("demo",), CTXLENGTH=64)
    with user.enter() as one, user.enter() as two:
        one.context(size=64)
        seen = two.ok("inf_get_sessions", USERNAME=user.username).keys["SESSIONS"]
        assert [session["CONTEXTS"] for session in seen] == [[1], []]
        assert [session["CURRENT"] for session in seen] == [False, True]
        with people.user("USER_MODIFICATION").enter() as warden:
            warden.ok("inf_get_sessions", USERNAME=user.username)
            ended = warden.ok("inf_end_sessions", USERNAME=user.username)
            assert ended.keys["SESSIONS"] == 2
        for client in (one, two):
            client.refused(2002, "inf_get_context_ids")
    with user.enter() as again:
        assert again.ok("inf_end_sessions", USERNAME=user.username).keys["SESSIONS"] == 1
        again.refused(2002, "inf_get_context_ids")


def test_destroying_a_session_ends_its_runs(client: RawClient, people: People) -> None:
    with RawClient(people.daemon) as other:
        other.login("admin", people.daemon.admin)
        ctxid = other.context("endless", 30_000)
        other.execute(ctxid, other.say(ctxid, "go"))
        seq = other.send("exec_next", CTXID=ctxid, STREAM=1)
        other.read(seq)
        other.ok("inf_destroy_session")
        while not (answer := other.read(seq)).last:
            pass
        assert answer.code == 2013
        other.refused(2002, "exec_next", CTXID=ctxid)
    assert client.ok("inf_get_model_info", MODEL="endless").keys["CONTEXTS"] == 0


def test_more_sessions_than_allowed_are_2001() -> None:
    with short(max_sessions_per_user=2, max_sessions=4) as daemon, People(daemon) as people:
        ada, bob = people.user(), people.user()
        with ada.enter() as client:
            with ada.enter():
                client.refused(2001, "inf_access_request", USERNAME=ada.username, ACCTOK=ada.token)
            with ada.enter(), bob.enter() as other:
                other.refused(2001, "inf_access_request", USERNAME=bob.username, ACCTOK=bob.token)
                other.ok("inf_destroy_session")
                client.ok("inf_destroy_session")
            client.stok = None
            client.login(ada.username, ada.token)


def test_a_session_that_was_left_behind_gives_way_unless_it_has_a_context() -> None:
    with short(max_sessions_per_user=2) as daemon, RawClient(daemon) as client:
        client.login("admin", daemon.admin)
        keys = {"USERNAME": "admin", "ACCTOK": daemon.admin}
        for _ in range(3):
            with RawClient(daemon).login("admin", daemon.admin) as left:
                pass
        with RawClient(daemon, left.stok) as again:
            again.ok("inf_get_context_ids")
            again.context(size=64)
        until(lambda: connections_of(client, "admin") == [0, 1])
        client.refused(2001, "inf_access_request", **keys)


def connections_of(client: RawClient, username: str) -> list[int]:
    sessions = client.ok("inf_get_sessions", USERNAME=username).keys["SESSIONS"]
    return sorted(session["CONNECTIONS"] for session in sessions)


def test_an_unused_session_without_a_connection_ends() -> None:
    with short(session_idle=0.0) as daemon:
        client = RawClient(daemon).login("admin", daemon.admin)
        client.context(size=64)
        with RawClient(daemon).login("admin", daemon.admin) as watcher:
            client.close()
            until(lambda: watcher.ok("inf_get_server_stats").keys["SESSIONS"] <= 1)
            with RawClient(daemon, client.stok) as late:
                late.refused(2002, "inf_get_context_ids")
            until(lambda: watcher.ok("inf_get_model_info", MODEL="demo").keys["BUDGET_USED"] == 0)


def test_a_connected_session_without_requests_ends() -> None:
    """Another one watches; its own requests keep it alive, unless the machine is very slow."""
    with (
        short(session_attached=0.2) as daemon,
        RawClient(daemon).login("admin", daemon.admin) as client,
        RawClient(daemon) as watcher,
    ):
        seen: list[dict[str, Any]] = []
        while [session["CURRENT"] for session in seen] != [True]:
            answer = watcher.call("inf_get_sessions", USERNAME="admin")
            if answer.code == 2002:
                watcher.stok = None
                watcher.login("admin", daemon.admin)
            seen = answer.keys.get("SESSIONS", [])
        client.refused(2002, "inf_get_context_ids")


def test_a_run_without_a_connection_is_orphaned() -> None:
    with short(orphan_grace=0.0) as daemon:
        client = RawClient(daemon).login("admin", daemon.admin)
        ctxid = client.context("endless", 30_000)
        client.execute(ctxid, client.say(ctxid, "go"))
        seen = client.ok("exec_next", CTXID=ctxid).data or ""
        client.close()
        with RawClient(daemon).login("admin", daemon.admin) as watcher:
            until(lambda: watcher.ok("inf_get_server_stats").keys["RUNS"] == 0)
        with RawClient(daemon, client.stok) as back:
            text, last = back.reply(ctxid, 0)
            assert last.keys["FINISH_REASON"] == "orphaned"
            assert text.startswith(seen)
            assert back.ok("exec_get_messages", CTXID=ctxid).keys["IN_HISTORY"] == [True, True]


def test_a_prompt_without_a_connection_is_aborted() -> None:
    with short(orphan_grace=0.0) as daemon:
        client = RawClient(daemon).login("admin", daemon.admin)
        ctxid = client.context("endless", 30_000)
        msgid = client.say(ctxid, "word " * 9000)
        client.execute(ctxid, msgid)
        assert client.ok("inf_get_context_status", CTXID=ctxid).code == 2009
        client.close()
        with RawClient(daemon).login("admin", daemon.admin) as watcher:
            until(lambda: watcher.ok("inf_get_server_stats").keys["RUNS"] == 0)
        with RawClient(daemon, client.stok) as back:
            back.refused(2013, "exec_next", CTXID=ctxid)
            back.refused(3003, "exec_next", CTXID=ctxid)
            assert back.ok("exec_get_messages", CTXID=ctxid).keys["IN_HISTORY"] == [False]


def test_a_run_that_takes_too_long_is_aborted() -> None:
    with (
        short(run_timeout=0.2) as daemon,
        RawClient(daemon).login("admin", daemon.admin) as client,
    ):
        ctxid = client.context("endless", 60_000)
        client.execute(ctxid, client.say(ctxid, "go"))
        *_, last = client.stream(ctxid)
        assert last.code == 2013
        assert "run_timeout" in last.keys["DETAIL"]
        assert client.ok("exec_get_messages", CTXID=ctxid).keys["IN_HISTORY"] == [False]
        assert client.ok("inf_get_context_status", CTXID=ctxid).code == 2010


def test_lonely_sessions_make_room() -> None:
    """The user's own at once; another's only after the grace, which has passed here."""
    whole = {"MODEL": "demo", "CTXSIZE": BUDGET}
    with short(orphan_grace=0.0) as daemon, People(daemon) as people:
        ada = people.user(models=("demo",), CTXLENGTH=BUDGET)
        lost = ada.enter()
        lost.context(size=BUDGET)
        with ada.enter() as client:
            client.refused(2019, "inf_create_context", MODEL="demo", CTXSIZE=64)
            lost.close()
            until(lambda: client.call("inf_create_context", **whole).code == 2000)
        with RawClient(daemon, lost.stok) as gone:
            gone.refused(2002, "inf_get_context_ids")
        until(lambda: people.root.call("inf_create_context", **whole).code == 2000)


def test_another_users_lonely_session_is_left_in_peace_for_the_grace() -> None:
    with short(orphan_grace=3600.0) as daemon, People(daemon) as people:
        ada = people.user(models=("demo",), CTXLENGTH=BUDGET)
        lost = ada.enter()
        ctxid = lost.context(size=BUDGET)
        lost.close()
        until(lambda: people.root.ok("inf_get_server_stats").keys["CONNECTIONS"] <= 1)
        people.root.refused(2019, "inf_create_context", MODEL="demo", CTXSIZE=64)
        with RawClient(daemon, lost.stok) as back:
            assert back.ok("inf_get_context_status", CTXID=ctxid).code == 2010


def test_what_the_daemon_holds_is_told(people: People) -> None:
    stats = people.root.ok("inf_get_server_stats").keys
    assert stats["SESSIONS"] >= 1
    assert stats["CORES"] >= 1
    assert "admin" in {user["USERNAME"] for user in stats["USERS"]}
    user = people.user(models=("demo",), CTXLENGTH=256)
    with user.enter() as client:
        assert "USERS" not in client.ok("inf_get_server_stats").keys
        assert processor_ms(people.root, user.username) == 0
        client.ask(client.context(size=256), "Hello!")
        assert processor_ms(people.root, user.username) > 0


def processor_ms(root: RawClient, username: str) -> int:
    users = root.ok("inf_get_server_stats").keys["USERS"]
    (found,) = (user["PROCESSOR_MS"] for user in users if user["USERNAME"] == username)
    assert isinstance(found, int)
    return found
