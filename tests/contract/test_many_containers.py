"""Frames that cost little to send and much to read."""

from __future__ import annotations

import pytest
from support.daemon import Daemon
from support.raw_client import RawClient, Wire

from infd_protocol import codec, frames

HEAD = b"\x94\x02\xa9inf_hello\x81\xa1X"
"""[2, "inf_hello", {"X": …"""


def request(array: bytes) -> bytes:
    return HEAD + array + b"\xc0"


def long_array(items: int, each: bytes) -> bytes:
    return b"\xdd" + items.to_bytes(4, "big") + each * items


@pytest.mark.parametrize("each", [b"\x90", b"\x80", b"\x91\x90"])
def test_a_hundred_thousand_containers_and_more_are_1021(
    each: bytes, client: RawClient, shared_daemon: Daemon
) -> None:
    body = request(long_array(200_000, each))
    with Wire(shared_daemon) as wire:
        wire.request(1, "inf_get_context_ids", {"STOK": client.stok})
        assert wire.read() is not None
        wire.send(frames.frame(body))
        answer = wire.read()
        assert answer is not None
        assert answer[:2] == (0, 1021)
        assert "65536 arrays and maps" in answer[2]["DETAIL"]
        assert wire.read() is None


@pytest.mark.parametrize("most", [codec.FIRST_CONTAINERS, codec.MAX_CONTAINERS])
def test_the_limit_is_exact(most: int) -> None:
    """The request's own array and map count, and the array in which the others stand."""
    fits, over = (request(long_array(n, b"\x90")) for n in (most - 3, most - 2))
    assert codec.decode_request(fits, most_containers=most)[0] == 2
    with pytest.raises(codec.Malformed, match=f"{most} arrays and maps"):
        codec.decode_request(over, most_containers=most)


def test_who_has_named_no_session_may_send_few(shared_daemon: Daemon) -> None:
    with Wire(shared_daemon) as wire:
        wire.send(frames.frame(request(long_array(codec.FIRST_CONTAINERS, b"\x90"))))
        answer = wire.read()
        assert answer is not None
        assert answer[:2] == (0, 1021)
        assert wire.read() is None


def test_a_long_list_of_numbers_passes(client: RawClient) -> None:
    """Numbers are no containers: 200,000 tokens are made into text."""
    tokens = client.ok("inf_tokenize", "Hello!", MODEL="demo").keys["TOKENS"]
    times = 200_000 // len(tokens)
    answer = client.ok("inf_detokenize", MODEL="demo", TOKENS=tokens * times)
    assert answer.data == "Hello!" * times


def test_no_more_tokens_are_told_than_could_be_sent_back(client: RawClient) -> None:
    client.ok("inf_get_context_ids")  # a session is named: frames may be long
    text = "~" * codec.MAX_VALUES  # a token each
    assert len(client.ok("inf_tokenize", text, MODEL="demo").keys["TOKENS"]) == codec.MAX_VALUES
    more = client.refused(2016, "inf_tokenize", text + "~", MODEL="demo")
    assert f"{codec.MAX_VALUES + 1} tokens" in more.keys["DETAIL"]


def test_millions_of_numbers_are_refused_and_the_connection_goes_on(
    client: RawClient, shared_daemon: Daemon
) -> None:
    with Wire(shared_daemon) as wire:
        wire.request(1, "inf_get_context_ids", {"STOK": client.stok})
        assert wire.read() is not None
        for array in (
            long_array(codec.MAX_VALUES + 1, b"\x01"),
            # In none of them too many, but in all together.
            long_array(2, long_array(codec.MAX_VALUES // 2, b"\x01")),
        ):
            wire.send(frames.frame(request(array)))
            answer = wire.read()
            assert answer is not None
            assert answer[:2] == (2, 1021)
            assert f"more than {codec.MAX_VALUES} values" in answer[2]["DETAIL"]
        wire.request(3, "inf_get_context_ids", {"STOK": client.stok})
        last = wire.read()
        assert last is not None
        assert last[:2] == (3, 2000)


def test_as_many_values_as_may_be_pass() -> None:
    fits = codec.MAX_VALUES - 4  # less the request's own four
    assert codec.decode_request(request(long_array(fits, b"\x01")))[0] == 2
    with pytest.raises(codec.Misshapen, match="values in its arrays") as refused:
        codec.decode_request(request(long_array(fits + 1, b"\x01")))
    assert refused.value.seq == 2
