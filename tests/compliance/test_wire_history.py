"""The history rules of the contract's section 9, against a model of them, over the wire."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.daemon import Daemon
from support.raw_client import RawClient

SIZE = 2048


class Model:
    """What the contract says: ids in the history, in order, and the text of every message."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.history: list[int] = []

    def store(self, text: str) -> int:
        self.texts.append(text)
        return len(self.texts)

    def expected(self, listed: list[int]) -> int:
        """The code of executing these; 3000 has changed the history."""
        if not listed or len(set(listed)) != len(listed):
            return 2016
        if any(not 1 <= msgid <= len(self.texts) for msgid in listed):
            return 3002
        inside = [self.history.index(msgid) for msgid in listed if msgid in self.history]
        cut = min(inside, default=len(self.history))
        self.history = [*self.history[:cut], *listed]
        return 3000


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("store"), st.text("abc ", min_size=1, max_size=8)),
        st.tuples(st.just("execute"), st.lists(st.integers(0, 9), max_size=4)),
        st.tuples(st.just("again"), st.integers(1, 3)),
        st.tuples(st.just("clear"), st.none()),
        st.tuples(st.just("abort"), st.none()),
    ),
    min_size=3,
    max_size=14,
)


@pytest.fixture(scope="module")
def talker(shared_daemon: Daemon) -> Iterator[RawClient]:
    with RawClient(shared_daemon) as client:
        yield client.login("admin", shared_daemon.admin)
        client.ok("inf_destroy_session")


def execute(client: RawClient, ctxid: int, model: Model, listed: list[int]) -> None:
    expected = model.expected(listed)
    answer = client.call("exec_execute_input", CTXID=ctxid, MSGID=listed, MAX_TOKENS=2)
    assert answer.code == expected
    if expected != 3000:
        return
    text, last = client.reply(ctxid)
    model.history.append(model.store(text))
    assert last.keys["MSGID"] == len(model.texts)


@settings(max_examples=40)
@given(steps=STEPS)
def test_the_history_is_as_the_contract_says(talker: RawClient, steps: list[object]) -> None:
    ctxid = talker.context(size=SIZE)
    model = Model()
    for kind, what in steps:  # type: ignore[misc]
        if kind == "store":
            assert talker.say(ctxid, what) == model.store(what)
        elif kind == "execute":
            execute(talker, ctxid, model, what)
        elif kind == "again":
            execute(talker, ctxid, model, model.history[-what:][:1])
        elif kind == "clear":
            talker.ok("inf_clear_context_history", CTXID=ctxid)
            model = Model()
        kept = talker.ok("exec_get_messages", CTXID=ctxid).keys
        assert kept["TEXT"] == model.texts
        inside = [msgid for msgid, flag in zip(kept["MSGID"], kept["IN_HISTORY"], strict=True)
                  if flag]  # fmt: skip
        assert inside == sorted(model.history)
    talker.ok("inf_destroy_context", CTXID=ctxid)


def test_regenerating_replaces_the_last_reply(client: RawClient) -> None:
    ctxid = client.context(size=SIZE)
    client.ask(ctxid, "My name is Ada.")
    first, _ = client.ask(ctxid, "What is my name?")
    client.execute(ctxid, 3)
    again, last = client.reply(ctxid)
    assert again == first
    assert last.keys["MSGID"] == 5
    kept = client.ok("exec_get_messages", CTXID=ctxid).keys
    assert kept["IN_HISTORY"] == [True, True, True, False, True]


def test_editing_a_message_changes_what_follows(client: RawClient) -> None:
    """Naming the message before it again cuts it off; the edited one takes its place."""
    ctxid = client.context(size=SIZE)
    client.ask(ctxid, "Hello!")
    client.ask(ctxid, "My name is Ada.")
    assert "Ada" in client.ask(ctxid, "What is my name?")[0]
    client.execute(ctxid, 2, client.say(ctxid, "My name is Bob."))
    client.reply(ctxid)
    client.execute(ctxid, 5)
    assert "Bob" in client.reply(ctxid)[0]
    inside = client.ok("exec_get_messages", CTXID=ctxid).keys["IN_HISTORY"]
    assert inside == [True, True, False, False, True, False, True, True, True]


def test_naming_every_message_replays(client: RawClient) -> None:
    """The same prompt as a conversation, from nothing computed twice."""
    ctxid = client.context(size=SIZE)
    client.ask(ctxid, "My name is Ada.")
    asked, last = client.ask(ctxid, "What is my name?")
    client.execute(ctxid, 1, 2, 3)
    replayed, again = client.reply(ctxid)
    assert replayed == asked
    assert again.keys["TOKENS_IN"] == last.keys["TOKENS_IN"]
    assert again.keys["TOKENS_CACHED"] == again.keys["TOKENS_IN"] - 1
    client.ok("inf_clear_context_history", CTXID=ctxid)
    for role, text in (("user", "My name is Ada."), ("assistant", "Nice to meet you, Ada.")):
        client.say(ctxid, text, role)
    client.execute(ctxid, 1, 2, client.say(ctxid, "What is my name?"))
    assert "Ada" in client.reply(ctxid)[0]


def test_an_aborted_run_leaves_the_history_as_it_was(client: RawClient) -> None:
    ctxid = client.context(size=SIZE)
    client.ask(ctxid, "My name is Ada.")
    before = client.ok("exec_get_messages", CTXID=ctxid).keys["IN_HISTORY"]
    msgid = client.say(ctxid, "word " * 400)
    run = client.send("exec_execute_input", CTXID=ctxid, MSGID=[msgid])
    stop = client.send("exec_stop", CTXID=ctxid)
    assert client.read(run).code == 3000
    client.read(stop)
    _, last = client.reply(ctxid)
    assert last.keys["FINISH_REASON"] == "cancelled"
    assert client.ok("exec_get_messages", CTXID=ctxid).keys["IN_HISTORY"][:2] == before


def test_a_run_may_be_cleared_and_followed_by_another_in_one_breath(client: RawClient) -> None:
    """Pipelined: nothing of the old run reaches the new one's reader or history."""
    ctxid = client.context("endless", 30_000)
    expected = None
    for _ in range(5):
        old = client.say(ctxid, "something else entirely")
        client.execute(ctxid, old)
        client.ok("exec_next", CTXID=ctxid)
        cleared = client.send("inf_clear_context_history", CTXID=ctxid)
        stored = client.send("exec_set_input", "go", CTXID=ctxid, ROLE="user")
        run = client.send("exec_execute_input", CTXID=ctxid, MSGID=[1], MAX_TOKENS=20)
        seq = client.send("exec_next", CTXID=ctxid, STREAM=1)
        pieces = [client.read(seq)]
        while not pieces[-1].last:
            pieces.append(client.read(seq))
        text = "".join(piece.data or "" for piece in pieces)
        assert [client.read(seq).code for seq in (cleared, stored, run)] == [2000, 2000, 3000]
        assert pieces[-1].keys["TOKENS_OUT"] == 20
        assert text == (expected := expected or text)
        kept = client.ok("exec_get_messages", CTXID=ctxid).keys
        assert kept["TEXT"] == ["go", text]
