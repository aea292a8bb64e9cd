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

A prompt may be computed aside, in an instance of one slot (aside.py) that exists for so long after
its last use, and only where the model's budget has room for it beside all slots. It is as long as
a prompt needs it: what is allocated is cleared first, and replies wait for that.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from time import perf_counter, thread_time

import structlog

from infd.engine.aside import Aside, possible
from infd.engine.context import check_size
from infd.engine.errors import ContextError, EngineError
from infd.engine.instance import MICRO_BATCH, Instance
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
# The slot aside: the last of all, wherever they are counted.
ASIDE = -1
# The fewest tokens that the instance aside is made for.
_SHORTEST = 1024


class Slots:
    """See the head of this module."""

    def __init__(
        self, model: Model, budget: Callable[[], float], rest: Callable[[], None] = lambda: None
    ) -> None:
        """`budget`: the tokens that all the model's contexts may have together. `rest`: called
        before memory is allocated, which needs no cores."""
        self.model = model
        self._budget = budget
        self._rest = rest
        self._instance: Instance | None = None
        self._aside: Aside | None = None
        self._aside_at = self._aside_refused = -LINGER
        """When the instance aside was used, and when it could not be had, the last time."""
        self._seats: list[Seat] = []
        self._at: list[Seat | None] = [None]
        """Who is in which slot."""
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

    def _make(self, slots: int, ctxsize: int) -> None:
        self._instance = Instance(self.model, slots=slots, ctxsize=ctxsize, flash=self._flash)
        # Else each long context that comes and goes would have all computed again, twice.
        self._flash = self._instance.flash
        self._at[:ASIDE] = [None] * slots
        if self._aside is not None and not self._has_room(self._aside.ctxsize):
            self._clear_aside()

    def _remake(self, slots: int, ctxsize: int, cause: Seat) -> None:
        """Another instance in place of this one, because of one seat; every KV is kept outside
        meanwhile.

        Raises ContextError: then it is as large as before.
        """
        self._rest()
        began, before = thread_time(), self.instance
        for seat in self._at[:ASIDE]:
            if seat is not None:
                self._save(seat)
        self._close()
        try:
            self._make(slots, ctxsize)
        except ContextError:
            self._make(before.slots, before.ctxsize)
            raise
        self._held_up(cause, began)

    def _close(self) -> None:
        instance, self._instance = self._instance, None
        if instance is not None:
            instance.close()
        for seat in self._at[:ASIDE]:
            if seat is not None:
                seat.slot = None
        del self._at[:ASIDE]

    def close(self) -> None:
        """Free the instances; twice is harmless."""
        self._close()
        self._close_aside()

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
            self._vacate(seat, None)
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
        if n >= len(seat.tokens) and not exactly:
            return len(seat.tokens)
        instance, slot = self.where(seat)
        if not instance.cut(slot, n):
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
        instance, slot = self.where(seat)
        return instance.take(slot, seat.tokens)

    def restore(self, seat: Seat, snapshot: Snapshot) -> bool:
        """Let the seat, which has a slot, hold what the snapshot does; False: it holds nothing."""
        instance, slot = self.where(seat)
        good = instance.put(slot, snapshot)
        seat.tokens[:] = snapshot.tokens if good else ()
        return good

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

    def arrange(
        self, together: Sequence[Seat], others: Sequence[Seat] = (), aside: Seat | None = None
    ) -> None:
        """Give all of them slots, and those that are `together` slots that follow each other, and
        the one `aside` the slot there.

        There are at most as many as slots.
        """
        if aside is not None and aside.slot != ASIDE:
            self._move(aside, ASIDE, ())
        targets = window(self.instance.slots, [seat.slot for seat in together])
        moving = [seat for seat in together if seat.slot not in targets]
        if moving:
            needed = {*together, *others}
            free = (t for t in targets if self._at[t] not in together)
            for seat, slot in zip(moving, free, strict=False):
                self._move(seat, slot, needed)
        for seat in others:
            if seat.slot is None or seat.slot == ASIDE:
                self._move(seat, self._spare({*together, *others}), ())
        self._uses += 1
        for seat in (*together, *others):
            seat.used_at = self._uses

    def _spare(self, needed: set[Seat]) -> int:
        """A slot that is free, or else the one whose seat was used the longest time ago."""

        def rank(slot: int) -> int:
            seat = self._at[slot]
            return -1 if seat is None else seat.used_at

        slots = self._at[:ASIDE]
        return min((s for s, seat in enumerate(slots) if seat not in needed), key=rank)

    def _move(self, seat: Seat, slot: int, needed: Sequence[Seat] | set[Seat]) -> None:
        """Put the seat's KV into a slot. Who was there goes to the seat's old slot, or out."""
        other, old = self._at[slot], seat.slot
        if other is not None:
            self._save(other)
        if old is not None:
            self._save(seat)
        self._load(seat, slot)
        if old == ASIDE:
            old = None  # where it might not fit
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
        instance, slot = self.where(seat)
        instance.cut(slot, 0)
        seat.saved = saved
        assert seat.slot is not None
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

    # --- aside ---------------------------------------------------------------------------------

    def _has_room(self, ctxsize: int) -> bool:
        """For an instance of so many tokens aside."""
        main = self.instance
        return main.slots * padded(main.ctxsize) + padded(ctxsize) <= self._budget()

    def open_aside(self, tokens: int) -> bool:
        """Make an instance aside for so many tokens, if there is none. False: it cannot be had."""
        main, now = self.instance, perf_counter()
        if self._aside is None or self._aside.ctxsize < tokens:
            # Up to the next power of two: conversations grow.
            ctxsize = min(max(_SHORTEST, 1 << (tokens - 1).bit_length()), main.ctxsize)
            self._clear_aside()
            if not self._has_room(ctxsize) or not possible(self.model):
                return False
            if now - self._aside_refused < LINGER:
                return False
            self._rest()
            try:
                self._aside = Aside(self.model, ctxsize=ctxsize, flash=main.flash)
            except ContextError:
                self._aside_refused = now
                return False
        if self._aside.layout != main.layout:  # what is computed there could not go to a slot
            self._clear_aside()
            return False
        self._aside_at = now
        return True

    @property
    def lingers(self) -> float | None:
        """Seconds until `tidy` has something to do; None: nothing."""
        if self._aside is None:
            return None
        return max(0.001, self._aside_at + LINGER - perf_counter())

    def tidy(self) -> None:
        """Give back what was not used for long."""
        if self._aside is not None and perf_counter() - self._aside_at >= LINGER:
            self._clear_aside()

    def _clear_aside(self) -> None:
        """Free the instance aside; what it holds is kept outside."""
        seat = self._at[ASIDE]
        if seat is not None:
            self._save(seat)
        self._close_aside()

    def _close_aside(self) -> None:
        aside, self._aside = self._aside, None
        if aside is not None:
            aside.close()
        seat, self._at[ASIDE] = self._at[ASIDE], None
        if seat is not None:
            seat.slot = None

    # --- computing -----------------------------------------------------------------------------

    def where(self, seat: Seat) -> tuple[Instance, int]:
        """The instance that the seat is in, and its sequence there."""
        assert seat.slot is not None
        if seat.slot == ASIDE:
            assert self._aside is not None
            return self._aside, 0
        return self.instance, seat.slot

    def abort(self, *, aside: bool = False) -> None:
        """End the decode that runs. From any thread."""
        instance = self._aside if aside else self._instance
        if instance is not None:
            instance.abort()
