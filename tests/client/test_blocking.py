"""The blocking client against a scripted peer: refusals, timeouts, threads, lost connections."""

from __future__ import annotations

import signal
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.scripted_server import STOK, Cut, ScriptedServer, cutting, refusing

from infd_client import (
    CallTimeout,
    Client,
    ClientClosed,
    ConnectFailed,
    ConnectionLost,
    InfAuthorizationFailed,
    InfMaximumClients,
    InfSessionTokenMismatch,
    PktTooLarge,
    PktUndefinedOperation,
    codes,
)
from infd_protocol.errors import InfError


def client_of(server, **options):
    return Client(
        "127.0.0.1", server.port, username="ada", token="ada's token", **options
    )  # fmt: skip


def test_login_is_remembered_and_every_later_call_names_the_session():
    with ScriptedServer() as server, client_of(server) as client:
        with pytest.raises(InfSessionTokenMismatch, match="login"):
            client.inf_get_context_ids()
        assert client.login().stok == STOK
        client.inf_get_context_ids()
        client.inf_get_context_ids(stok="another")
        client.inf_destroy_session()
        assert client.stok is None
    assert server.asked[0].keys == {"USERNAME": "ada", "ACCTOK": "ada's token"}
    assert [request.keys["STOK"] for request in server.asked[1:]] == [STOK, "another", STOK]


def test_optional_keys_are_left_out_and_bits_are_integers():
    with ScriptedServer() as server, client_of(server, stok=STOK) as client:
        client.inf_create_new_user(
            username="bob", acclimit=1, ctxlength=2, batch_set=3, max_proc_threads=4,
            proc_threads=5, authflags=["USER_MODIFICATION"], issuper=True, data="Be brief.",
        )  # fmt: skip
    (request,) = server.asked
    assert request.data == "Be brief."
    assert set(request.keys) == {
        "STOK", "USERNAME", "ACCLIMIT", "CTXLENGTH", "BATCH_SET", "MAX_PROC_THREADS",
        "PROC_THREADS", "AUTHFLAGS", "ISSUPER",
    }  # fmt: skip
    assert type(request.keys["ISSUPER"]) is int


def test_a_refusal_raises_the_exception_of_its_code_with_its_keys():
    handlers = {
        "inf_access_request": refusing(2008, DETAIL="Wrong token."),
        "inf_get_users": refusing(2999, DETAIL="From the future.", MORE=1),
    }
    with ScriptedServer(handlers=handlers) as server, client_of(server, stok=STOK) as client:
        with pytest.raises(InfAuthorizationFailed, match="Wrong token") as caught:
            client.login()
        assert (caught.value.code, caught.value.name) == (2008, "INF_AUTHORIZATION_FAILED")
        with pytest.raises(InfError, match="future") as caught:
            client.inf_get_users()
        assert (caught.value.code, caught.value.keys) == (2999, {"MORE": 1})
        with pytest.raises(PktUndefinedOperation):
            client.call("no_such_operation", {"X": 1})
        assert client.inf_hello().version == "scripted"


@pytest.mark.parametrize("code", [2009, 2010, 2012])
def test_the_state_of_a_context_is_the_code_of_the_result(code):
    handlers = {"inf_get_context_status": refusing(code, MODEL="m", CTXSIZE=9, TOKENS_USED=1)}
    with ScriptedServer(handlers=handlers) as server, client_of(server, stok=STOK) as client:
        status = client.inf_get_context_status(ctxid=1)
    assert (status.code, status.model, status.prompt_done) == (code, "m", None)


def test_results_hide_tokens_and_show_the_rest():
    with ScriptedServer() as server, client_of(server) as client:
        assert STOK not in repr(client.login())
        assert "scripted" in repr(client.inf_get_accessible_models())


def test_nobody_listens():
    with ScriptedServer() as server:
        pass
    with client_of(server) as client, pytest.raises(ConnectFailed, match=r"Is infd running"):
        client.connect()


def test_a_late_answer_is_dropped_and_the_connection_stays_usable():
    with (
        ScriptedServer() as server,
        client_of(server, stok=STOK) as client,
    ):
        server.handlers["inf_get_users"] = server.hold
        with pytest.raises(CallTimeout, match="inf_get_users"):
            client.inf_get_users(timeout=0.01)
        server.release(USERNAME=["late"])
        assert client.inf_get_accessible_models().model == ["scripted"]
        server.handlers["inf_get_users"] = refusing(2000, USERNAME=["in time"])
        assert client.inf_get_users(timeout=None).username == ["in time"]
    assert len(server.peers) == 1


def test_many_threads_share_one_connection_and_each_gets_its_own_answer():
    def echo(peer, request):
        peer.answer(request, TOKENS=[len(request.data)])

    with (
        ScriptedServer(handlers={"inf_tokenize": echo}) as server,
        client_of(server, stok=STOK) as client,
        ThreadPoolExecutor(16) as pool,
    ):
        sizes = list(range(1, 400))
        given = pool.map(lambda n: client.inf_tokenize(model="m", data="x" * n).tokens, sizes)
        assert list(given) == [[n] for n in sizes]
    assert len(server.peers) == 1


def test_answers_out_of_order_reach_their_callers():
    server = ScriptedServer()
    server.handlers["inf_get_users"] = server.hold
    with server, client_of(server, stok=STOK) as client, ThreadPoolExecutor(2) as pool:
        slow = pool.submit(client.inf_get_users)
        server.arrived.acquire()
        assert client.inf_get_accessible_models().model == ["scripted"]
        server.release(USERNAME=["ada"])
        assert slow.result().username == ["ada"]


def test_a_keyboard_interrupt_leaves_the_connection_usable():
    server = ScriptedServer()
    server.handlers["inf_get_users"] = server.hold

    def interrupt():
        server.arrived.acquire()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

    with server, client_of(server, stok=STOK) as client, ThreadPoolExecutor(1) as pool:
        pool.submit(interrupt)
        with pytest.raises(KeyboardInterrupt):
            client.inf_get_users()
        server.release(USERNAME=["late"])
        assert client.inf_get_accessible_models().model == ["scripted"]
    assert len(server.peers) == 1


def test_more_calls_than_the_daemon_takes_wait_their_turn():
    server = ScriptedServer()
    server.handlers["inf_get_users"] = server.hold
    with server, client_of(server, stok=STOK) as client, ThreadPoolExecutor(4) as pool:
        client._calls._max_in_flight = 3
        calls = [pool.submit(client.inf_get_users) for _ in range(4)]
        for _ in calls:
            server.arrived.acquire()
            assert len(server.held) <= 2
            server.release(USERNAME=[])
        assert [call.result().username for call in calls] == [[]] * 4


def test_a_big_request_that_the_socket_does_not_take_at_once():
    data = "x" * 8_000_000

    def measure(peer, request):
        peer.answer(request, TOKENS=[len(request.data)])

    with (
        ScriptedServer(handlers={"inf_tokenize": measure}) as server,
        client_of(server, stok=STOK) as client,
    ):
        assert client.inf_tokenize(model="m", data=data).tokens == [len(data)]
        with pytest.raises(ValueError, match="allowed"):
            client.inf_tokenize(model="m", data=data * 3)
        assert client.inf_hello().protocol == 1


# --- lost connections ----------------------------------------------------------------------


@pytest.mark.parametrize("reset", [False, True])
def test_what_reads_is_repeated_after_the_session_was_presented_again(reset):
    handlers = {"inf_get_users": cutting(2, reset=reset)}
    with ScriptedServer(handlers=handlers) as server, client_of(server) as client:
        client.login()
        assert client.inf_get_users().username == ["again"]
    assert len(server.peers) == 3
    assert server.operations() == [
        "inf_access_request", "inf_get_users", "inf_get_context_ids", "inf_get_users",
        "inf_get_context_ids", "inf_get_users",
    ]  # fmt: skip


def test_what_changes_something_is_not_repeated():
    handlers = {"exec_set_input": cutting()}
    with ScriptedServer(handlers=handlers) as server, client_of(server) as client:
        client.login()
        with pytest.raises(ConnectionLost, match="unknown"):
            client.exec_set_input(ctxid=1, role="user", data="hi")
        assert client.exec_set_input(ctxid=1, role="user", data="hi").msgid == 1
    assert server.operations().count("exec_set_input") == 2


def test_exec_stop_is_repeated():
    handlers = {"exec_stop": cutting()}
    with ScriptedServer(handlers=handlers) as server, client_of(server) as client:
        client.login()
        assert client.exec_stop(ctxid=1, offset=3).code == 3000
    assert server.operations().count("exec_stop") == 2


def test_a_session_that_is_gone_is_said_so():
    handlers = {"inf_get_users": cutting()}
    with ScriptedServer(handlers=handlers) as server, client_of(server) as client:
        client.login()
        gone = refusing(2002, DETAIL="The session ended.")
        server.handlers.update(inf_get_context_ids=gone)
        assert client.inf_get_users().username == ["again"]
        with pytest.raises(InfSessionTokenMismatch, match="ended"):
            client.inf_get_context_ids()


def test_a_daemon_that_stays_away_is_given_up_and_found_again_later():
    server = ScriptedServer(handlers={"inf_get_users": cutting()})
    with server, client_of(server, reconnect=0) as client:
        client.login()
        with pytest.raises(ConnectionLost, match="lost"):
            client.inf_get_users()
        assert client.inf_get_users().username == ["again"]


def test_one_that_only_hangs_up_is_tried_until_the_time_is_over():
    with ScriptedServer(cuts=[None] + [0] * 1000) as server:
        server.handlers["inf_get_users"] = cutting()
        with client_of(server, reconnect=0.3) as client:
            client.login()
            with pytest.raises(ConnectionLost):
                client.inf_get_users()
        assert 2 < len(server.peers) < 50


def test_a_full_daemon_says_so_at_once():
    def full(peer, request):
        refusal = peer.connection.refuse(0, codes.INF_MAXIMUM_CLIENTS, "100 connections are open.")
        peer.send(refusal)
        raise Cut

    with (
        ScriptedServer(handlers={"inf_hello": full}) as server,
        client_of(server) as client,
        pytest.raises(InfMaximumClients, match="100 connections"),
    ):
        client.connect()
    assert len(server.peers) == 1


def test_a_frame_that_ends_the_connection_is_not_sent_again():
    def too_large(peer, request):
        peer.send(peer.connection.refuse(0, codes.PKT_TOO_LARGE, "At most 65536 bytes."))
        raise Cut

    handlers = {"inf_tokenize": too_large}
    with ScriptedServer(handlers=handlers) as server, client_of(server, stok="x") as client:
        with pytest.raises(PktTooLarge, match="65536"):
            client.inf_tokenize(model="m", data="x" * 100)
        assert client.inf_hello().version == "scripted"
    assert server.operations().count("inf_tokenize") == 1


def test_nonsense_from_the_daemon_ends_that_connection_only():
    def nonsense(peer, request):
        if len(server.peers) == 1:
            peer.send(b"\x00\x00\x00\x01\xc1")
        else:
            peer.answer(request, USERNAME=["well"])

    with (
        ScriptedServer(handlers={"inf_get_users": nonsense}) as server,
        client_of(server, stok="x") as client,
    ):
        client.connect()  # a daemon, then: what never was one is not tried again
        assert client.inf_get_users().username == ["well"]


def test_closing_ends_calls_under_way_and_later_ones():
    server = ScriptedServer()
    server.handlers["inf_get_users"] = server.hold
    with server, ThreadPoolExecutor(1) as pool:
        client = client_of(server, stok="x")
        waiting = pool.submit(client.inf_get_users)
        server.arrived.acquire()
        client.close()
        client.close()
        with pytest.raises(ClientClosed):
            waiting.result()
        with pytest.raises(ClientClosed):
            client.inf_hello()


def test_a_client_that_is_dropped_takes_its_thread_along():
    with ScriptedServer() as server:
        before = set(threading.enumerate())
        client = client_of(server).connect()
        (reader,) = {
            thread for thread in set(threading.enumerate()) - before if "infd" in thread.name
        }
        del client
        reader.join(10)
        assert not reader.is_alive()
