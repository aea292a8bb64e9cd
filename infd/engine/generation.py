"""A context's work, as its thread does it: schedule, step, deliver.

Rules: one thread uses an `Engine`. The loop's side writes a run's flags (`RunState`), `limits`
and `read_tokens`, and may call `interrupt`; it reads the counters. Nothing here waits for
anything but a turn at the cores, and no lock is held across a call into llama.cpp.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

import structlog

from infd.engine.context import ContextMemory, Decoded, LlamaContext
from infd.engine.delivery import Delivery
from infd.engine.errors import ContextError, EngineError
from infd.engine.events import Aborted, End, Event, Failed, Limits, Progress, RunState
from infd.engine.lookahead import LookAhead
from infd.engine.model import Model
from infd.engine.prefixes import LEAST
from infd.engine.reuse import Reuse
from infd.engine.sampling import Sampler, draw_seed
from infd.engine.scheduler import Scheduler, Share
from infd.engine.state import DEFAULT_BATCH, EngineState
from infd.engine.swap import bring_back, save

_log = structlog.get_logger("infd.engine.worker")


class Engine(EngineState):
    """One llama_context with its place at the scheduler and its counters: a border's host, which
    does a whole run in one command."""

    delay = None
    least_shared = LEAST

    def __init__(
        self,
        model: Model,
        scheduler: Scheduler,
        share: Share,
        limits: Limits,
        *,
        ctxsize: int,
        run_ahead: int,
    ) -> None:
        super().__init__(share, limits, ctxsize=ctxsize, run_ahead=run_ahead)
        self.model = model
        self.turn = scheduler.turn(share)
        self.context: LlamaContext | None = None
        self._needs = 0
        self.look_ahead = LookAhead(model.lookup) if model.lookup else None
        self._scheduler = scheduler

    def step(self) -> None:
        """Never asked for: a run is one command."""

    def shut(self) -> None:
        """The thread ends."""
        self.close()

    @property
    def tokens_used(self) -> int:
        """How many tokens the KV cache holds."""
        context = self.context
        held = 0 if context is None else len(context.tokens)
        # The thread may put it away meanwhile: what is seen in the middle of that does not count.
        return held if context is not None and self.context is context else self.tokens_away

    @property
    def memory(self) -> ContextMemory:
        """What llama.cpp allocated for the context."""
        return super().memory if self.context is None else self.context.memory

    @property
    def position(self) -> int:
        """1 for the next to be given cores; 0 when it does not wait for any."""
        return self.turn.position()

    @property
    def estimate(self) -> float:
        """Seconds until it is probably given cores; 0.0 when it does not wait for any."""
        return self.turn.estimate()

    def open(self) -> None:
        """Make the llama_context, anew if there is one. Raises ContextError."""
        self.close()
        self.context = self._make()

    def _make(self) -> LlamaContext:
        made = LlamaContext(self.model, ctxsize=self.ctxsize, n_ubatch=self._n_ubatch)
        self._needs = made.memory.total
        return made

    @property
    def _n_ubatch(self) -> int:
        most = min(self.limits.batch or DEFAULT_BATCH, DEFAULT_BATCH)
        return self.model.micro_batch(self.ctxsize, most)

    @property
    def needs(self) -> int:
        """What it takes when it is in memory, in bytes; nearly, before it was."""
        return self._needs or self.model.bytes_for_context(self.ctxsize, self._n_ubatch)

    def swap_out(self, *, unsaved: bool) -> bool:
        """Save the KV and free the llama_context until the next run; False: nothing changed.
        See swap.save."""
        context = self.context
        if context is None:
            return False
        taking = context.snapshot if context.tokens else lambda: None
        may_go, away = save(self.swap, taking, context.snapshot_key, unsaved=unsaved)
        if not may_go:
            return False
        self.away, self.asleep, self.context = away, True, None
        context.close()
        return True

    def _wake(self) -> LlamaContext:
        """Be in memory again. Raises ContextError: what was saved is kept for another time."""
        if not self.asleep:
            raise EngineError("the context has no engine")
        context = self._make()
        try:
            bring_back(self, context, context.snapshot_key)
        except BaseException:
            context.close()
            raise
        self.context, self.asleep = context, False
        self.forget_away()
        return context

    def close(self) -> None:
        """Free the llama_context; twice is harmless."""
        self.asleep = False
        self.forget_away()
        context, self.context = self.context, None
        if context is not None:
            context.close()

    def clear(self) -> None:
        """Forget the conversation."""
        self.forget_counters()
        if self.look_ahead is not None:
            self.look_ahead.forget()
        self.forget_away()
        if self.context is not None:
            self.context.clear()

    def arm(self) -> None:
        """Before a run is handed over, on the loop's side: earlier interruptions are over."""
        self.in_prompt = True
        self.forget_counters()
        self.turn.rearm()
        if self.context is not None:
            self.context.rearm()

    def interrupt(self, *, at_once: bool) -> None:
        """From the loop's side, after a flag was set: end a wait; `at_once` a decode too."""
        self.turn.cancel()
        context = self.context
        if context is not None and (at_once or self.in_prompt):
            context.abort()

    def run(self, run: RunState, emit: Callable[[Event], None]) -> None:
        """Evaluate the prompt and generate; every event goes through `emit`, the end last.

        What the KV cache holds stays usable, unless the end is Failed.
        """
        end: End
        try:
            end = self._run(run, emit)
        except ContextError as error:
            # It was asleep and has no room now; a later run may have.
            end = Aborted(f"There is no memory for the context now: {error}.")
        except EngineError as error:
            end = Failed(str(error))
        except Exception as error:
            _log.exception("worker failed")
            end = Failed(f"the engine failed: {type(error).__name__}")
        emit(end)

    def _run(self, run: RunState, emit: Callable[[Event], None]) -> End:
        prompt = run.prepared.tokens
        self.prompt_tokens = len(prompt)
        if len(prompt) >= self.ctxsize:
            raise EngineError(f"a prompt of {len(prompt)} tokens for a context of {self.ctxsize}")
        self.turn.here()
        started = perf_counter()
        try:
            context = self.context or self._wake()
            reuse = Reuse(context, self.shelf, prompt, head=run.prepared.head,
                          least=self.least_shared)  # fmt: skip
            cached = reuse.cached
            ready = self._evaluate(context, prompt, reuse, run, emit)
            evaluated = perf_counter()
            self.in_prompt = False
            if not ready:
                if run.aborted or run.ending != "cancelled":
                    return Aborted()
                return self.finished(
                    "cancelled", run, run.prepared.request.seed, cached, started, evaluated
                )
            request = run.prepared.request
            seed = draw_seed() if request.seed is None else request.seed
            sampler = Sampler(self.model, request.sampling, seed)
            delivery = Delivery(self.model, request.stop, emit)
            try:
                generate = self._generate if self.look_ahead is None else self._generate_ahead
                reason = generate(context, sampler, run, delivery)
            finally:
                sampler.close()
            self.turn.release()
            if run.aborted:
                return Aborted()
            delivery.finish(stopped=reason == "stop_sequence")
            return self.finished(reason, run, seed, cached, started, evaluated)
        finally:
            self.in_prompt = False
            self.turn.release()

    def _want(self) -> int:
        return max(1, min(self.limits.threads, self.share.max_threads, self._scheduler.widest))

    def _evaluate(
        self,
        context: LlamaContext,
        prompt: list[int],
        reuse: Reuse,
        run: RunState,
        emit: Callable[[Event], None],
    ) -> bool:
        """The prompt piece by piece; False when it was ended before it was done."""
        pace, slice_s, batch = self.model.pace, self._scheduler.slice_ms / 1000, self.piece
        total = len(prompt)
        done = self.prompt_done = reuse.cached
        while done < total:
            want = self._want()
            threads = self.turn.renew(want)
            if not threads or run.aborted or run.ending is not None:
                return False
            context.set_threads(threads, threads)
            piece = min(batch, pace.piece(threads, slice_s, contended=self.turn.contended))
            part = prompt[done : reuse.until(done, done + piece)]
            done += len(part)
            began = perf_counter()
            result = context.decode(part, want_logits=done == total)
            if result is Decoded.ABORTED:
                return False
            if result is not Decoded.OK:
                raise EngineError("llama.cpp failed to evaluate the prompt")
            self.prompt_done = done
            now = perf_counter()
            pace.learn(len(part), threads, now - began)
            reuse.passed(done)
            self._scheduler.watch(now)
            if done < total:
                emit(Progress(total, done))
        return True

    def _generate(
        self, context: LlamaContext, sampler: Sampler, run: RunState, delivery: Delivery
    ) -> str:
        """Token by token until something ends it: the finish reason.

        This loop is what a small model's speed hangs on; its names are bound outside of it.
        """
        most = self.most_tokens(run.prepared.request, len(context.tokens))
        accept = sampler.follow(context.tokens)
        sample = sampler.sample_from(context)
        decode, share = context.decode_one, self.share
        keep, acquire = self.turn.keep, self.turn.acquire
        limits, scheduler, run_ahead = self.limits, self._scheduler, self.run_ahead
        widest = scheduler.widest
        end_tokens, clock = self.model.end_tokens, perf_counter
        take = delivery.take
        made = 0
        threads = self.turn.held
        reason = "length"
        while made < most:
            token = sample()
            if token in end_tokens:
                reason = "stop"
                break
            self.made_tokens = made = made + 1
            now = clock()
            want = limits.threads or 1
            if want > 1:
                want = max(1, min(want, share.max_threads, widest))
            if now >= scheduler.watch_at:
                scheduler.watch(now)
            ahead = made - self.read_tokens > run_ahead
            granted = keep(want, ahead)
            # Last of all: the loop is woken up, and is not to wait for this thread's GIL.
            if take(token, now):
                reason = "stop_sequence"
                break
            if made >= most:
                break
            if run.ending is not None or run.aborted:
                reason = run.ending or ""
                break
            granted = granted or acquire(want, ahead)
            if granted != threads:
                if not granted:
                    reason = run.ending or ""
                    break
                threads = granted
                context.set_threads(threads, threads)
            result = decode(token)
            if result is not None:
                if result is not Decoded.ABORTED:
                    raise EngineError("llama.cpp failed to evaluate a token")
                reason = run.ending or ""
                break
            if accept is not None:
                accept(token)
        return reason

    def _generate_ahead(
        self, context: LlamaContext, sampler: Sampler, run: RunState, delivery: Delivery
    ) -> str:
        """As `_generate`, with guesses from the context's own tokens."""
        assert self.look_ahead is not None

        def grant(now: float) -> int:
            want = self._want()
            self._scheduler.watch(now)
            threads = self.turn.renew(want, self.ahead)
            if threads:
                context.set_threads(threads, threads)
            return threads

        return self.look_ahead.generate(self, context, sampler, run, delivery, grant)
