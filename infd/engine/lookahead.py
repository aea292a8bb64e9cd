"""Generating with guesses: a token and the guesses behind it are computed in one call.

Each position's token is then drawn from its own logits, one after another, as the plain loop
(`Engine._generate`) would have drawn it; a guess only saves a call when it is what was drawn. So
the sampler, its random numbers and its penalties see what they would see without guesses, and
the distribution of replies is the same. What was guessed wrong is cut off the KV cache.

Limit: llama.cpp's kernels round differently for several tokens than for one. Greedy tokens equal
the plain loop's wherever the two best logits differ by more than 0.05; the same seed draws the
same reply every time, but now and then not the one that it draws without guesses.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter

from infd.engine.context import Decoded, LlamaContext
from infd.engine.delivery import SLOW_STEP, Delivery
from infd.engine.errors import EngineError
from infd.engine.events import RunState
from infd.engine.lookup import Pace, TokenIndex
from infd.engine.sampling import Sampler
from infd.engine.state import EngineState, common_prefix


class LookAhead:
    """A context's guesses from run to run. Used by its engine's thread."""

    def __init__(self, most: int) -> None:
        """`most`: tokens guessed at one time."""
        self.pace = Pace(most)
        """The latest run's, with its counts."""
        self.calls = 0
        """Decodes of the latest run's reply."""
        self._index = TokenIndex()

    def forget(self) -> None:
        """Keep nothing of the conversation."""
        self._index.cut(0)

    def generate(
        self,
        state: EngineState,
        context: LlamaContext,
        sampler: Sampler,
        run: RunState,
        delivery: Delivery,
        grant: Callable[[float], int],
    ) -> str:
        """Token by token until something ends it: the finish reason.

        `grant` waits for the cores before each call at the time given, and answers 0 when the
        run is to end. Raises EngineError.
        """
        most = state.most_tokens(run.prepared.request, len(context.tokens))
        accept = sampler.follow(context.tokens)
        index = self._index
        index.become(context.tokens, common_prefix(index.tokens, context.tokens))
        self.pace = pace = Pace(self.pace.most)
        self.calls = made = 0
        end_tokens, pointer = context.model.end_tokens, context.pointer
        guesses: list[int] = []
        hits, row = 0, -1
        right = len(context.tokens)  # so much of the KV cache is no guess, or a right one
        reason = "length"
        slow = False
        while made < most:
            token = sampler.sample_at(pointer, row)
            if token in end_tokens:
                reason = "stop"
                break
            state.made_tokens = made = made + 1
            index.add(token)
            hit = hits < len(guesses) and guesses[hits] == token
            right += hit
            now = perf_counter()
            if delivery.take(token, now):
                reason = "stop_sequence"
                break
            if made >= most:
                break
            if run.ending is not None or run.aborted:
                reason = run.ending or ""
                break
            if accept is not None:
                accept(token)
            if hit:
                hits, row = hits + 1, row + 1
                continue
            pace.learn(len(guesses), hits)
            if slow:
                # What came with the last call is not held back for the next one.
                delivery.send(now)
            if not grant(now):
                reason = run.ending or ""
                break
            kept = context.keep_prefix(right)
            start, same = index.find()
            width = pace.width(same)
            guesses, hits = index.following(start, min(width, most - made - 1)), 0
            if guesses or kept < right:
                part = index.tokens[kept:]
                result = context.decode_rows(part + guesses, 1 + len(guesses))
                row = len(part) - 1
            else:
                result = context.decode_one(token) or Decoded.OK
                row = 0
            if result is not Decoded.OK:
                if result is not Decoded.ABORTED:
                    raise EngineError("llama.cpp failed to evaluate a token")
                reason = run.ending or ""
                break
            slow = perf_counter() - now >= SLOW_STEP
            self.calls += 1
            right = len(context.tokens) - len(guesses)
        context.keep_prefix(right)
        return reason
