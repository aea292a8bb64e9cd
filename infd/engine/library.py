"""The one place that imports llama_cpp, and what must be set before and after.

Rules: every other file takes llama.cpp from here (`from infd.engine.library import lib`), so
that the environment is set before the library loads and the package's own log callback, which
prints to standard error, is never in force. llama.cpp's warnings and errors go to structlog;
the rest is dropped, except on a thread that captures it (`captured_log`), and what is for
debugging llama.cpp there too.
"""

from __future__ import annotations

import ctypes
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# ggml's abort handler forks a debugger otherwise; the fork of a daemon with threads may hang.
os.environ.setdefault("GGML_NO_BACKTRACE", "1")

import llama_cpp as lib
import structlog

__all__ = ["ERROR", "INFO", "WARN", "captured_log", "kernels", "last_error", "lib", "shared",
           "supports_gpu", "version"]  # fmt: skip

_log = structlog.get_logger("infd.engine.llama")

# ggml.h, enum ggml_log_level (the package's own comment on it is off by one).
_DEBUG, INFO, WARN, ERROR, _CONT = 1, 2, 3, 4, 5

# Warnings that say only that infd does what it means to do: a context smaller than the model's
# training context, or larger (`Model.opened` warns of that, once), an aborted decode (ggml's
# status 1, llama_decode's result 2), a SentencePiece vocabulary without a newline piece, a
# sliding-window model whose KV can be cut back.
_EXPECTED = (
    "graph_compute_async failed with error 1",
    "compute status: 1",
    "failed to decode, ret = 2",
    "the full capacity of the model will not be utilized",
    "possible training context overflow",
    "removing memory module entries",
    "newline token not found",
    "using full-size SWA cache",
)


class _Sink(threading.local):
    """A thread's unfinished log line, and who captures its lines."""

    level: int = INFO
    text: str = ""
    lines: list[tuple[int, str]] | None = None


_sink = _Sink()


def _deliver(level: int, line: str) -> None:
    line = line.strip()
    if not line or not line.strip("."):
        return
    if _sink.lines is not None:
        _sink.lines.append((level, line))
    if level < WARN or any(known in line for known in _EXPECTED):
        return
    if level == ERROR:
        _log.error("llama.cpp", said=line)
    else:
        _log.warning("llama.cpp", said=line)


@lib.llama_log_callback  # type: ignore[untyped-decorator, unused-ignore]
def _on_log(level: int, text: bytes | None, _user_data: object) -> None:
    # An exception cannot leave a ctypes callback; and this one runs on whatever thread is
    # inside llama.cpp, so it must not wait for anything either.
    try:
        # Of a model of 1.1 B there are 700 such lines for each context that is made, for nobody.
        said = "" if level == _DEBUG else (text or b"").decode("utf-8", "replace")
        if level != _CONT:
            if _sink.text:
                _deliver(_sink.level, _sink.text)
            _sink.level, _sink.text = level, said
        else:
            _sink.text += said
        if _sink.text.endswith("\n"):
            line, _sink.text = _sink.text, ""
            _deliver(_sink.level, line)
    except Exception:
        _sink.text = ""


lib.llama_log_set(_on_log, None)
lib.llama_backend_init()


@contextmanager
def captured_log() -> Iterator[list[tuple[int, str]]]:
    """Collect what llama.cpp says on this thread, as (level, line)."""
    before = _sink.lines
    lines: list[tuple[int, str]] = []
    _sink.lines = lines
    try:
        yield lines
    finally:
        _sink.lines = before


def last_error(lines: list[tuple[int, str]]) -> str:
    """The first error of captured lines, without the name of the C function that said it."""
    for level, line in lines:
        if level == ERROR:
            head, colon, rest = line.partition(": ")
            return rest if colon and rest and " " not in head else line
    return ""


def shared(name: str) -> ctypes.CDLL | None:
    """A library that llama.cpp brought along, as it is loaded, for functions that the package has
    no names for; None: it is not there under this name ("ggml-cpu")."""
    try:
        with open("/proc/self/maps", encoding="utf-8") as maps:
            paths = {line.split(None, 5)[5].rstrip("\n") for line in maps if ".so" in line}
    except OSError:
        return None
    # The package's folder holds copies under other names; another one would be loaded anew.
    found = [path for path in paths if os.path.basename(path).startswith(f"lib{name}.so")]
    return ctypes.CDLL(found[0]) if len(found) == 1 else None


def version() -> str:
    """The Python package's and the library's version, for people and as a key of the build."""
    return f"llama-cpp-python {lib.__version__} (llama.cpp {lib.llama_version().decode()})"


def supports_gpu() -> bool:
    """Whether this build of llama.cpp can compute on a GPU, and finds one."""
    return bool(lib.llama_supports_gpu_offload())


def kernels() -> list[str]:
    """The processor features that this build computes with, as llama.cpp names them."""
    said: str = lib.llama_print_system_info().decode()
    parts = said.replace("CPU :", "").split("|")
    return [p.split("=")[0].strip() for p in parts if p.strip().endswith("= 1")]
