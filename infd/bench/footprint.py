"""What the daemon takes of memory: for contexts, and for connections that do nothing.

Memory is the daemon's resident set as the kernel tells it (VmRSS), which counts what was touched:
contexts are measured after each has evaluated a prompt that fills it.
"""

from __future__ import annotations

import resource
from contextlib import ExitStack

from infd.bench.decoding import Subject
from infd.bench.plain_side import PlainSide
from infd.bench.report import Row
from infd.bench.synthetic import text
from infd.bench.throwaway import Throwaway
from infd.bench.wire import Wire

MIB = 1024 * 1024
BATCH = 512
"""BATCH_SET of the bench's user; contexts are made with as large a micro-batch."""


def contexts(
    daemon: Throwaway, wire: Wire, plain: PlainSide, subject: Subject, *, count: int
) -> list[Row]:
    """Memory of `count` contexts over what the parts add up to. The model must not be loaded."""
    daemon.set_threads(wire, 1)
    base = daemon.resident()
    daemon.load(wire, subject.name)
    loaded = daemon.resident()
    size = subject.ctxsize
    # A word of a synthetic model is a token; leave room for the template's.
    words = size - 64 if subject.synthetic else size // 8
    made = [wire.context(subject.name, size) for _ in range(count)]
    for number, ctxid in enumerate(made):
        # Prompts that begin alike would be kept for contexts to come, and counted here.
        wire.say(ctxid, text(words, number), 2)
    full = daemon.resident()
    each = plain.memory(ctxsize=size, n_ubatch=min(BATCH, size))
    weights = int(plain.about["weights"])
    for ctxid in made:
        wire.call("inf_destroy_context", CTXID=ctxid)
    promised = weights + count * each
    beside = {
        "weights MiB": weights / MIB, "loaded MiB": (loaded - base) / MIB,
        "reported each MiB": each / MIB, "measured each MiB": (full - loaded) / count / MIB,
        "contexts": count,
    }  # fmt: skip
    ratio = (full - base) / promised
    return [
        Row(
            "contexts_memory",
            f"memory of {count} contexts / (weights + {count} x what llama.cpp reports)",
            (ratio,), "", 1.1, at_least=False, beside=beside,
        ),
    ]  # fmt: skip


def connections(daemon: Throwaway, *, count: int) -> Row:
    """Memory of so many idle connections, each of which said hello."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        with ExitStack() as held:
            for _ in range(10):
                held.enter_context(Wire(daemon.address)).call("inf_hello")
            before = daemon.resident()
            for _ in range(count):
                held.enter_context(Wire(daemon.address)).call("inf_hello")
            after = daemon.resident()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    grown = after - before
    return Row(
        "idle_connections", f"{count:,} idle connections", (grown / MIB,), "MiB", 15.0,
        at_least=False, beside={"KiB each": grown / count / 1024},
    )  # fmt: skip
