"""The contexts of a model as sequences of one llama.cpp instance: continuous batching.

A step is one llama_decode: of one token of each run that generates, or of pieces of prompts; while
there are both, these take turns (steps.py says whose). Then each sequence's next token is drawn
with its own sampler and delivered, and whatever came meanwhile (new runs, aborts) is looked at
before the next step.

Rules: one thread uses a `BatchEngine`, as its border's host; the loop's side calls `interrupt` and
reads `position`. A seat's tokens and its KV agree between steps. Runs that take part have slots
that follow each other, because only those are computed together; seats are moved to that end by
copying (4 ms for 512 tokens of a 1 B model). A seat without a slot has its KV saved, or computes
it again. The instance has as many slots as runs were under way at once, and room for the longest
that runs; it is made anew, larger, when that is not enough, and freed with the last seat.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from time import perf_counter

import structlog

from infd.engine.context import Decoded, snapshot_key
from infd.engine.errors import EngineError
from infd.engine.events import Aborted, Event, Failed, Progress, RunState
from infd.engine.instance import Row
from infd.engine.model import Model
from infd.engine.reuse import Reuse
from infd.engine.scheduler import Scheduler, Share
from infd.engine.seat import Seat, Work
from infd.engine.slots import Slots
from infd.engine.snapshot import Snapshot
from infd.engine.steps import Course, Meters, Want, settled, weights
from infd.engine.swap import Away, bring_back

_log = structlog.get_logger("infd.engine.batch")


class BatchEngine:
    """The thread's side of a batch. See the head of this module."""

    def __init__(self, model: Model, scheduler: Scheduler) -> None:
        self.model = model
        self.works: list[Work] = []
        self.hold: Callable[[], None] = _nothing
        self.tell: Callable[[], None] = _nothing
        """Around events that are to reach the loop in one go (see Border)."""
        self._scheduler = scheduler
        self._turn = scheduler.turn(Share("batch", scheduler.cores))
        self._slots = Slots(model)
        self._meters = Meters()
        strict = model.options.batched_fair == "strict"
        self._course = Course(scheduler.slice_ms / 1000, strict=strict)
        self._computing: tuple[Seat, ...] = ()
        self._settled: list[Work] = []
        """All runs, if they are replies and had the last step together."""
        self._arrivals = 0
        self._waiting: dict[Seat, None] = {}
        self._wait = 0.0

    # --- the border's host -------------------------------------------------------------------

    @property
    def delay(self) -> float | None:
        """Seconds until the next step is due; None: there is nothing to do."""
        return self._wait if self.works else None

    def shut(self) -> None:
        """The thread ends."""
        for work in self.works:
            work.close()
        self.works.clear()
        self._slots.close()

    def step(self) -> None:
        """One step, or what can be done of it."""
        try:
            self._step()
        except EngineError as error:
            self._fail(str(error))
        except Exception as error:
            _log.exception("batch failed")
            self._fail(f"the engine failed: {type(error).__name__}")

    # --- seats -------------------------------------------------------------------------------

    def admit(self, seat: Seat) -> None:
        """Make room for a seat. Raises ContextError."""
        self.forget(seat)
        self._slots.admit(seat)

    def forget(self, seat: Seat) -> None:
        """End the seat's run and forget its KV."""
        self._end_at_once(seat)
        self._slots.forget(seat)

    def dismiss(self, seat: Seat) -> None:
        """The seat leaves; with the last one the instance is freed."""
        self._end_at_once(seat)
        self._slots.dismiss(seat)

    def step_out(self, seat: Seat) -> str | None:
        """Take an idle seat's KV out of its slot, to be saved: the key to save it with."""
        if seat.asleep or seat.work is not None:
            return None
        try:
            self._slots.put_out(seat)
            return snapshot_key(self.model, self._slots.instance.layout)
        except EngineError as error:
            _log.warning("a context was not saved", problem=str(error), freed=False)
            return None

    def go_away(self, seat: Seat, saved: Snapshot | None, away: Away | None) -> bool:
        """What the seat had when it stepped out is on disk, or to be lost: forget it. False: the
        seat was used meanwhile."""
        if seat.asleep or seat.work is not None or seat.slot is not None or seat.saved is not saved:
            return False
        seat.away, seat.asleep = away, True
        self._slots.forget(seat)
        return True

    def _end_at_once(self, seat: Seat) -> None:
        if seat.work is not None:
            self._end(seat.work, Aborted())

    # --- the loop's side ---------------------------------------------------------------------

    def interrupt(self, seat: Seat, *, at_once: bool) -> None:
        """A flag of the seat's run was set. A step that computes for it alone is aborted, one
        that computes for others too is not: its end is near."""
        self._turn.cancel()
        if at_once and self._computing == (seat,):
            self._slots.abort()

    def expect(self, seat: Seat) -> None:
        """A run of the seat is about to be handed over: it waits from now on."""
        self._arrivals += 1
        seat.arrival = self._arrivals
        self._waiting[seat] = None

    def position(self, seat: Seat) -> int:
        """1 for the next run to be computed; 0 for one that takes part in steps or does not run."""
        if seat not in self._waiting:
            return 0
        return 1 + sum(other.arrival < seat.arrival for other in tuple(self._waiting))

    def estimate(self, seat: Seat) -> float:
        """Seconds until a waiting run probably has its first step: the batch has its turn at the
        cores, and the prompts before it are computed."""
        if seat not in self._waiting:
            return 0.0
        before = [w for w in tuple(self.works) if w.seat.arrival < seat.arrival]
        prompts = sum(w.left for w in before if w.delivery is None)
        return self._turn.estimate() + self._course.rhythm.seconds(prompts)

    # --- runs --------------------------------------------------------------------------------

    def begin(self, seat: Seat, run: RunState, emit: Callable[[Event], None]) -> None:
        """Take a run in; its events go through `emit`, the end last."""
        now = perf_counter()
        want = Want(seat.share, 0, seat.piece, arrived=seat.arrival, served=now)
        work = Work(seat, run, emit, want, now)
        seat.prompt_tokens = len(work.full)
        self._meters.of(seat.share, now)
        seat.work = work
        self.works.append(work)
        self._wait = 0.0
        if len(work.full) >= seat.ctxsize:
            self._end(work, Failed(
                f"a prompt of {len(work.full)} tokens for a context of {seat.ctxsize}"
            ))  # fmt: skip

    def look(self) -> None:
        """A run's flag was set: the next step is due now."""
        self._wait = 0.0

    def _end(self, work: Work, event: Event) -> None:
        seat = work.seat
        work.close()
        seat.work, seat.in_prompt = None, False
        self._settled = []
        self._waiting.pop(seat, None)
        self.works.remove(work)
        if not self.works:
            self._turn.release()
        work.emit(event)

    def _finish(self, work: Work, reason: str) -> None:
        if work.delivery is not None:
            work.delivery.finish(stopped=reason == "stop_sequence")
        else:
            work.evaluated = perf_counter()
        self._end(work, work.seat.finished(
            reason, work.run, work.seed, work.cached, work.started, work.evaluated
        ))  # fmt: skip

    def _end_flagged(self) -> None:
        """End the runs that are to be ended."""
        for work in list(self.works):
            run = work.run
            if run.aborted or (work.delivery is None and run.ending not in (None, "cancelled")):
                self._end(work, Aborted())
            elif run.ending is not None:
                self._finish(work, run.ending)

    def _fail(self, detail: str) -> None:
        """llama.cpp failed: every run ends, and what the instance held is computed again."""
        self._computing = ()
        self._turn.release()
        for work in list(self.works):
            self._end(work, Failed(detail))
        self._slots.lose()

    # --- a step ------------------------------------------------------------------------------

    def _step(self) -> None:
        self._end_flagged()
        now = perf_counter()
        ready = self._ready(now)
        if not ready:
            self._turn.release()
            return
        if ready == self._settled and not any(w.seat.ahead or w.seat.slot is None for w in ready):
            # As before: a small model's speed hangs on this.
            if threads := self._threads(ready, self._turn.parts):
                self._compute(ready, threads)
            return
        self.tell()
        self._meters.keep([w.seat.share for w in self.works])
        if problem := self._slots.fit([w.seat for w in ready]):
            for work in [w for w in ready if w.seat.ctxsize > self._slots.instance.ctxsize]:
                self._end(work, Aborted(f"There is no memory for the context now: {problem}."))
            return
        members, chosen = self._choose(ready, now)
        wants = [w.want for w in chosen]
        threads = self._threads(chosen, weights(wants, [w.want for w in members]))
        if not threads:
            return
        self._arrange(members)
        for work in chosen:
            if not work.placed:
                self._place(work)
        self._settled = chosen if settled([w.want for w in ready], wants) else []
        self._compute(chosen, threads)

    def _ready(self, now: float) -> list[Work]:
        """Those that may compute now: their users have not used up their processor time. With
        none, `_wait` says when there will be one."""
        self._wait = 0.0
        meters = self._meters
        meters.charge((), 0.0, now)
        if not meters.pausing:
            return self.works
        mine = [meters.of(w.seat.share, now) for w in self.works]
        ready = [w for w, meter in zip(self.works, mine, strict=True) if not meter.paused]
        if self.works and not ready:
            self._wait = min(meter.wait for meter in mine)
        return ready

    def _choose(self, ready: Sequence[Work], now: float) -> tuple[list[Work], list[Work]]:
        """Who is to have slots, and who takes part in the next step."""
        for work in ready:
            seat, want = work.seat, work.want
            want.left = max(1, work.left) if work.placed else len(work.full)
            want.batch = seat.piece
            want.background = seat.ahead
        slots = self._slots.most([w.seat for w in ready])
        members, chosen = self._course.choose(
            [w.want for w in ready], now, slots, self._slots.most_prompt
        )
        return [w for w in ready if w.want in members], [w for w in ready if w.want in chosen]

    def _threads(self, chosen: Sequence[Work], parts: tuple[tuple[Share, float], ...]) -> int:
        """Wait for the cores: as many threads as the members' users may have together. Whose step
        it is uses up that time, as `parts` says."""
        want = min(self._scheduler.widest, sum(max(1, s.max_threads) for s, _ in parts))
        turn = self._turn
        turn.here()
        turn.rearm()
        if any(w.run.aborted or w.run.ending is not None for w in chosen):
            return 0
        if parts == turn.parts:
            if held := turn.keep(want):
                return held
            self.tell()
            return turn.acquire(want)
        turn.release()
        turn.parts = parts
        return turn.acquire(want)

    def _arrange(self, members: Sequence[Work]) -> None:
        """Give the members slots: replies such that follow each other, for they are computed
        together."""
        began = perf_counter()
        together = [w.seat for w in members if not w.want.in_prompt]
        self._slots.arrange(together, [w.seat for w in members if w.want.in_prompt])
        self._course.copied(perf_counter() - began)

    def _place(self, work: Work) -> None:
        """Keep what the run's prompt and its seat's KV have in common."""
        seat = work.seat
        head, holder = work.run.prepared.head, self._slots.holder(seat)
        if seat.asleep:
            bring_back(seat, holder, snapshot_key(self.model, holder.layout))
            seat.asleep = False
            seat.forget_away()
        work.reuse = Reuse(holder, seat.shelf, work.full, head=head, least=seat.least_shared)
        work.cached = seat.prompt_done = work.reuse.cached
        work.placed = True

    def _compute(self, chosen: Sequence[Work], threads: int) -> None:
        rows: list[Row] = []
        taking = sorted(chosen, key=lambda w: w.seat.slot or 0)
        for work in taking:
            held = len(work.seat.tokens)
            end = held + work.want.takes
            part = work.full[held : end if work.reuse is None else work.reuse.until(held, end)]
            assert work.seat.slot is not None
            rows.append(Row(work.seat.slot, held, part, held + len(part) == len(work.full)))
            self._waiting.pop(work.seat, None)
        self._slots.set_threads(threads)
        began = perf_counter()
        self._slots.rearm()
        self._computing = tuple(w.seat for w in taking)
        if len(taking) == 1 and taking[0].run.aborted:
            self._computing = ()
            return
        self.tell()
        result, where = self._slots.decode(rows)
        self.hold()
        self._computing = ()
        now = perf_counter()
        self._meters.charge(self._turn.parts, threads * (now - began), now)
        self._scheduler.watch(now)
        if result is Decoded.ABORTED:
            for work in taking:
                self._slots.cut(work.seat, len(work.seat.tokens), exactly=True)
            return
        if result is not Decoded.OK:
            raise EngineError("llama.cpp failed to evaluate a step")
        drawing: list[tuple[Work, int]] = []
        for work, row, at in zip(taking, rows, where, strict=True):
            work.seat.tokens.extend(row.tokens)
            if work.reuse is not None:
                work.reuse.passed(len(work.seat.tokens))
            work.want.served = now
            if row.wants_logits:
                drawing.append((work, at))
            else:
                work.seat.prompt_done = len(work.seat.tokens)
                work.emit(Progress(len(work.full), work.seat.prompt_done))
        seconds = now - began
        for work, at in drawing:
            began = perf_counter()
            token = self._draw(work, at, now)
            seconds += perf_counter() - began
            if token is not None:
                self._deliver(work, token, now)
        self._course.learn([len(row.tokens) for row in rows], seconds)

    def _draw(self, work: Work, at: int, now: float) -> int | None:
        """The next token of a run whose tokens are all computed; None: the run is over."""
        try:
            if work.delivery is None:
                work.begin_reply(self.model, now)
            elif work.accept is not None:
                work.accept(work.full[-1])
            assert work.sampler is not None
            if work.seat.made_tokens < work.most:
                return work.sampler.sample_at(self._slots.pointer, at)
            self._finish(work, "length")
        except Exception as error:
            self._break(work, error)
        return None

    def _deliver(self, work: Work, token: int, now: float) -> None:
        """Send what a run has drawn to its reader."""
        seat = work.seat
        assert work.delivery is not None
        try:
            if token in self.model.end_tokens:
                return self._finish(work, "stop")
            seat.made_tokens += 1
            if work.delivery.take(token, now):
                return self._finish(work, "stop_sequence")
            if seat.made_tokens >= work.most:
                return self._finish(work, "length")
            work.full.append(token)
        except Exception as error:
            self._break(work, error)
        return None

    def _break(self, work: Work, error: Exception) -> None:
        """A run's own sampler or delivery failed: nothing that the others share."""
        _log.exception("worker failed")
        self._end(work, Failed(f"the engine failed: {type(error).__name__}"))


def _nothing() -> None:
    """There is no border yet."""
