"""What cannot be done with a chat is said at once, in one sentence, and nothing is sent."""

from __future__ import annotations

import pytest
from support.scripted_server import ScriptedServer

from infd_client import AsyncClient, Client

TEXT = "A reply."
CLOSED = "This chat is closed"
SUPERSEDED = "was not read to its end"
WRONG = [
    (5, TypeError, "text must be a str, not int"),
    (None, TypeError, "text must be a str, not NoneType"),
    ("a\ud800", ValueError, r"^text cannot be sent: the character at 1, U\+D800, has no form"),
]


@pytest.fixture
def server():
    with ScriptedServer(replies={1: TEXT}) as server:
        yield server


@pytest.fixture
def chat(server):
    with Client("127.0.0.1", server.port, username="ada", token="ada's token") as client:
        client.login()
        yield client.chat(model="scripted", ctxsize=99)


def test_a_chat_is_opened_by_its_first_message_and_not_by_one_after_its_end(server, chat):
    assert chat.send("hi").read() == TEXT
    chat.close()
    for ask in (chat.send, chat.edit_last):
        with pytest.raises(ValueError, match=CLOSED):
            ask("again")
    with pytest.raises(ValueError, match=CLOSED):
        chat.regenerate()
    chat.close()
    chat.stop()
    chat.clear()
    assert server.operations().count("inf_create_context") == 1
    with chat:
        assert chat.send("hi").read() == TEXT
    assert server.operations().count("inf_create_context") == 2


def test_a_reply_that_another_message_has_stopped_says_so(chat):
    first = chat.send("hello")
    assert chat.send("x").read() == TEXT
    for _ in range(2):
        with pytest.raises(RuntimeError, match=SUPERSEDED):
            first.read()
    begun = chat.send("hello")
    assert TEXT.startswith(next(begun))
    chat.regenerate()
    with pytest.raises(RuntimeError, match=SUPERSEDED):
        next(begun)


def test_a_reply_that_was_read_or_stopped_just_ends(chat):
    read = chat.send("hello")
    assert read.read() == TEXT
    stopped = chat.send("hello")
    assert TEXT.startswith(next(stopped))
    chat.stop()
    chat.send("x")
    assert list(read) == list(stopped) == []


@pytest.mark.parametrize(("text", "error", "words"), WRONG)
def test_what_is_no_text_is_not_sent(server, chat, text, error, words):
    reply = chat.open().send("hello")
    asked = server.operations()
    for ask in (chat.send, chat.edit_last):
        with pytest.raises(error, match=words):
            ask(text)
    assert [op for op in server.operations() if op != "exec_next"] == [
        op for op in asked if op != "exec_next"
    ]
    assert reply.read() == TEXT


async def test_an_asynchronous_chat_is_no_different(server):
    async with AsyncClient("127.0.0.1", server.port, username="ada", token="hers") as client:
        await client.login()
        chat = client.chat(model="scripted", ctxsize=99)
        first = await chat.send("hello")
        for text, error, words in WRONG:
            for ask in (chat.send, chat.edit_last):
                with pytest.raises(error, match=words):
                    await ask(text)
        assert await (await chat.send("x")).read() == TEXT
        with pytest.raises(RuntimeError, match=SUPERSEDED):
            await first.read()
        stopped = await chat.send("x")
        await chat.stop()
        assert await stopped.read() == ""
        await chat.close()
        for ask in (chat.send, chat.edit_last):
            with pytest.raises(ValueError, match=CLOSED):
                await ask("again")
        with pytest.raises(ValueError, match=CLOSED):
            await chat.regenerate()
        assert server.operations().count("inf_create_context") == 1
