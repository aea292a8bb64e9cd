"""Hashes of access tokens, recognising verified ones, and the line of those who wait."""

from __future__ import annotations

import asyncio
import threading

import pytest

from infd.accounts.hashing import WAITING_MAX, HashLine, TokenHash, dummy_hash, hash_token
from infd.accounts.tokens import Recognition, check_token, new_token
from infd.accounts.waiting import to_the_end
from infd_protocol.errors import InfInvalidParams, PktOverloaded

CHEAP = {"n": 16, "r": 1, "p": 1}


def test_a_hash_fits_its_token_only_and_carries_its_parameters() -> None:
    hashed = hash_token("correct horse")
    assert (hashed.n, hashed.r, hashed.p, len(hashed.salt)) == (2**15, 8, 1, 16)
    assert hashed.fits("correct horse")
    assert not hashed.fits("correct horsf")
    assert not dummy_hash().fits("")
    assert not TokenHash(b"salt", b"x" * 32, **CHEAP).fits("\ud800")


def test_a_hash_with_older_parameters_still_fits() -> None:
    # RFC 7914, section 12: N=16, r=1, p=1 and 64 bytes; its first 32 are ours, since PBKDF2
    # makes its output in blocks of 32.
    vector = "77d6576238657b203b19ca42c18a0497f16b4844e3074ae8dfdffa3fede21442"
    assert TokenHash(b"", bytes.fromhex(vector), **CHEAP).fits("")


def test_new_tokens_are_long_and_differ() -> None:
    tokens = {new_token() for _ in range(100)}
    assert len(tokens) == 100
    for token in tokens:
        assert len(token) == 43
        assert set(token) <= set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_")
        assert check_token(token) == token


@pytest.mark.parametrize("token", ["", "x" * 7, "x" * 769, "\N{SNOWMAN}" * 257, "\ud800" * 8])
def test_chosen_tokens_that_are_refused(token: str) -> None:
    with pytest.raises(InfInvalidParams, match="NEW_ACCTOK"):
        check_token(token, "NEW_ACCTOK")


@pytest.mark.parametrize("token", ["x" * 8, "x" * 768, "\N{SNOWMAN}" * 3])
def test_chosen_tokens_that_pass(token: str) -> None:
    assert check_token(token) == token


def test_recognition_knows_the_last_verified_token_until_dropped() -> None:
    recognition = Recognition()
    recognition.remember("ada", "one")
    recognition.remember("ada", "two")
    assert recognition.knows("ada", "two")
    assert not recognition.knows("ada", "one")
    assert not recognition.knows("bob", "two")
    assert not Recognition().knows("ada", "two")
    recognition.drop("ada")
    assert not recognition.knows("ada", "two")


async def occupy(line: HashLine, connection: object, gate: threading.Event) -> None:
    async with line.turn(connection):
        await line.compute(gate.wait)


async def started(line: HashLine, count: int, gate: threading.Event) -> list[asyncio.Task[None]]:
    """So many callers in the line, the first of them computing until `gate` is set."""
    tasks = [asyncio.create_task(occupy(line, object(), gate)) for _ in range(count)]
    await asyncio.sleep(0)
    return tasks


async def test_the_line_is_bounded_and_refuses_at_once() -> None:
    line, gate = HashLine(), threading.Event()
    tasks = await started(line, 1 + WAITING_MAX, gate)
    with pytest.raises(PktOverloaded) as refused:
        await occupy(line, object(), gate)
    assert refused.value.keys["RETRY_AFTER"] == 1
    tasks[-1].cancel()
    await asyncio.wait([tasks[-1]])
    late = (await started(line, 1, gate))[0]
    assert not late.done()
    gate.set()
    await asyncio.gather(*tasks[:-1], late)
    await occupy(line, object(), gate)
    line.close()


async def test_a_connection_waits_once() -> None:
    line, gate, connection = HashLine(), threading.Event(), object()
    first = asyncio.create_task(occupy(line, connection, gate))
    await asyncio.sleep(0)
    with pytest.raises(PktOverloaded):
        await occupy(line, connection, gate)
    gate.set()
    await first
    await occupy(line, connection, gate)
    line.close()


async def test_turns_come_in_order_one_at_a_time() -> None:
    line, order, inside = HashLine(), [], []

    async def one(number: int) -> None:
        async with line.turn(object()):
            inside.append(number)
            assert len(inside) == 1
            await line.compute(lambda: order.append(number))
            inside.remove(number)

    await asyncio.gather(*(one(number) for number in range(20)))
    assert order == list(range(20))
    line.close()


async def test_a_cancelled_caller_keeps_its_turn_until_the_thread_is_through() -> None:
    line, gate = HashLine(), threading.Event()
    running, waiting = await started(line, 2, gate)
    running.cancel()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert not running.done()
    assert not waiting.done()
    gate.set()
    await asyncio.wait([running, waiting])
    assert running.cancelled()
    assert not waiting.cancelled()
    line.close()


async def test_waiting_to_the_end_through_many_cancellations() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(to_the_end(future))
    for _ in range(3):
        await asyncio.sleep(0)
        task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    future.set_exception(OSError("lost"))
    await asyncio.wait([task])
    assert task.cancelled()
