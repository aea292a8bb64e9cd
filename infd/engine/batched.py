"""The contexts of a model as sequences of one llama.cpp instance: continuous batching.

A step is one llama_decode: of one token of each run that generates, or of pieces of prompts; while
there are both, these take turns (steps.py says whose), or a prompt is computed aside (aside.py).
Then each sequence's next token is drawn with its own sampler and delivered, and whatever came
meanwhile (new runs, aborts) is looked at before the next step.

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
from typing import Any

import structlog

from infd.engine.aside import CALM, Aside, Interludes
from infd.engine.context import Decoded, snapshot_key
from infd.engine.errors import EngineError
from infd.engine.events import Aborted, Event, Failed, Progress, RunState
from infd.engine.model import Model
from infd.engine.scheduler import Scheduler, Share
from infd.engine.seat import Arrivals, Seat, SeatHolder, Work
from infd.engine.slots import ASIDE, Slots
from infd.engine.snapshot import Snapshot
from infd.engine.steps import Course, Meters, Want, settled, weights
from infd.engine.swap import Away

_log = structlog.get_logger("infd.engine.batch")


class BatchEngine:
    """The thread's side of a batch. See the head of this module."""

    def __init__(self, model: Model, scheduler: Scheduler, budget: Callable[[], float]) -> None:
        """`budget`: the tokens that all the model's contexts may have together."""
        self.model = model
        self.works: list[Work] = []
        self.hold: Callable[[], None] = lambda: None
        self.tell: Callable[[], None] = lambda: None
        """Around events that are to reach the loop in one go (see Border)."""
        self.wanted: Callable[[], bool] = bool
        """Whether commands wait."""
        self._scheduler = scheduler
        self._turn = scheduler.turn(Share("batch", scheduler.cores))
        self._slots = Slots(model, budget, self._turn.release)
        self._meters = Meters()
        strict = model.options.batched_fair == "strict"
        self._course = Course(scheduler.slice_ms / 1000, strict=strict)
        self._computing: tuple[Seat, ...] = ()
        self._computing_aside: tuple[Seat, ...] = ()
        self._calm_until = 0.0
        """Until then no prompt is computed aside."""
        self._settled: list[Work] = []
        """All runs, if they are replies and had the last step together."""
        self.arrivals = Arrivals()
        self._wait = 0.0

    # --- the border's host -------------------------------------------------------------------

    @property
    def delay(self) -> float | None:
        """Seconds until the next step is due; None: there is nothing to do."""
        return self._wait if self.works else self._slots.lingers

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
        if at_once and self._computing_aside == (seat,):
            self._slots.abort(aside=True)
        elif at_once and self._computing == (seat,):
            self._slots.abort()

    def estimate(self, seat: Seat) -> float:
        """Seconds until a waiting run probably has its first step: the batch has its turn at the
        cores, and the prompts before it are computed."""
        if not self.arrivals.position(seat):
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
        self.arrivals.over(seat)
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

    def _end_flagged(self, works: Sequence[Work]) -> None:
        """End those of these runs that are to be ended."""
        for work in list(works):
            run = work.run
            if run.aborted or (work.delivery is None and run.ending not in (None, "cancelled")):
                self._end(work, Aborted())
            elif run.ending is not None:
                self._finish(work, run.ending)

    def _fail(self, detail: str) -> None:
        """llama.cpp failed: every run ends, and what the instance held is computed again."""
        self._computing = self._computing_aside = ()
        self._turn.release()
        for work in list(self.works):
            self._end(work, Failed(detail))
        self._slots.lose()

    # --- a step ------------------------------------------------------------------------------

    def _step(self) -> None:
        self._end_flagged(self.works)
        self._slots.tidy()
        now = perf_counter()
        if not (ready := self._ready(now)):
            self._turn.release()
            return
        if ready == self._settled and not any(w.seat.ahead or w.seat.slot is None for w in ready):
            # As before: a small model's speed hangs on this.
            if threads := self._threads(ready, self._turn.parts):
                self._compute(ready, threads, self._turn.parts)
            return
        self.tell()
        self._meters.keep([w.seat.share for w in self.works])
        if problem := self._slots.fit([w.seat for w in ready]):
            for work in [w for w in ready if w.seat.ctxsize > self._slots.instance.ctxsize]:
                self._end(work, Aborted(f"There is no memory for the context now: {problem}."))
            return
        members, chosen = self._choose(ready, now)
        beside = [w for w in ready if w.want in self._course.beside]
        wants = [w.want for w in chosen]
        parts = weights([*wants, *self._course.beside], [w.want for w in members])
        if not (threads := self._threads(chosen, parts)):
            return
        self._arrange(members, chosen, aside=bool(beside))
        for work in chosen:
            if not work.placed:
                work.place(SeatHolder(self._slots, work.seat))
        self._settled = chosen if settled([w.want for w in ready], wants) else []
        if beside:
            self._compute_aside(chosen[0], beside, threads)
        else:
            self._compute(chosen, threads, parts)

    def _ready(self, now: float) -> list[Work]:
        """Those that may compute now: their users have not used up their processor time. With
        none, `_wait` says when there will be one."""
        self._wait = 0.0
        (meters := self._meters).charge((), 0.0, now)
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
            [w.want for w in ready], now, slots, self._slots.instance.most_prompt,
            lambda want: now >= self._calm_until and not self._in_the_way()
            and self._slots.open_aside(next(w.longest for w in ready if w.want is want)),
        )  # fmt: skip
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

    def _arrange(self, members: Sequence[Work], chosen: Sequence[Work], *, aside: bool) -> None:
        """Give the members slots: replies such that follow each other, for they are computed
        together. A prompt that is aside stays there until it is computed elsewhere."""
        began = perf_counter()
        there = chosen[0] if aside else None
        together = [w.seat for w in members if not w.want.in_prompt]
        others = [
            w.seat for w in members
            if w.want.in_prompt and w is not there and (w in chosen or w.seat.slot != ASIDE)
        ]  # fmt: skip
        self._slots.arrange(together, others, None if there is None else there.seat)
        self._course.copied(perf_counter() - began)

    def _in_the_way(self) -> bool:
        """Whether something waits for the thread or the cores, or other processes have those."""
        self._scheduler.watch(perf_counter())
        return self._turn.displaced or self.wanted() or self._turn.contended

    def _compute_aside(self, work: Work, beside: Sequence[Work], threads: int) -> None:
        """A piece of one prompt, and the steps of those beside it meanwhile."""
        own = ((work.seat.share, 1.0),)

        def reply(works: Sequence[Work]) -> None:
            now = perf_counter()
            self._meters.charge(own, threads * (now - within.since), now)
            self._end_flagged(works)
            if going := [w for w in works if w.seat.work is w]:
                wants = [w.want for w in going]
                self._compute(going, threads, weights(wants, wants))
                self.tell()

        aside, _ = self._slots.where(work.seat)
        assert isinstance(aside, Aside)
        within = Interludes(beside, self._course.every, reply, self._in_the_way)
        aside.between = within.between
        self._compute([work], threads, own, within)
        if within.trouble is not None:
            raise within.trouble
        if within.given_up:
            self._calm_until = perf_counter() + CALM

    def _compute(
        self, chosen: Sequence[Work], threads: int, parts: Sequence[tuple[Share, float]],
        within: Interludes | None = None,
    ) -> None:  # fmt: skip
        """One call. `parts`: whose time it takes; that of the steps `within` it is theirs."""
        taking = sorted(chosen, key=lambda w: w.seat.slot or 0)
        instance = self._slots.where(taking[0].seat)[0]
        rows = [work.row(self._slots.where(work.seat)[1]) for work in taking]
        for work in taking:
            self.arrivals.over(work.seat)
        instance.set_threads(threads)
        began = perf_counter()
        instance.rearm()
        self._interruptible(tuple(w.seat for w in taking), within)
        if len(taking) == 1 and taking[0].run.aborted:
            self._interruptible((), within)
            return
        self.tell()
        result, where = instance.decode(rows)
        self.hold()
        self._interruptible((), within)
        now = perf_counter()
        since = began if within is None else within.since
        self._meters.charge(parts, threads * (now - since), now)
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
        seconds = now - began - (0.0 if within is None else within.seconds)
        for work, at in drawing:
            seconds += self._reply(work, instance.pointer, at, now)
        if not self._computing_aside:
            # Beside threads that spin a step takes a little longer than else.
            self._course.learn([len(row.tokens) for row in rows], seconds)

    def _interruptible(self, seats: tuple[Seat, ...], within: Interludes | None) -> None:
        """Whom the call is for that `interrupt` may abort."""
        if within is None:
            self._computing = seats
        else:
            self._computing_aside = seats

    def _reply(self, work: Work, pointer: Any, at: int, now: float) -> float:
        """Draw a run's next token and send it; the seconds that drawing took."""
        began = perf_counter()
        try:
            token = work.draw(self.model, pointer, at, now)
            drawn = perf_counter()
            if reason := "length" if token is None else work.take(self.model, token, now):
                self._finish(work, reason)
        except Exception as error:
            _log.exception("worker failed")
            self._end(work, Failed(f"the engine failed: {type(error).__name__}"))
            return 0.0
        return drawn - began
