"""Readers of a reply: whatever they ask and whenever, the text they put together is whole."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infd.contexts.reply import MAX_PIECE, MOST_READERS, MOST_STREAMS, Reader, Reply
from infd_protocol.errors import (
    ExecMissingMessage,
    InfContextHalted,
    InfdError,
    InfInvalidParams,
    PktOverloaded,
)


class Answers:
    """A sink that keeps what it is given."""

    def __init__(self) -> None:
        self.writable = True
        self.closed = False
        self.pieces: list[tuple[dict[str, Any], str, bool]] = []
        self.refused: InfdError | None = None

    def waits_for(self, source: Any, reader: Reader) -> None: ...

    def send(self, keys: dict[str, Any], data: str, *, last: bool) -> None:
        self.pieces.append((keys, data, last))

    def refuse(self, error: InfdError) -> None:
        self.refused = error

    @property
    def text(self) -> str:
        return "".join(data for _, data, _ in self.pieces)


def ask(reply: Reply, offset: int | None = None, stream: bool = False) -> Answers:
    answers = Answers()
    reply.read(Reader(answers, offset=offset, stream=stream))
    return answers


texts = st.lists(st.text(min_size=1, max_size=5), min_size=1, max_size=20)


@given(texts, st.lists(st.booleans(), min_size=20, max_size=20))
def test_pulled_pieces_join_to_the_reply(pieces: list[str], pulls: list[bool]) -> None:
    reply = Reply()
    got: list[Answers] = []
    for piece, pull in zip(pieces, pulls, strict=False):
        if pull:
            got.append(ask(reply))
        reply.add(piece, 1)
    reply.end({"FINISH_REASON": "stop"})
    while not (got and any(keys.get("IS_SPECIAL") for keys, _, _ in got[-1].pieces)):
        got.append(ask(reply))
    assert "".join(answers.text for answers in got) == "".join(pieces)
    offsets = [keys["OFFSET"] for answers in got for keys, _, _ in answers.pieces]
    assert offsets == sorted(offsets)
    with pytest.raises(ExecMissingMessage):
        ask(reply)


@given(texts, st.data())
def test_every_character_boundary_may_be_read_again(pieces: list[str], data: Any) -> None:
    reply = Reply()
    for piece in pieces:
        reply.add(piece, 1)
    reply.end({"FINISH_REASON": "stop"})
    whole = "".join(pieces).encode()
    offset = data.draw(st.integers(0, len(whole) + 2))
    try:
        rest = whole[offset:].decode() if offset <= len(whole) else None
    except UnicodeDecodeError:
        rest = None
    if rest is None:
        with pytest.raises(InfInvalidParams):
            ask(reply, offset)
    else:
        for _ in range(2):
            answers = ask(reply, offset)
            assert answers.text == rest
            assert answers.pieces[-1][0]["IS_SPECIAL"] is True


@given(texts, st.lists(st.booleans(), min_size=20, max_size=20))
def test_a_stream_that_cannot_be_written_merges(pieces: list[str], opens: list[bool]) -> None:
    reply = Reply()
    stream = ask(reply, 0, stream=True)
    for piece, open_ in zip(pieces, opens, strict=False):
        stream.writable = open_
        reply.add(piece, 1)
    reply.end({"FINISH_REASON": "stop"})
    stream.writable = True
    reply.serve()
    assert stream.text == "".join(pieces)
    assert [last for _, _, last in stream.pieces].count(True) == 1
    assert stream.pieces[-1][2]


def test_waiting_readers_are_served_in_the_order_of_arrival() -> None:
    reply = Reply()
    first, second = ask(reply), ask(reply)
    reply.add("one", 1)
    assert (first.text, second.text) == ("one", "")
    reply.add("two", 1)
    assert second.text == "two"


def test_two_streams_each_get_the_whole_text() -> None:
    reply = Reply()
    one, two = ask(reply, 0, stream=True), ask(reply, 0, stream=True)
    reply.add("ab", 1)
    reply.add("cd", 1)
    reply.end({})
    assert one.text == two.text == "abcd"


def test_a_halt_reaches_all_who_wait_or_the_next_once() -> None:
    reply = Reply()
    waiting = [ask(reply), ask(reply)]
    reply.halt("unloaded")
    assert all(isinstance(answers.refused, InfContextHalted) for answers in waiting)
    with pytest.raises(ExecMissingMessage):
        ask(reply)

    reply = Reply()
    reply.halt("unloaded")
    with pytest.raises(InfContextHalted, match="unloaded"):
        ask(reply)
    with pytest.raises(ExecMissingMessage):
        ask(reply)


def test_one_last_answer_for_waiting_readers_without_offset() -> None:
    reply = Reply()
    first, second = ask(reply), ask(reply)
    reply.end({"FINISH_REASON": "stop"})
    assert first.pieces[0][0]["IS_SPECIAL"] is True
    assert isinstance(second.refused, ExecMissingMessage)


def test_read_tokens_follow_what_was_given() -> None:
    reply = Reply()
    for _ in range(3):
        reply.add("x", 2)
    assert reply.tokens_read == 0
    ask(reply)
    assert reply.tokens_read == 6


def test_long_text_comes_in_bounded_pieces_of_whole_characters() -> None:
    reply = Reply()
    whole = "€" * MAX_PIECE
    reply.add(whole, 1)
    reply.end({})
    stream = ask(reply, 0, stream=True)
    assert stream.text == whole
    assert max(len(data.encode()) for _, data, _ in stream.pieces) <= MAX_PIECE


def test_a_reader_whose_connection_closed_is_passed_over() -> None:
    reply = Reply()
    gone, here = ask(reply), ask(reply)
    gone.closed = True
    reply.add("text", 1)
    assert here.text == "text"
    assert gone.pieces == []


@pytest.mark.parametrize(("stream", "most"), [(False, MOST_READERS), (True, MOST_STREAMS)])
def test_so_many_wait_for_a_reply(stream: bool, most: int) -> None:
    reply = Reply()
    waiting = [ask(reply, 0, stream) for _ in range(most)]
    with pytest.raises(PktOverloaded):
        ask(reply, 0, stream)
    assert reply.waiting == most
    reply.add("text", 1)
    reply.end({"FINISH_REASON": "stop"})
    assert {answers.text for answers in waiting} == {"text"}
    # Who need not wait is not counted.
    assert [ask(reply, 0, stream).text for _ in range(most + 1)] == ["text"] * (most + 1)
