"""exec_next and streams of the blocking client: whole, never doubled, and easy to leave."""

from __future__ import annotations

import threading

import pytest
from support.scripted_server import ScriptedServer, refusing

from infd_client import CallTimeout, Client
from infd_protocol.errors import InfError

TEXT = "Grüße, 世界! And more to read. 🙂"


def client_of(server, **options):
    return Client("127.0.0.1", server.port, username="ada", token="ada's token", **options)


def started(client):
    client.login()
    client.exec_execute_input(ctxid=1, msgid=[1])


def test_exec_next_goes_on_from_the_byte_after_what_was_returned():
    with ScriptedServer(replies={1: TEXT}, pieces=4) as server, client_of(server) as client:
        started(client)
        pieces = []
        while True:
            result = client.exec_next(ctxid=1)
            pieces.append(result.text)
            if result.is_special:
                break
        assert "".join(pieces) == TEXT
        client.exec_next(ctxid="1")
    offsets = [r.keys.get("OFFSET") for r in server.asked if r.op == "exec_next"]
    assert offsets[:2] == [0, len(pieces[0].encode())]
    assert offsets[-1] is None  # the reply was read to its end: the daemon says 3003 as ever


def test_a_timed_out_exec_next_loses_nothing():
    server = ScriptedServer(replies={1: TEXT})
    with server, client_of(server) as client:
        started(client)
        server.handlers["exec_next"] = server.hold
        with pytest.raises(CallTimeout):
            client.exec_next(ctxid=1, timeout=0.01)
        server.arrived.acquire()
        server.release(data=TEXT[:5], OFFSET=0)
        del server.handlers["exec_next"]
        assert client.exec_next(ctxid=1).offset == 0


def test_stream_gives_the_reply_and_its_last_answer():
    with ScriptedServer(replies={1: TEXT}) as server, client_of(server) as client:
        started(client)
        stream = client.stream(1)
        assert "".join(stream) == TEXT
        assert stream.finished
        assert (stream.result.finish_reason, stream.result.msgid) == ("stop", 99)
        assert stream.position == len(TEXT.encode())
        assert list(stream) == []
        assert client.stream(1, offset=4).read() == TEXT.encode()[4:].decode()


def test_leaving_a_stream_leaves_the_connection_usable():
    with ScriptedServer(replies={1: TEXT}) as server, client_of(server) as client:
        started(client)
        for piece in client.stream(1):
            assert TEXT.startswith(piece)
            break
        assert client.inf_hello().version == "scripted"
        with client.stream(1, stop=True) as stream:
            first = next(stream)
        assert "".join(client.stream(1)) == TEXT
    (stop,) = [request for request in server.asked if request.op == "exec_stop"]
    assert stop.keys["OFFSET"] == len(first.encode())
    assert len(server.peers) == 1


def test_a_refused_stream_raises_where_the_piece_was_expected():
    handlers = {"exec_next": refusing(2013, DETAIL="The model was unloaded.")}
    with ScriptedServer(handlers=handlers) as server, client_of(server, stok="x") as client:
        stream = client.stream(1)
        with pytest.raises(InfError, match="unloaded"):
            next(stream)
        assert list(stream) == []
        assert stream.result is None


def test_pieces_that_another_reader_took_are_asked_for_again():
    def skip(peer, request):
        del server.handlers["exec_next"]
        peer.answer(request, data=TEXT[9:12], OFFSET=len(TEXT[:9].encode()), last=False)

    with ScriptedServer(replies={1: TEXT}) as server, client_of(server) as client:
        started(client)
        server.handlers["exec_next"] = skip
        assert client.stream(1).read() == TEXT


def reply_bytes():
    """How many bytes the scripted daemon sends for login, execution and the whole stream."""
    with ScriptedServer(replies={1: TEXT}) as server, client_of(server) as client:
        started(client)
        counted = server.peers[0]
        counted.left = 1_000_000
        client.stream(1).read()
        return 1_000_000 - counted.left


@pytest.mark.parametrize("step", range(8))
def test_a_stream_cut_at_any_byte_is_whole_and_never_doubled(step):
    """Eight tests go through every byte of the stream, cutting the second connection too."""
    for at in range(1 + step, reply_bytes(), 8):
        with ScriptedServer(replies={1: TEXT}, cuts=[None, at, at + 40]) as server:
            with client_of(server) as client:
                started(client)
                server.peers[0].left = at
                stream = client.stream(1)
                assert "".join(stream) == TEXT
                assert stream.result.seed == 7
            assert len(server.peers) > 1


@pytest.mark.parametrize("leave", ["stop", "close"])
def test_leaving_a_stream_ends_the_wait_of_another_thread(leave):
    server = ScriptedServer()
    with server, client_of(server) as client:
        started(client)
        server.handlers["exec_next"] = server.hold
        stream = client.stream(1)
        read = []
        reader = threading.Thread(target=lambda: read.append(stream.read()), daemon=True)
        reader.start()
        server.arrived.acquire()
        getattr(stream, leave)()
        reader.join(30)
        assert read == [""]
