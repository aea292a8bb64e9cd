"""Turns of connections that have more requests than are handled in one go."""

from __future__ import annotations

import asyncio

from infd.turns import GRACE, PART, Turns


class Taker:
    """A connection with `left` slices of requests; `told` is everybody's order of turns."""

    def __init__(self, turns: Turns, whose: str, name: str, left: int, told: list[str]) -> None:
        self.whose = whose
        self._turns = turns
        self._name = name
        self._left = left
        self._told = told
        self.over = asyncio.Event()
        turns.add(self)

    def go_on(self) -> None:
        self._told.append(self._name)
        self._left -= 1
        if self._left:
            self._turns.add(self)
        else:
            self.over.set()


async def test_users_take_turns_and_each_users_connections_do() -> None:
    for busy in (False, True):
        told: list[str] = []
        turns = Turns(lambda busy=busy: busy)  # type: ignore[misc]
        bob = [Taker(turns, "bob", f"bob {i}", 3, told) for i in (1, 2, 3)]
        ada = Taker(turns, "ada", "ada", 2, told)
        for taker in (*bob, ada):
            await taker.over.wait()
        assert told[:4] == ["bob 1", "ada", "bob 2", "ada"]
        assert told[4:] == ["bob 3", "bob 1", "bob 2", "bob 3", "bob 1", "bob 2", "bob 3"]


async def test_others_are_heard_between_two_turns() -> None:
    told: list[str] = []
    turns = Turns(lambda: False)
    taker = Taker(turns, "bob", "bob", 3, told)
    loop = asyncio.get_running_loop()
    loop.call_soon(told.append, "ada")
    await taker.over.wait()
    assert told.index("ada") < len(told) - 1
    # All are through: the next one begins anew.
    again = Taker(turns, "bob", "again", 1, told)
    await again.over.wait()
    assert told[-1] == "again"


async def test_a_turn_that_fails_ends_nobody_elses() -> None:
    told: list[str] = []
    turns = Turns(lambda: False)
    failures: list[str] = []
    asyncio.get_running_loop().set_exception_handler(
        lambda _, context: failures.append(str(context["exception"]))
    )

    class Fails:
        whose = "bob"

        def go_on(self) -> None:
            raise ValueError("broken")

    turns.add(Fails())
    taker = Taker(turns, "ada", "ada", 1, told)
    await taker.over.wait()
    assert failures == ["broken"]


async def test_who_took_too_much_waits_while_somebody_else_is_there() -> None:
    turns = Turns(lambda: False)
    turns.charge("bob", 1000 * PART)
    assert turns.wait("bob") == 0.0  # nobody else asks for anything, and nothing computes
    turns.charge("ada", 0.0)
    assert turns.wait("bob") > 990
    turns.charge("bob", 0.0)
    assert turns.wait("bob") > 990


async def test_who_took_too_much_waits_while_something_computes() -> None:
    told: list[str] = []
    busy = True
    turns = Turns(lambda: busy)
    turns.charge("ada", GRACE / 2)
    turns.charge("bob", 1000 * PART)
    assert turns.wait("ada") == turns.wait("eve") == 0.0
    assert 990 < turns.wait("bob") < 1000
    bob = Taker(turns, "bob", "bob", 2, told)
    for _ in range(2):  # also when bob's next look is arranged already
        ada = Taker(turns, "ada", "ada", 2, told)
        await ada.over.wait()
    assert told == ["ada"] * 4
    busy = False
    await bob.over.wait()
    assert told[4:] == ["bob"] * 2
    assert turns.wait("bob") == 0.0
