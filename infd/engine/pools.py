"""Threads that help a llama_context to compute, kept between its calls.

Without a pool ggml (built without OpenMP) starts and joins threads for every call: two threads
then make a sixth of the bundled model's tokens a second, and one thread loses 4 %.

Rules: a pool computes for one context at a time, so a context has one only while it was granted
threads (`Team`), and gives it back for the next. Its threads spin for `_SPIN` between two calls,
then they sleep: the cores are others' again. ggml's functions are not in the Python package; where
they are not found as they are in version 0.3.36, or look different, contexts compute without pools.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any

from infd.engine.library import shared

# More idle pools than this are freed; as many are in use as contexts hold threads.
_MOST_IDLE = 16
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
    """The idle pools of the process, by their number of threads."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: list[tuple[int, Any]] = []
        self._new = self._free = self._init = self.attach = self.detach = None
        base, cpu, llama = (shared(name) for name in ("ggml-base", "ggml-cpu", "llama"))
        try:
            if base is None or cpu is None or llama is None:
                return
            init, new, free = (
                base.ggml_threadpool_params_init, cpu.ggml_threadpool_new, cpu.ggml_threadpool_free,
            )  # fmt: skip
            attach, detach = llama.llama_attach_threadpool, llama.llama_detach_threadpool
        except AttributeError:
            return
        init.argtypes, init.restype = (ctypes.POINTER(_Params), ctypes.c_int), None
        new.argtypes, new.restype = (ctypes.POINTER(_Params),), ctypes.c_void_p
        free.argtypes, free.restype = (ctypes.c_void_p,), None
        attach.argtypes, attach.restype = (ctypes.c_void_p,) * 3, None
        detach.argtypes, detach.restype = (ctypes.c_void_p,), None
        params = _Params()
        init(params, 3)
        if (params.n_threads, params.prio, params.poll) != (3, 0, _POLL):
            return
        self._init, self._new, self._free = init, new, free
        self.attach, self.detach = attach, detach

    @property
    def there(self) -> bool:
        """Whether this build of ggml has pools."""
        return self._new is not None

    def take(self, n: int) -> Any:
        """A pool of `n` threads, the caller's own included; None: there is none to be had."""
        with self._lock:
            for i, (threads, pool) in enumerate(self._idle):
                if threads == n:
                    del self._idle[i]
                    return pool
        if self._new is None or self._init is None or n > _MOST_THREADS:
            return None
        params = _Params()
        self._init(params, n)
        params.poll = _SPIN
        return self._new(params)

    def give(self, n: int, pool: Any) -> None:
        """Take a pool back that nothing is attached to any more."""
        with self._lock:
            if len(self._idle) < _MOST_IDLE:
                self._idle.append((n, pool))
                return
        assert self._free is not None
        self._free(pool)


POOLS = Pools()


class Team:
    """The threads of one llama_context. Its thread's."""

    __slots__ = ("_n", "_pointer", "_pool")

    def __init__(self, pointer: Any) -> None:
        self._pointer = ctypes.cast(pointer, ctypes.c_void_p)
        self._n = 0
        self._pool: Any = None

    def resize(self, n: int) -> None:
        """Compute with `n` threads from now on; llama.cpp is told their number by the caller."""
        if n == self._n:
            return
        self.rest()
        self._n, self._pool = n, POOLS.take(n)
        if self._pool is not None and POOLS.attach is not None:
            POOLS.attach(self._pointer, self._pool, self._pool)

    def rest(self) -> None:
        """Give the threads back: the context computes no more until `resize`."""
        n, pool, self._n, self._pool = self._n, self._pool, 0, None
        if pool is not None and POOLS.detach is not None:
            POOLS.detach(self._pointer)
            POOLS.give(n, pool)
