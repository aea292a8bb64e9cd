"""Threads that help a llama_context to compute, kept between its calls.

Without a pool ggml (built without OpenMP) starts and joins threads for every call: two threads
then make a sixth of the bundled model's tokens a second, and one thread loses 4 %.

Rules: a pool belongs to one context, from its first use until the context is freed. No other may
compute with it, and it may not be freed before, because llama.cpp holds on to it: the context's
next call with another pool pauses the last one, also after llama_detach_threadpool
(ggml-cpu.cpp, ggml_backend_cpu_set_threadpool). So a context has a pool for each number of threads
that it computed with, above `_EXACT` rounded up to a power of two; a pool of one starts no thread.
Threads spin for `_SPIN` between two calls, then they sleep: the cores are others' again. ggml's
functions are not in the Python package; where they are not found as they are in version 0.3.36, or
look different, contexts compute without pools.
"""

from __future__ import annotations

import ctypes
import os
import threading
from typing import Any

from infd.engine.library import shared

# Up to here a pool has as many threads as are asked for: all of a pool wake up for each call.
_EXACT = 4
_MOST_THREADS = 512
"""ggml.h, GGML_MAX_N_THREADS."""
_POLL = 50
"""ggml.c, ggml_threadpool_params_init: what `poll` is before it is set."""
_SPIN = 1
"""131,072 rounds of waiting, some 4 ms (ggml-cpu.c, ggml_graph_compute_poll_for_work). Asleep,
threads take so long to wake that two make 0.5 to 1.2 times one thread's tokens of the bundled
model; spinning, 1.3 to 1.5 times (2 cores, depths of 20 to 500 tokens)."""


class _Params(ctypes.Structure):
    """ggml.h, struct ggml_threadpool_params."""

    _fields_ = (
        ("cpumask", ctypes.c_bool * _MOST_THREADS),
        ("n_threads", ctypes.c_int),
        ("prio", ctypes.c_int),
        ("poll", ctypes.c_uint32),
        ("strict_cpu", ctypes.c_bool),
        ("paused", ctypes.c_bool),
        # Room for what a later version may add behind.
        ("more", ctypes.c_uint8 * 256),
    )


class Pools:
    """ggml's and llama.cpp's functions for pools."""

    def __init__(self) -> None:
        self._new = self._free = self._init = self._attach = None
        base, cpu, llama = (shared(name) for name in ("ggml-base", "ggml-cpu", "llama"))
        try:
            if base is None or cpu is None or llama is None:
                return
            init, new, free = (
                base.ggml_threadpool_params_init, cpu.ggml_threadpool_new, cpu.ggml_threadpool_free,
            )  # fmt: skip
            attach = llama.llama_attach_threadpool
        except AttributeError:
            return
        init.argtypes, init.restype = (ctypes.POINTER(_Params), ctypes.c_int), None
        new.argtypes, new.restype = (ctypes.POINTER(_Params),), ctypes.c_void_p
        free.argtypes, free.restype = (ctypes.c_void_p,), None
        attach.argtypes, attach.restype = (ctypes.c_void_p,) * 3, None
        params = _Params()
        init(params, 3)
        if (params.n_threads, params.prio, params.poll) != (3, 0, _POLL):
            return
        self._init, self._new, self._free, self._attach = init, new, free, attach

    @property
    def available(self) -> bool:
        """Whether ggml's functions were found."""
        return self._new is not None

    def make(self, n: int, nice: int | None = None) -> Any:
        """A pool of `n` threads, the caller's own included; None: there is none to be had.
        `nice`: the others' niceness; the caller's if not given."""
        if self._new is None or self._init is None or n > _MOST_THREADS:
            return None
        params = _Params()
        self._init(params, n)
        params.poll = _SPIN
        new = self._new
        if nice is None:
            return new(params)
        made: list[Any] = []

        def make() -> None:
            # Threads inherit it from the one that starts them, which could not take it back.
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), nice)
            made.append(new(params))

        starter = threading.Thread(target=make, name="infd starter")
        try:
            starter.start()
        except RuntimeError:
            return None
        starter.join()
        return made[0] if made else None

    def attach(self, context: Any, pool: Any) -> None:
        """Have a llama_context compute with a pool that `make` made."""
        assert self._attach is not None
        self._attach(context, pool, pool)

    def free(self, pool: Any) -> None:
        """Free a pool whose llama_context is freed."""
        assert self._free is not None
        self._free(pool)


POOLS = Pools()


class Team:
    """The threads of one llama_context. Its thread's."""

    __slots__ = ("_n", "_nice", "_pointer", "_pools")

    def __init__(self, pointer: Any, *, nice: int | None = None) -> None:
        """`nice`: the niceness of the threads beside the context's own; as its own if not given."""
        self._pointer = ctypes.cast(pointer, ctypes.c_void_p)
        self._nice = nice
        self._n = 0
        self._pools: dict[int, Any] = {}

    def resize(self, n: int) -> None:
        """Compute with `n` threads from now on; llama.cpp is told their number by the caller."""
        if n > _EXACT:
            n = 1 << (n - 1).bit_length()
        if n == self._n:
            return
        pool = self._pools.get(n)
        if pool is None:
            pool = POOLS.make(n, self._nice)
            if pool is None:
                return
            self._pools[n] = pool
        self._n = n
        POOLS.attach(self._pointer, pool)

    def close(self) -> None:
        """End the threads, after the llama_context was freed; twice is harmless."""
        for pool in self._pools.values():
            POOLS.free(pool)
        self._pools.clear()
