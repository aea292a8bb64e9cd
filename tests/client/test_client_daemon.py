"""Both clients against the real daemon: chats, streams cut on their way, sessions that go on."""

from __future__ import annotations

import asyncio

import pytest
from support.daemon import run, until

from infd_client import (
    AsyncClient,
    Client,
    ExecMissingMessage,
    InfContextIdMismatch,
    InfInvalidParams,
    InfModelNameMismatch,
    InfSessionTokenMismatch,
)

LONG = {"temp": 0.0, "max_tokens": 40}


@pytest.fixture(scope="module")
def daemon():
    with run() as daemon:
        yield daemon


@pytest.fixture
def client(daemon):
    with Client(daemon.host, daemon.port, username="admin", token=daemon.admin) as client:
        client.login()
        yield client
        if client.stok is not None:
            client.inf_destroy_session()


def roles(client, chat):
    listed = client.exec_get_messages(ctxid=chat.ctxid)
    kept = zip(listed.msgid, listed.role, listed.text, listed.in_history, strict=True)
    return [(role, text) for _, role, text, there in kept if there]


def test_a_conversation_remembers(client):
    with client.chat(model="demo", ctxsize=1024) as chat:
        first = chat.send("My name is Ada.").read()
        second = chat.send("What is my name?").read()
        assert "Ada" in second
        assert roles(client, chat) == [
            ("user", "My name is Ada."), ("assistant", first),
            ("user", "What is my name?"), ("assistant", second),
        ]  # fmt: skip
    with pytest.raises(InfContextIdMismatch):
        client.inf_get_context_status(ctxid=1)


def test_closing_a_client_leaves_its_session_with_what_counts(daemon, client):
    """What the docstring of `close` says: until it is ended, and only then."""
    with Client(daemon.host, daemon.port, username="admin", token=daemon.admin) as left:
        left.login()
        left.inf_create_context(model="demo", ctxsize=64)
        stok = left.stok

    def others():
        listed = client.inf_get_sessions(username="admin").sessions
        return [(s["CONNECTIONS"], s["CONTEXTS"]) for s in listed if not s["CURRENT"]]

    until(lambda: others() == [(0, [1])])
    assert client.inf_get_model_info(model="demo").budget_used == 64
    with Client(daemon.host, daemon.port, stok=stok) as back:
        assert back.inf_get_context_ids().ctxid == [1]
        back.inf_destroy_session()
    assert others() == []
    assert client.inf_get_model_info(model="demo").budget_used == 0


def test_what_a_chat_cannot_do_is_raised_as_its_docstring_says(client):
    with pytest.raises(TypeError, match="did you mean temp"):
        client.chat(model="demo", tempe=1.0)
    with pytest.raises(ValueError, match=r"Choose a model: demo, twin\."):
        client.chat().open()
    with pytest.raises(InfModelNameMismatch):
        client.chat(model="nope").open()
    with client.chat(model="demo", ctxsize=256, timeout=60.0, **LONG) as chat:
        for ask in (chat.send, chat.edit_last):
            with pytest.raises(TypeError, match="stok"):
                ask("hello", stok="another")
        with pytest.raises(TypeError):
            chat.send("hello", temp=object())
        with pytest.raises(InfInvalidParams):
            chat.send("hello", top_p=2.0)
        with pytest.raises(ValueError, match="are allowed"):
            chat.send("x" * 2**24)
        assert chat.send("hello").read()


async def test_nor_can_an_asynchronous_one(daemon):
    where = (daemon.host, daemon.port)
    async with AsyncClient(*where, username="admin", token=daemon.admin) as client:
        await client.login()
        with pytest.raises(TypeError, match="did you mean temp"):
            client.chat(model="demo", tempe=1.0)
        async with client.chat(model="demo", ctxsize=256) as chat:
            for ask in (chat.send, chat.edit_last):
                with pytest.raises(TypeError, match="stok"):
                    await ask("hello", stok="another")
            with pytest.raises(TypeError, match="stok"):
                await chat.regenerate(stok="another")
        await client.inf_destroy_session()


class OwnError(Exception):
    """What a block may raise."""


def test_a_chat_whose_context_is_gone_is_left_in_peace_and_hides_no_error(daemon):
    with Client(daemon.host, daemon.port, username="admin", token=daemon.admin) as client:
        client.login()

        def left(end, error=None):
            with client.chat(model="demo", ctxsize=256) as chat:
                end(chat)
                if error is not None:
                    raise error

        left(lambda chat: client.inf_destroy_context(ctxid=chat.ctxid))
        left(lambda _: client.inf_destroy_session())
        client.login()
        with pytest.raises(OwnError):
            left(lambda _: client.inf_destroy_session(), OwnError())


async def test_so_is_an_asynchronous_one(daemon):
    where = (daemon.host, daemon.port)
    async with AsyncClient(*where, username="admin", token=daemon.admin) as client:

        async def left(error=None):
            await client.login()
            async with client.chat(model="demo", ctxsize=256):
                await client.inf_destroy_session()
                if error is not None:
                    raise error

        await left()
        with pytest.raises(OwnError):
            await left(OwnError())



def test_regenerate_edit_and_clear(client):
    with client.chat(model="demo", ctxsize=1024, system="Be brief.", **LONG) as chat:
        first = chat.send("My name is Ada.").read()
        assert chat.send("What is my name?").read() == chat.regenerate().read()
        edited = chat.edit_last("Say hello to me.").read()
        assert roles(client, chat) == [
            ("system", "Be brief."), ("user", "My name is Ada."), ("assistant", first),
            ("user", "Say hello to me."), ("assistant", edited),
        ]  # fmt: skip
        listed = client.exec_get_messages(ctxid=chat.ctxid)
        there = [i for i, kept in zip(listed.msgid, listed.in_history, strict=True) if kept]
        chat.stop()
        assert list(chat.history) == there
        chat.clear()
        again = chat.send("My name is Bob.").read()
        assert roles(client, chat) == [
            ("system", "Be brief."), ("user", "My name is Bob."), ("assistant", again),
        ]  # fmt: skip


def test_editing_the_only_message_begins_anew(client):
    with client.chat(model="demo", ctxsize=512, **LONG) as chat:
        chat.send("My name is Ada.").read()
        chat.edit_last("My name is Bob.").read()
        assert "Bob" in chat.send("What is my name?").read()
        assert "My name is Ada." not in dict(map(reversed, roles(client, chat)))


def test_sending_while_a_reply_is_unread_keeps_what_was_handed_out(client):
    with client.chat(model="demo", ctxsize=1024, **LONG) as chat:
        piece = next(chat.send("Count from 1 to 20."))
        chat.send("What is my name?").read()
        assert ("assistant", piece) in roles(client, chat)


def test_a_chat_finds_model_and_size_by_itself(client):
    chat = client.chat()
    with pytest.raises(ValueError, match="demo"):
        chat.open()
    with client.chat(model="demo") as chat:
        assert client.inf_get_context_status(ctxid=chat.ctxid).ctxsize == chat.ctxsize


@pytest.fixture
def limited(client):
    """A user whose contexts may have 100 tokens."""
    limits = dict.fromkeys(("acclimit", "batch_set", "max_proc_threads", "proc_threads"), 1)
    made = client.inf_create_new_user(username="small", ctxlength=100, authflags=[], **limits)
    client.inf_modify_user_accept_models(username="small", model=["demo"])
    yield {"username": "small", "token": made.acctok}
    client.inf_delete_user(username="small", acctok=made.acctok)


def test_a_chat_is_no_larger_than_its_user_may_have(daemon, limited):
    with Client(daemon.host, daemon.port, **limited) as small:
        small.login()
        with small.chat(**LONG) as chat:
            assert chat.send("My name is Ada.").read()
            assert chat.ctxsize == 100


async def test_nor_is_an_asynchronous_one(daemon, limited):
    async with AsyncClient(daemon.host, daemon.port, **limited) as small:
        await small.login()
        async with small.chat(**LONG) as chat:
            assert await (await chat.send("My name is Ada.")).read()
            assert chat.ctxsize == 100


def test_polling_with_exec_next_ends_as_in_the_seed(client):
    ctxid = client.inf_create_context(model="demo", ctxsize=512).ctxid
    msgid = client.exec_set_input(ctxid=ctxid, role="user", data="Count to five.").msgid
    client.exec_execute_input(ctxid=ctxid, msgid=[msgid], temp=0)
    pieces = []

    def read_on():
        while True:
            pieces.append(client.exec_next(ctxid=ctxid).text)

    with pytest.raises(ExecMissingMessage):
        read_on()
    assert "".join(pieces) == client.stream(ctxid).read() != ""


def test_a_session_goes_on_after_its_connection_was_cut(client):
    ctxid = client.inf_create_context(model="demo", ctxsize=512).ctxid
    client._link._socket.shutdown(2)
    assert client.inf_get_context_ids().ctxid == [ctxid]


def test_a_session_that_was_ended_says_so(client):
    client.inf_destroy_session()
    with pytest.raises(InfSessionTokenMismatch):
        client.inf_get_context_ids(stok="no such session")


def test_a_long_message_right_after_login(daemon):
    with Client(daemon.host, daemon.port, username="admin", token=daemon.admin) as client:
        client.login()
        tokens = client.inf_tokenize(model="demo", data="word " * 20_000).tokens
        assert client.inf_detokenize(model="demo", tokens=tokens).text.strip()
        client.inf_destroy_session()


async def test_asyncio_stream_is_whole_however_often_it_is_cut(daemon):
    async with AsyncClient(
        daemon.host, daemon.port, username="admin", token=daemon.admin
    ) as client:
        await client.login()
        async with client.chat(model="demo", ctxsize=1024, **LONG) as chat:
            whole = await (await chat.send("Count from 1 to 20.")).read()
            stream = await chat.regenerate()
            pieces = []
            async for piece in stream:
                pieces.append(piece)
                if len(pieces) % 3 == 0 and client._wire._transport is not None:
                    client._wire._transport.abort()
            assert "".join(pieces) == whole
            assert stream.result.finish_reason in ("stop", "length")
        await client.inf_destroy_session()


async def test_asyncio_chat_remembers_regenerates_and_edits(daemon):
    async with AsyncClient.from_url(
        f"infd://admin@{daemon.host}:{daemon.port}", token=daemon.admin
    ) as client:
        await client.login()
        async with client.chat(model="demo", ctxsize=1024, **LONG) as chat:
            await (await chat.send("My name is Ada.")).read()
            answer = await (await chat.send("What is my name?")).read()
            assert "Ada" in answer
            assert await (await chat.regenerate()).read() == answer
            await (await chat.edit_last("Say hello.")).read()
            await chat.stop()
            assert len(chat.history) == 4
            await chat.clear()
            assert chat.history == ()
        await client.inf_destroy_session()


async def test_twenty_chats_at_once_on_one_connection(daemon):
    async with AsyncClient(
        daemon.host, daemon.port, username="admin", token=daemon.admin
    ) as client:
        await client.login()

        async def talk(name):
            async with client.chat(model="demo", ctxsize=256, temp=0.0, max_tokens=20) as chat:
                await (await chat.send(f"My name is {name}.")).read()
                return await (await chat.send("What is my name?")).read()

        names = ["Ada", "Bob", "Eva", "Tom"] * 5
        answers = await asyncio.gather(*map(talk, names))
        assert [
            name for name, answer in zip(names, answers, strict=True) if name in answer
        ] == names
        await client.inf_destroy_session()
