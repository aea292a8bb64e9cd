"""Offsets: however a reply is cut up, repeated and interrupted, the text is whole, once."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from infd_client.reading import Reading, utf8_length
from infd_protocol.connection import Response

TEXT = st.text(max_size=40)


class Collected(Reading):
    def __init__(self, offset: int = 0) -> None:
        super().__init__({"STOK": "s", "CTXID": 1}, offset)
        self.pieces: list[str] = []

    def deliver(self, piece: str, response: Response) -> None:
        self.pieces.append(piece)


@given(TEXT)
def test_length_counts_utf8_bytes(text):
    assert utf8_length(text) == len(text.encode())


@given(st.data(), TEXT)
def test_any_schedule_of_answers_gives_the_text_once(data, text):
    """The daemon answers from wherever it likes; the reading cuts, or asks again."""
    reading = Collected()
    at = 0
    for _ in range(100):
        if reading.position == len(text.encode()):
            break
        if data.draw(st.integers(0, 3)) == 0:
            reading.again()
            assert reading.keys["OFFSET"] == reading.position
            at = data.draw(st.integers(0, len(text)))
        end = data.draw(st.integers(at, len(text)))
        offset = len(text[:at].encode())
        missing = offset > reading.position
        answer = Response(1, 3000, {"OFFSET": offset}, text[at:end], last=False)
        assert reading.answer(answer) is missing
        at = len(text.encode()[: reading.position].decode()) if missing else end
    assert text.startswith("".join(reading.pieces))
    assert utf8_length("".join(reading.pieces)) == reading.position


def test_a_reading_may_begin_in_the_middle():
    reading = Collected(offset=3)
    assert reading.keys["OFFSET"] == 3
    reading.answer(Response(1, 3000, {"OFFSET": 0}, "héllo", last=False))
    assert reading.pieces == ["llo"]


def test_a_refusal_is_delivered_as_it_is():
    reading = Collected()
    assert reading.answer(Response(1, 2013, {}, None)) is False
    assert reading.position == 0
