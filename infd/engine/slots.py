"""The slots of a batch's instance, and which seat's KV is in which.

Rules: everything happens on the batch's thread, between steps. Seats that compute together are
brought into slots that follow each other; one that has to give its slot away keeps its KV as a
snapshot outside of the instance, or loses it when that cannot be taken: then its tokens are
computed again. The instance is made with the first seat, made anew when more runs than slots are
under way, a longer context runs, or so many have gone that half of it would do, and freed with
the last seat. Every slot has room for the longest context that runs; all slots together never have
more than the contexts' sizes added up, which is what the model's budget counts. Where the sizes of
runs differ much there are therefore fewer slots than runs, until `LINGER` seconds after the long
one; a context that is only there, whatever its size, costs others nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter, thread_time
from typing import Any

import structlog

from infd.engine.context import Decoded, check_size
from infd.engine.errors import ContextError, EngineError
from infd.engine.instance import MICRO_BATCH, Instance, Row
from infd.engine.model import Model, padded
from infd.engine.rhythm import MOST_ROWS
from infd.engine.seat import Seat
from infd.engine.snapshot import Snapshot, SnapshotError
from infd.engine.steps import window

_log = structlog.get_logger("infd.engine.batch")

# The instance is made smaller when it has so many times what the contexts left may have.
_SHRINK = 2
# For so long after a long context's run the instance keeps room for the next one: making it anew
# copies every KV.
LINGER = 10.0


class Slots:
    """See the head of this module."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self._instance: Instance | None = None
        self._seats: list[Seat] = []
        self._at: list[Seat | None] = []
        self._limit = MOST_ROWS
        self._flash = False
        self._uses = 0
        self._filled = 0.0
        """When a run needed all of a slot's room last, on the clock of perf_counter."""

    # --- the instance --------------------------------------------------------------------------

    @property
    def instance(self) -> Instance:
        """The instance. Raises EngineError when it could not be made anew after a failure."""
        if self._instance is None:
            running = [seat for seat in self._seats if seat.work is not None]
            self._make(1, max((seat.ctxsize for seat in running or self._seats), default=1))
        assert self._instance is not None
        return self._instance

    def _room(self, ctxsize: int) -> int:
        """How many slots of so many tokens there may be."""
        fit = sum(padded(seat.ctxsize) for seat in self._seats) // padded(ctxsize)
        return max(1, min(fit, self._limit))

    @property
    def pointer(self) -> Any:
        """The llama_context, to draw tokens from."""
        return self.instance.pointer

    @property
    def most_prompt(self) -> int:
        """The most tokens of prompts that one step can carry."""
        return self.instance.most_prompt

    def _make(self, slots: int, ctxsize: int) -> None:
        self._instance = Instance(self.model, slots=slots, ctxsize=ctxsize, flash=self._flash)
        # Else each long context that comes and goes would have all computed again, twice.
        self._flash = self._instance.flash
        self._at = [None] * slots

    def _remake(self, slots: int, ctxsize: int, cause: Seat) -> None:
        """Another instance in place of this one, because of one seat; every KV is kept outside
        meanwhile.

        Raises ContextError: then it is as large as before.
        """
        began, before = thread_time(), self.instance
        for seat in self._at:
            if seat is not None:
                self._save(seat)
        self.close()
        try:
            self._make(slots, ctxsize)
        except ContextError:
            self._make(before.slots, before.ctxsize)
            raise
        self._held_up(cause, began)

    def close(self) -> None:
        """Free the instance; twice is harmless."""
        instance, self._instance = self._instance, None
        if instance is not None:
            instance.close()
        for seat in self._at:
            if seat is not None:
                seat.slot = None
        self._at = []

    def lose(self) -> None:
        """The instance is of no use any more: what it held is computed again."""
        for seat in self._at:
            if seat is not None:
                seat.tokens.clear()
        self.close()

    # --- seats ---------------------------------------------------------------------------------

    def admit(self, seat: Seat) -> None:
        """Take a seat in; it gets a slot with its first run. Raises ContextError."""
        began = thread_time()
        if seat not in self._seats:
            self._seats.append(seat)
        try:
            check_size(self.model, seat.ctxsize, MICRO_BATCH)
            _ = self.instance  # made with the first seat
        except ContextError:
            self.dismiss(seat)
            raise
        self._held_up(seat, began)

    def forget(self, seat: Seat) -> None:
        """The seat holds nothing any more."""
        if seat.slot is not None:
            self.instance.cut(seat.slot, 0)
            self._at[seat.slot] = None
            seat.slot = None
        seat.saved = None
        seat.tokens.clear()

    def dismiss(self, seat: Seat) -> None:
        """The seat is gone."""
        self.forget(seat)
        if seat in self._seats:
            self._seats.remove(seat)
        if not self._seats:
            self.close()
        elif self._instance is not None and (
            self._instance.slots * self._instance.ctxsize
            > _SHRINK * sum(seat.ctxsize for seat in self._seats)
        ):
            # The memory of contexts that are gone is given back; where that cannot be, later.
            self._limit = MOST_ROWS
            longest = min(self._instance.ctxsize, max(seat.ctxsize for seat in self._seats))
            with suppress(ContextError):
                self._remake(min(self._instance.slots, self._room(longest)), longest, seat)

    def _held_up(self, seat: Seat, began: float) -> None:
        """What was done for a seat since `began` is held against its user, where others wait."""
        if any(other.share is not seat.share for other in self._seats):
            seat.spent += thread_time() - began

    def cut(self, seat: Seat, n: int, *, exactly: bool = False) -> int:
        """Let the seat's slot hold its first `n` tokens; how many are left: n, or 0 where it
        cannot be cut. `exactly`: it may hold more than the seat knows of, after an abort."""
        assert seat.slot is not None
        if n >= len(seat.tokens) and not exactly:
            return len(seat.tokens)
        if not self.instance.cut(seat.slot, n):
            n = 0
        del seat.tokens[n:]
        return n

    def put_out(self, seat: Seat) -> None:
        """Give the seat's slot away; what it holds is kept outside. Raises SnapshotError: then it
        stays where it is."""
        if seat.slot is not None:
            self._vacate(seat, self.snapshot(seat) if seat.tokens else None)

    def snapshot(self, seat: Seat) -> Snapshot:
        """A copy of what the seat holds. Raises SnapshotError."""
        if seat.saved is not None:
            return seat.saved
        if seat.slot is None:
            raise SnapshotError("the context's KV is not in memory")
        return self.instance.take(seat.slot, seat.tokens)

    def restore(self, seat: Seat, snapshot: Snapshot) -> bool:
        """Let the seat, which has a slot, hold what the snapshot does; False: it holds nothing."""
        assert seat.slot is not None
        good = self.instance.put(seat.slot, snapshot)
        seat.tokens[:] = snapshot.tokens if good else ()
        return good

    def holder(self, seat: Seat) -> SeatHolder:
        """The seat, which has a slot, as one that holds a KV."""
        return SeatHolder(self, seat)

    # --- who is where --------------------------------------------------------------------------

    def fit(self, running: Sequence[Seat]) -> str:
        """Give the slots room for the longest of those that are to run, of which there is at
        least one. What is wrong, in words, if there is no memory for it."""
        longest = max(seat.ctxsize for seat in running)
        if longest > self.instance.ctxsize:
            cause = next(seat for seat in running if seat.ctxsize == longest)
            try:
                self._remake(min(self.instance.slots, self._room(longest)), longest, cause)
            except ContextError as error:
                return str(error)
        if longest == self.instance.ctxsize:
            self._filled = perf_counter()
        return ""

    def most(self, running: Sequence[Seat]) -> int:
        """How many of those that are to run, and fit, can have a slot at one time: the instance
        grows for them as long as there is memory."""
        runs, ctxsize = len(running), self.instance.ctxsize
        if self._room(ctxsize) < runs and perf_counter() - self._filled > LINGER:
            ctxsize = max(seat.ctxsize for seat in running)
        while self.instance.slots < min(runs, room := self._room(ctxsize)):
            slots = self.instance.slots
            while slots < min(runs, room):
                slots = min(2 * slots, room)
            try:
                self._remake(slots, ctxsize, running[-1])
            except ContextError as error:
                self._limit = max(slots // 2, self.instance.slots)
                _log.warning("no more runs at once", model=self.model.info.path,
                             slots=self._limit, problem=str(error))  # fmt: skip
        return min(runs, self.instance.slots)

    def arrange(self, together: Sequence[Seat], others: Sequence[Seat] = ()) -> None:
        """Give all of them slots, and those that are `together` slots that follow each other.

        There are at most as many as slots.
        """
        targets = window(self.instance.slots, [seat.slot for seat in together])
        moving = [seat for seat in together if seat.slot not in targets]
        if moving:
            needed = {*together, *others}
            free = (t for t in targets if self._at[t] not in together)
            for seat, slot in zip(moving, free, strict=False):
                self._move(seat, slot, needed)
        for seat in others:
            if seat.slot is None:
                self._move(seat, self._spare({*together, *others}), ())
        self._uses += 1
        for seat in (*together, *others):
            seat.used_at = self._uses

    def _spare(self, needed: set[Seat]) -> int:
        """A slot that is free, or else the one whose seat was used the longest time ago."""

        def rank(slot: int) -> int:
            seat = self._at[slot]
            return -1 if seat is None else seat.used_at

        return min((s for s, seat in enumerate(self._at) if seat not in needed), key=rank)

    def _move(self, seat: Seat, slot: int, needed: Sequence[Seat] | set[Seat]) -> None:
        """Put the seat's KV into a slot. Who was there goes to the seat's old slot, or out."""
        other, old = self._at[slot], seat.slot
        if other is not None:
            self._save(other)
        if old is not None:
            self._save(seat)
        self._load(seat, slot)
        if other is not None and old is not None:
            self._load(other, old)
        elif other is not None and other in needed:
            # Perhaps of a seat that is not needed now: its KV goes out.
            self._move(other, self._spare({*needed, seat}), ())

    def _save(self, seat: Seat) -> None:
        """Take the seat's KV out of its slot."""
        saved = None
        if seat.tokens:
            try:
                saved = self.snapshot(seat)
            except SnapshotError as error:
                _log.warning("a context's KV was lost; it is computed again", problem=str(error))
                seat.tokens.clear()
        self._vacate(seat, saved)

    def _vacate(self, seat: Seat, saved: Snapshot | None) -> None:
        assert seat.slot is not None
        self.instance.cut(seat.slot, 0)
        seat.saved = saved
        self._at[seat.slot] = None
        seat.slot = None

    def _load(self, seat: Seat, slot: int) -> None:
        """Put the seat's KV, if there is any, into an empty slot."""
        assert self._at[slot] is None
        saved, seat.saved = seat.saved, None
        seat.slot = slot
        self._at[slot] = seat
        if saved is not None:
            if not self.restore(seat, saved):
                _log.warning("a context's KV was refused; it is computed again")
        elif seat.tokens:
            raise EngineError("a context's KV is nowhere")

    # --- computing -----------------------------------------------------------------------------

    def decode(self, rows: Sequence[Row]) -> tuple[Decoded, list[int]]:
        """See `Instance.decode`."""
        return self.instance.decode(rows)

    def set_threads(self, n: int) -> None:
        """Compute with `n` threads from now on."""
        self.instance.set_threads(n)

    def rearm(self) -> None:
        """Let decodes run."""
        self.instance.rearm()

    def abort(self) -> None:
        """End the decode that runs. From any thread."""
        instance = self._instance
        if instance is not None:
            instance.abort()


class SeatHolder:
    """A seat in its slot: the holder of a KV (see reuse.py)."""

    __slots__ = ("_seat", "_slots")

    def __init__(self, slots: Slots, seat: Seat) -> None:
        self._slots = slots
        self._seat = seat

    @property
    def tokens(self) -> list[int]:
        """What is held."""
        return self._seat.tokens

    @property
    def layout(self) -> str:
        """How the KV is laid out."""
        return self._slots.instance.layout

    def keep_prefix(self, n: int) -> int:
        """Hold the first `n` tokens only; how many are left."""
        return self._slots.cut(self._seat, n)

    def snapshot(self) -> Snapshot:
        """A copy of what is held. Raises SnapshotError."""
        return self._slots.snapshot(self._seat)

    def restore(self, snapshot: Snapshot) -> bool:
        """Hold what the snapshot does; False: nothing is held."""
        return self._slots.restore(self._seat, snapshot)
