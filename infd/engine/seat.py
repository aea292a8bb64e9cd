"""One context of a batch, as the batch's thread keeps it.

Its tokens and where their KV is: in a slot of the instance, or saved outside of it, or nowhere
(then they are computed again). All of it belongs to the thread; the loop's side calls `arm` and
`interrupt` and reads the counters.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from infd.engine.context import ContextMemory, snapshot_key
from infd.engine.delivery import Delivery
from infd.engine.events import Event, Limits, RunState
from infd.engine.instance import Row
from infd.engine.model import Model
from infd.engine.prefixes import LEAST_TOGETHER
from infd.engine.reuse import Reuse
from infd.engine.sampling import Sampler, draw_seed
from infd.engine.scheduler import Share
from infd.engine.snapshot import Snapshot
from infd.engine.state import EngineState
from infd.engine.steps import Want
from infd.engine.swap import Away, bring_back

if TYPE_CHECKING:
    from infd.engine.batched import BatchEngine
    from infd.engine.slots import Slots


class Seat(EngineState):
    """See the head of this module."""

    least_shared = LEAST_TOGETHER

    def __init__(self, share: Share, limits: Limits, *, ctxsize: int, run_ahead: int) -> None:
        super().__init__(share, limits, ctxsize=ctxsize, run_ahead=run_ahead)
        self.engine: BatchEngine | None = None
        self.tokens: list[int] = []
        """What its KV holds, wherever that is."""
        self.slot: int | None = None
        self.saved: Snapshot | None = None
        self.used_at = 0
        """The order of use, for choosing whose slot is given away."""
        self.work: Work | None = None
        self.arrival = 0
        """The order of the runs' arrival."""

    @property
    def tokens_used(self) -> int:
        """How many tokens the KV cache holds."""
        return len(self.tokens) or self.tokens_away

    @property
    def memory(self) -> ContextMemory:
        """What it has outside of the batch's instance."""
        saved = self.saved
        return ContextMemory(0 if saved is None else saved.size, 0, 0)

    @property
    def position(self) -> int:
        """1 for the next to be computed; 0 when it is, or when it does not wait."""
        return 0 if self.engine is None else self.engine.arrivals.position(self)

    @property
    def estimate(self) -> float:
        """Seconds until it is probably computed; 0.0 when it is, or does not wait."""
        return 0.0 if self.engine is None else self.engine.estimate(self)

    def arm(self) -> None:
        """Before a run is handed over, on the loop's side."""
        self.in_prompt = True
        self.forget_counters()
        if self.engine is not None:
            self.engine.arrivals.expect(self)

    def interrupt(self, *, at_once: bool) -> None:
        """From the loop's side, after a flag was set: have it looked at soon."""
        if self.engine is not None:
            self.engine.interrupt(self, at_once=at_once or self.in_prompt)

    # The thread's side.

    def _there(self) -> BatchEngine:
        assert self.engine is not None
        return self.engine

    def open(self) -> None:
        """Take a place in the batch, anew after a failure. Raises ContextError."""
        self._there().admit(self)
        self.asleep = False
        self.forget_away()

    def step_out(self) -> tuple[str, Snapshot | None] | None:
        """Leave the slot: what is to be saved, and the key to save it with. None: it is in use."""
        key = self._there().step_out(self)
        return None if key is None else (key, self.saved)

    def go_away(self, saved: Snapshot | None, away: Away | None) -> bool:
        """What `step_out` gave need not be kept in memory. False: it is in use again."""
        return self._there().go_away(self, saved, away)

    def close(self) -> None:
        """Leave the batch; twice is harmless."""
        if self.engine is not None:
            self.engine.dismiss(self)
        self.forget_away()

    def clear(self) -> None:
        """Forget the conversation."""
        self.forget_counters()
        self.forget_away()
        self._there().forget(self)

    def look(self) -> None:
        """A flag of the run was set: do not wait for the time of the next step."""
        self._there().look()

    def run(self, run: RunState, emit: Callable[[Event], None]) -> None:
        """Begin a run; every event goes through `emit`, the end last."""
        self._there().begin(self, run, emit)


class Arrivals:
    """The runs that wait for their first step. From both sides."""

    def __init__(self) -> None:
        self._count = 0
        self._waiting: dict[Seat, None] = {}

    def expect(self, seat: Seat) -> None:
        """A run of the seat is about to be handed over: it waits from now on."""
        self._count += 1
        seat.arrival = self._count
        self._waiting[seat] = None

    def over(self, seat: Seat) -> None:
        """It does not wait any more, if it did."""
        self._waiting.pop(seat, None)

    def position(self, seat: Seat) -> int:
        """1 for the next run to be computed; 0 for one that takes part in steps or does not run."""
        if seat not in self._waiting:
            return 0
        return 1 + sum(other.arrival < seat.arrival for other in tuple(self._waiting))


class SeatHolder:
    """A seat in its slot: the holder of a KV (see reuse.py)."""

    __slots__ = ("_seat", "_slots")

    def __init__(self, slots: Slots, seat: Seat) -> None:
        self._slots = slots
        self._seat = seat

    @property
    def model(self) -> Model:
        """Whose KV it is."""
        return self._slots.model

    @property
    def tokens(self) -> list[int]:
        """What is held."""
        return self._seat.tokens

    @property
    def layout(self) -> str:
        """How the KV is laid out."""
        return self._slots.where(self._seat)[0].layout

    def keep_prefix(self, n: int) -> int:
        """Hold the first `n` tokens only; how many are left."""
        return self._slots.cut(self._seat, n)

    def snapshot(self) -> Snapshot:
        """A copy of what is held. Raises SnapshotError."""
        return self._slots.snapshot(self._seat)

    def restore(self, snapshot: Snapshot) -> bool:
        """Hold what the snapshot does; False: nothing is held."""
        return self._slots.restore(self._seat, snapshot)


class Work:
    """One run under way in a batch.

    `full` are the prompt's tokens and those generated. What the seat's KV holds is always a
    beginning of them; the rest is to be computed before the next token is drawn.
    """

    __slots__ = (
        "accept", "cached", "delivery", "emit", "evaluated", "full", "most", "placed", "reuse",
        "run", "sampler", "seat", "seed", "started", "want",
    )  # fmt: skip

    def __init__(
        self, seat: Seat, run: RunState, emit: Callable[[Event], None], want: Want, now: float
    ) -> None:
        self.seat = seat
        self.run = run
        self.emit = emit
        self.want = want
        self.full = list(run.prepared.tokens)
        self.started = self.evaluated = now
        self.cached = 0
        self.placed = False
        """Whether its KV was looked at: what the prompt and the KV have in common is kept."""
        self.reuse: Reuse | None = None
        self.most = seat.most_tokens(run.prepared.request, len(self.full))
        self.seed = run.prepared.request.seed
        self.sampler: Sampler | None = None
        self.delivery: Delivery | None = None
        self.accept: Callable[[int], None] | None = None

    @property
    def left(self) -> int:
        """Tokens to compute before the next one is drawn."""
        return len(self.full) - len(self.seat.tokens)

    @property
    def longest(self) -> int:
        """The most tokens that its seat holds until the prompt is computed."""
        return max(len(self.full), self.seat.tokens_used)

    def place(self, holder: SeatHolder) -> None:
        """The seat has a slot: keep what the run's prompt and its KV have in common."""
        seat = self.seat
        if seat.asleep:
            bring_back(seat, holder, snapshot_key(holder.model, holder.layout))
            seat.asleep = False
            seat.forget_away()
        head = self.run.prepared.head
        self.reuse = Reuse(holder, seat.shelf, self.full, head=head, least=seat.least_shared)
        self.cached = seat.prompt_done = self.reuse.cached
        self.placed = True

    def row(self, slot: int) -> Row:
        """Its part of a step, in that slot."""
        held = len(self.seat.tokens)
        end = held + self.want.takes
        part = self.full[held : end if self.reuse is None else self.reuse.until(held, end)]
        return Row(slot, held, part, held + len(part) == len(self.full))

    def begin_reply(self, model: Model, now: float) -> None:
        """The prompt is computed."""
        request = self.run.prepared.request
        self.seat.prompt_done, self.seat.in_prompt = len(self.full), False
        self.evaluated = now
        self.seed = draw_seed() if self.seed is None else self.seed
        self.sampler = Sampler(model, request.sampling, self.seed)
        self.accept = self.sampler.follow(self.full)
        self.delivery = Delivery(model, request.stop, self.emit)

    def draw(self, model: Model, pointer: Any, at: int, now: float) -> int | None:
        """The next token, when all before it are computed; None: there are enough. `pointer`: the
        llama_context, `at`: where the logits are in it."""
        if self.delivery is None:
            self.begin_reply(model, now)
        elif self.accept is not None:
            self.accept(self.full[-1])
        assert self.sampler is not None
        return self.sampler.sample_at(pointer, at) if self.seat.made_tokens < self.most else None

    def take(self, model: Model, token: int, now: float) -> str | None:
        """Send what was drawn to its reader; why the run ends with it, if it does."""
        assert self.delivery is not None
        if token in model.end_tokens:
            return "stop"
        self.seat.made_tokens += 1
        if self.delivery.take(token, now):
            return "stop_sequence"
        if self.seat.made_tokens >= self.most:
            return "length"
        self.full.append(token)
        return None

    def close(self) -> None:
        """Free the sampler; twice is harmless."""
        if self.sampler is not None:
            self.sampler.close()
            self.sampler = None
