"""The context budget of a loaded model. Pure: no threads, no files; on the loop's thread only.

Rules:
- The CTXSIZEs of a model's live contexts never exceed its budget.
- When several users who are no superusers reach the model, none of them holds more than a share
  of the budget.
- A reservation stands for one context, from before it is made until its memory is free.
"""

from __future__ import annotations

import asyncio
from collections import Counter

from infd.engine.options import MIN_CTXSIZE
from infd_protocol.errors import InfInvalidParams, InfModelContextFull


class UserShareFull(InfModelContextFull):
    """The user's own part is used up: no other user's context stands in the way."""


def how_to_free(user: str) -> str:
    """What a person may do whose own contexts stand in the way; the rest of a sentence."""
    return (
        f"inf_destroy_context frees one, inf_end_sessions with USERNAME={user} ends all sessions "
        "of the user, also one that a crashed program left, and frees their contexts"
    )


class Budget:
    """The budget of one model, in tokens. `share` is `max_user_share`."""

    def __init__(self, name: str, size: int, share: float) -> None:
        self.name = name
        self.size = size
        self.used = 0
        self._share = share
        self._by_user: Counter[str] = Counter()
        self._live: set[Reservation] = set()
        self._idle: asyncio.Future[None] | None = None

    @property
    def free(self) -> int:
        return self.size - self.used

    @property
    def contexts(self) -> int:
        """Live reservations."""
        return len(self._live)

    def resize(self, size: int) -> None:
        """Set the budget. Raises InfInvalidParams if more is in use."""
        if size < self.used:
            raise InfInvalidParams(
                f"CTXSIZE: contexts of model {self.name} use {self.used} tokens already; "
                "destroy some first."
            )
        self.size = size

    def reserve(self, ctxsize: int, *, user: str, user_is_super: bool, sharers: int) -> Reservation:
        """Take `ctxsize` tokens for a context of `user`.

        `sharers`: how many users who are no superusers reach the model. Raises
        InfModelContextFull, or UserShareFull when it is the user's own share that is used up; LIMIT
        says how many tokens the user could take.
        """
        held = self._by_user[user]
        shares = not user_is_super and sharers > 1
        allowed = int(self.size * self._share) if shares else self.size
        fits = max(0, min(self.free, allowed - held))
        limit = fits if fits >= MIN_CTXSIZE else 0
        if ctxsize > self.free:
            raise InfModelContextFull(
                f"Model {self.name} has {self.free} of its {self.size} tokens of context left"
                + self._whose(user, held),
                LIMIT=limit,
            )
        if held + ctxsize > allowed:
            raise UserShareFull(
                f"Others use model {self.name} too: a user may hold {allowed} tokens of its "
                f"context budget, and {user} holds {held} in all of its sessions together"
                + (f": {how_to_free(user)}." if held else "."),
                LIMIT=limit,
            )
        self.used += ctxsize
        self._by_user[user] += ctxsize
        reservation = Reservation(self, ctxsize, user)
        self._live.add(reservation)
        return reservation

    def _whose(self, user: str, held: int) -> str:
        """Who holds what is used, and what to do; the end of a sentence."""
        if held:
            return (
                f", and {user} holds {held} in all of its sessions together: {how_to_free(user)}."
            )
        smaller = ", or a smaller CTXSIZE" if self.free >= MIN_CTXSIZE else ""
        return f"; other users hold the rest: try later{smaller}." if self.used else "."

    def _release(self, reservation: Reservation) -> None:
        if reservation not in self._live:
            return
        self._live.discard(reservation)
        self.used -= reservation.ctxsize
        self._by_user[reservation.user] -= reservation.ctxsize
        if not self._by_user[reservation.user]:
            del self._by_user[reservation.user]
        if not self._live and self._idle is not None:
            self._idle.set_result(None)
            self._idle = None

    async def idle(self) -> None:
        """Wait until no reservation is live."""
        if self._live:
            if self._idle is None:
                self._idle = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._idle)


class Reservation:
    """Tokens of a budget that one context holds; release it when the context's memory is free."""

    __slots__ = ("_budget", "ctxsize", "user")

    def __init__(self, budget: Budget, ctxsize: int, user: str) -> None:
        self._budget = budget
        self.ctxsize = ctxsize
        self.user = user

    def release(self) -> None:
        """Give the tokens back; again: nothing."""
        self._budget._release(self)
