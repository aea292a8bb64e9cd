"""exec_next and exec_stop: pieces, OFFSET, STREAM, waiting readers, what an aborted run gives."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.daemon import Daemon, until
from support.raw_client import RawClient

LONG = 600
"""Tokens of a reply that comes in several pieces."""


@pytest.fixture
def endless(client: RawClient) -> int:
    """A context whose runs do not end by themselves."""
    return client.context("endless", 30_000)


def begin(client: RawClient, ctxid: int, text: str = "go", **keys: Any) -> None:
    client.execute(ctxid, client.say(ctxid, text), **keys)


def finished(client: RawClient, ctxid: int, tokens: int = LONG) -> bytes:
    """A whole reply, read to its end, in UTF-8."""
    begin(client, ctxid, MAX_TOKENS=tokens)
    return client.reply(ctxid)[0].encode()


def is_boundary(text: bytes, offset: int) -> bool:
    return offset == len(text) or text[offset] & 0xC0 != 0x80


def test_pieces_follow_one_another(client: RawClient, endless: int) -> None:
    begin(client, endless, MAX_TOKENS=LONG)
    text = b""
    while True:
        answer = client.ok("exec_next", CTXID=endless)
        assert answer.keys["OFFSET"] == len(text)
        text += (answer.data or "").encode()
        if answer.keys.get("IS_SPECIAL"):
            break
        assert answer.data
        assert "FINISH_REASON" not in answer.keys
    client.refused(3003, "exec_next", CTXID=endless)
    assert client.ok("exec_get_messages", CTXID=endless).keys["TEXT"][-1].encode() == text
    assert len(text) > LONG


def test_a_stream_gives_the_same_as_pieces(client: RawClient, endless: int) -> None:
    whole = finished(client, endless)
    client.execute(endless, 1, MAX_TOKENS=LONG)
    at = 0
    for answer in client.stream(endless):
        assert answer.code == 3000
        assert answer.keys["OFFSET"] == at
        at += len((answer.data or "").encode())
    assert at == len(whole)
    client.refused(3003, "exec_next", CTXID=endless, STREAM=True)


@pytest.mark.parametrize("value", [0, False])
def test_stream_may_be_off(client: RawClient, endless: int, value: Any) -> None:
    whole = finished(client, endless, 4)
    answer = client.ok("exec_next", CTXID=endless, STREAM=value, OFFSET=0)
    assert answer.last
    assert answer.data == whole.decode()


def test_any_offset_gives_the_rest_again(client: RawClient, endless: int) -> None:
    whole = finished(client, endless)

    @settings(max_examples=60)
    @given(offset=st.integers(0, len(whole) + 2), stream=st.booleans())
    def check(offset: int, stream: bool) -> None:
        if offset > len(whole) or not is_boundary(whole, offset):
            client.refused(2016, "exec_next", CTXID=endless, OFFSET=offset, STREAM=stream)
            return
        text, last = client.reply(endless, offset) if stream else once(offset)
        assert text.encode() == whole[offset:]
        assert last.keys["IS_SPECIAL"] is True
        assert last.keys["FINISH_REASON"] == "length"

    def once(offset: int) -> tuple[str, Any]:
        answer = client.ok("exec_next", CTXID=endless, OFFSET=offset)
        assert answer.keys["OFFSET"] == offset
        return answer.data or "", answer

    check()
    assert any(not is_boundary(whole, offset) for offset in range(len(whole)))


def test_the_reply_stays_readable_until_the_next_run(client: RawClient, endless: int) -> None:
    whole = finished(client, endless, 20)
    for _ in range(2):
        assert client.reply(endless, 0)[0].encode() == whole
    client.refused(3003, "exec_next", CTXID=endless)
    client.execute(endless, 1, MAX_TOKENS=1)
    text, _ = client.reply(endless, 0)
    assert whole.startswith(text.encode())
    assert len(text.encode()) < len(whole)
    client.ok("inf_clear_context_history", CTXID=endless)
    client.refused(3003, "exec_next", CTXID=endless, OFFSET=0)


def test_unread_text_is_dropped_by_the_next_run(client: RawClient, endless: int) -> None:
    begin(client, endless, MAX_TOKENS=20)
    client.ok("exec_stop", CTXID=endless)
    client.execute(endless, 1, MAX_TOKENS=2)
    assert client.ok("exec_next", CTXID=endless).keys["OFFSET"] == 0


def test_waiting_readers_are_served_in_the_order_of_arrival(
    client: RawClient, shared_daemon: Daemon
) -> None:
    """All ask before the run begins to speak; its end comes to the one after the last piece."""
    ctxid = client.context("endless", 30_000)
    msgid = client.say(ctxid, "word " * 300)
    run = client.send("exec_execute_input", CTXID=ctxid, MSGID=[msgid], MAX_TOKENS=60)
    seqs = [client.send("exec_next", CTXID=ctxid) for _ in range(6)]
    with RawClient(shared_daemon, client.stok) as other:
        answers = [client.read(seq) for seq in seqs]
        given = [answer for answer in answers if answer.code == 3000]
        assert [client.order.index(seq) for seq in seqs] == sorted(
            client.order.index(seq) for seq in seqs
        )
        ends = [answer.keys["OFFSET"] + len((answer.data or "").encode()) for answer in given]
        assert [answer.keys["OFFSET"] for answer in given] == [0, *ends[:-1]]
        assert all(answer.code == 3003 for answer in answers[len(given) :])
        assert client.read(run).code == 3000
        if len(given) == len(seqs) and not given[-1].keys.get("IS_SPECIAL"):
            other.reply(ctxid)


def test_a_waiting_reader_whose_connection_closed_is_forgotten(
    client: RawClient, shared_daemon: Daemon
) -> None:
    """It takes no piece away from those who are there."""
    ctxid = client.context("endless", 30_000)
    msgid = client.say(ctxid, "word " * 400)
    lost = RawClient(shared_daemon, client.stok)
    run = client.send("exec_execute_input", CTXID=ctxid, MSGID=[msgid], MAX_TOKENS=30)
    lost.send("exec_next", CTXID=ctxid)
    lost.close()
    assert client.read(run).code == 3000
    text, _ = client.reply(ctxid, 0)
    assert client.ok("exec_get_messages", CTXID=ctxid).keys["TEXT"][-1] == text


def test_two_streams_each_get_the_whole(client: RawClient, shared_daemon: Daemon) -> None:
    ctxid = client.context("endless", 30_000)
    begin(client, ctxid, MAX_TOKENS=LONG)
    with RawClient(shared_daemon, client.stok) as other:
        seq = other.send("exec_next", CTXID=ctxid, OFFSET=0, STREAM=1)
        mine = client.reply(ctxid, 0)[0]
        pieces = []
        while not pieces or not pieces[-1].last:
            pieces.append(other.read(seq))
    assert "".join(piece.data or "" for piece in pieces) == mine


def test_stopping_keeps_what_was_generated(client: RawClient, endless: int) -> None:
    client.ok("exec_stop", CTXID=endless)
    begin(client, endless)
    first = client.ok("exec_next", CTXID=endless)
    client.ok("exec_stop", CTXID=endless)
    assert client.ok("inf_get_context_status", CTXID=endless).code == 2010
    text, last = client.reply(endless, 0)
    assert last.keys["FINISH_REASON"] == "cancelled"
    assert text.startswith(first.data or "?")
    kept = client.ok("exec_get_messages", CTXID=endless).keys
    assert (kept["TEXT"][-1], kept["IN_HISTORY"]) == (text, [True, True])
    client.ok("exec_stop", CTXID=endless)


@pytest.mark.parametrize("running", [True, False])
def test_stopping_with_offset_cuts_the_reply(
    client: RawClient, endless: int, running: bool
) -> None:
    begin(client, endless, MAX_TOKENS=None if running else 100)
    seen = (client.ok("exec_next", CTXID=endless).data or "")[:5]
    if not running:
        client.reply(endless, 0)
    cut = len(seen.encode())
    client.refused(2016, "exec_stop", CTXID=endless, OFFSET=4_000_000_000)
    client.ok("exec_stop", CTXID=endless, OFFSET=cut)
    text, last = client.reply(endless, 0)
    assert text == seen
    assert last.keys["FINISH_REASON"] == ("cancelled" if running else "length")
    assert client.ok("exec_get_messages", CTXID=endless).keys["TEXT"][-1] == seen
    client.execute(endless, client.say(endless, "more"), MAX_TOKENS=2)
    assert client.reply(endless)[1].keys["FINISH_REASON"] == "length"


def test_a_stop_and_a_stream_end_together(client: RawClient, endless: int) -> None:
    begin(client, endless)
    seq = client.send("exec_next", CTXID=endless, STREAM=1)
    assert client.read(seq).code == 3000
    stop = client.send("exec_stop", CTXID=endless)
    while not (answer := client.read(seq)).last:
        pass
    assert answer.keys["FINISH_REASON"] == "cancelled"
    assert client.read(stop).code == 3000


@pytest.mark.parametrize("end", ["inf_clear_context_history", "inf_destroy_context"])
@pytest.mark.parametrize("stream", [0, 1])
def test_an_abort_gives_2013_to_all_who_wait(
    client: RawClient, endless: int, end: str, stream: int
) -> None:
    """The prompt is long, so that they wait when the abort comes."""
    msgid = client.say(endless, "word " * 3000)
    run = client.send("exec_execute_input", CTXID=endless, MSGID=[msgid])
    seqs = [client.send("exec_next", CTXID=endless, STREAM=stream) for _ in range(3)]
    ended = client.send(end, CTXID=endless)
    assert client.read(ended).code == 2000
    assert {client.read(seq).code for seq in seqs} == {2013}
    assert client.read(run).code in (3000, 3009, 2005)
    after = 2005 if end == "inf_destroy_context" else 3003
    client.refused(after, "exec_next", CTXID=endless)


def test_an_abort_that_nobody_waits_for_is_told_once(client: RawClient, endless: int) -> None:
    begin(client, endless)
    client.ok("exec_next", CTXID=endless)
    client.ok("inf_clear_context_history", CTXID=endless)
    client.refused(2013, "exec_next", CTXID=endless)
    client.refused(3003, "exec_next", CTXID=endless)
    client.refused(3003, "exec_next", CTXID=endless, OFFSET=0)
    assert client.ok("exec_get_messages", CTXID=endless).keys["MSGID"] == []


def test_a_run_goes_on_beside_everything_else(client: RawClient, endless: int) -> None:
    """Answers overtake a stream that goes on and on."""
    begin(client, endless)
    seq = client.send("exec_next", CTXID=endless, STREAM=1)
    client.read(seq)
    for _ in range(50):
        assert client.ok("inf_get_context_status", CTXID=endless).code == 2009
    other = client.context(size=256)
    assert client.ask(other, "Hello!", MAX_TOKENS=5)[0]
    client.ok("exec_stop", CTXID=endless)


def test_a_run_reaches_its_end_unread(client: RawClient) -> None:
    """Far beyond `run_ahead`; a client that polls the status and then drains gets it all."""
    ctxid = client.context("endless", 2000)
    begin(client, ctxid)
    until(lambda: client.ok("inf_get_context_status", CTXID=ctxid).code != 2009)
    text, last = client.reply(ctxid)
    assert last.keys["FINISH_REASON"] == "length"
    assert last.keys["TOKENS_OUT"] > 1900
    assert client.ok("exec_get_messages", CTXID=ctxid).keys["TEXT"][-1] == text
