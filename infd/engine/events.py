"""What goes into a worker and what comes out of it: plain values, safe to hand between threads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from infd.engine.sampling import SamplingParams


@dataclass(slots=True)
class Limits:
    """A user's PROC_THREADS and BATCH_SET as they bind a context; 0 reads as 1 and 512.

    Changed by the loop's side at any time; the worker reads `threads` before every token and
    `batch` before every prompt.
    """

    threads: int
    batch: int


@dataclass(frozen=True, slots=True)
class RunRequest:
    """One run: the whole conversation, (role, text) each, and how to go on from it.

    `seed` None is drawn. `max_tokens` None is unbounded; 0 evaluates the prompt and generates
    nothing ("length"). Empty strings in `stop` are ignored.
    """

    messages: tuple[tuple[str, str], ...]
    sampling: SamplingParams = SamplingParams()  # noqa: RUF009 - frozen
    seed: int | None = None
    max_tokens: int | None = None
    stop: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Prepared:
    """A request, templated and tokenised."""

    request: RunRequest
    tokens: list[int]
    head: int = 0
    """How many of them are the system message's, and are kept for contexts to come."""


@dataclass(slots=True)
class RunState:
    """A run on its way. The two flags are written by the loop's side, once each."""

    prepared: Prepared
    ending: str | None = None
    aborted: bool = False


class Text(NamedTuple):
    """More of the reply: never empty, whole characters, with the number of tokens it took."""

    text: str
    tokens: int


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the prompt is, in tokens; those reused from the KV cache count as done."""

    prompt_tokens: int
    prompt_done: int


@dataclass(frozen=True, slots=True)
class Finished:
    """The run ended as it should.

    `reason`: "stop" (an end token), "length" (the context or max_tokens is full),
    "stop_sequence", or what `Worker.end` was given. Times in milliseconds; the prompt's includes
    the wait for a turn, `tokens_cached` counts prompt tokens that were not evaluated again.
    """

    reason: str
    seed: int
    tokens_in: int
    tokens_cached: int
    tokens_out: int
    prompt_ms: float
    decode_ms: float


@dataclass(frozen=True, slots=True)
class Aborted:
    """The run was aborted; what it generated is void. `detail`: why, if nobody asked for it."""

    detail: str = ""


@dataclass(frozen=True, slots=True)
class Failed:
    """llama.cpp failed; the context is of no use until `Worker.reopen`."""

    detail: str


Event = Text | Progress | Finished | Aborted | Failed
End = Finished | Aborted | Failed
