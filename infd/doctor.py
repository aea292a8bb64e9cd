"""What `infd doctor` looks at: each check gives findings, in words for people.

The build of llama.cpp is tried in a subprocess, because a wrong one ends its process.
"""

from __future__ import annotations

import importlib.util
import json
import os
import platform
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from infd import children, machine
from infd.config import Config
from infd.demo import MODEL_PATH
from infd.failures import BUILD_FLAGS, INSTALL
from infd.models import memory
from infd.reach import ReachError, is_running, whereabouts
from infd.wire import Address, Wire, WireError
from infd_protocol.errors import InfdError

REINSTALL = (
    f"{BUILD_FLAGS} pip install --no-cache-dir --force-reinstall llama-cpp-python"
)
CHECKUP_SECONDS = 300.0
SLOW_PROMPT, SLOW_DECODE = 400.0, 40.0
"""Tokens a second. One core of a 2023 server makes 7,800 and 420 with the bundled model; a tenth
is left for older machines and for ones that are busy."""
ESSENTIAL = {"avx2": "AVX2", "avx512f": "AVX512", "asimd": "NEON"}
"""Processor features by Linux's name and llama.cpp's, without which a build is much slower."""
LOW_DISK = 100 * 2**20


@dataclass(frozen=True, slots=True)
class Finding:
    """`level`: ok, note (worth knowing), or bad (infd will not work well). `build`: whether the
    build of llama.cpp may be at fault."""

    level: str
    text: str
    build: bool = False


def examine(config: Config) -> Iterator[Finding]:
    """Every check, in turn."""
    yield _python()
    yield from _library()
    yield _memory()
    yield from _state(config)
    yield _port(config)


def _python() -> Finding:
    said = f"Python {platform.python_version()} on {platform.machine()}"
    return Finding("ok", f"{said}, {machine.usable_cores()} cores may be used")


def _library() -> Iterator[Finding]:
    try:
        version = metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        yield Finding(
            "bad", f"llama-cpp-python is not installed: in infd's folder, {INSTALL}"
        )
        return
    if uses_openmp(_library_folder()):
        yield Finding(
            "bad", f"llama-cpp-python {version} is built with OpenMP: worker threads run at half "
            "their speed", build=True,
        )  # fmt: skip
    if not MODEL_PATH.is_file():
        yield Finding("bad", f"the bundled model is missing: {MODEL_PATH}; reinstall infd")
        return
    measured = checkup(extra_bufts=True)
    if isinstance(measured, dict):
        yield from _judge(measured)
        return
    said = f"llama-cpp-python {version}: decoding with the bundled model {measured}"
    yield Finding("bad", said, build=True)
    if isinstance(checkup(extra_bufts=False), dict):
        yield Finding(
            "note", "without repacked weights it works, at half the speed; the daemon finds that "
            "out by itself, model by model",
        )  # fmt: skip


def _judge(measured: dict[str, Any]) -> Iterator[Finding]:
    kernels = measured["kernels"]
    yield Finding("ok", f"{measured['version']}; kernels: {', '.join(kernels)}")
    missing = [
        theirs for ours, theirs in ESSENTIAL.items()
        if ours in processor_flags() and theirs not in kernels
    ]  # fmt: skip
    if missing:
        said = f"this processor has {', '.join(missing)}, the build does not use it"
        yield Finding("bad", said, build=True)
    slow = measured["prompt"] < SLOW_PROMPT or measured["decode"] < SLOW_DECODE
    yield Finding(
        "bad" if slow else "ok",
        f"the bundled model with 1 thread: prompt {measured['prompt']:,.0f} tokens/s, "
        f"decoding {measured['decode']:,.0f} tokens/s{': too slow' if slow else ''}",
        build=slow,
    )


def checkup(*, extra_bufts: bool) -> dict[str, Any] | str:
    """What the subprocess measured, or how it ended otherwise."""
    command = children.command(
        "infd.models.checkup", "--extra-bufts", str(int(extra_bufts)),
        "--parent", str(os.getpid()),
    )  # fmt: skip
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=CHECKUP_SECONDS,
            env=children.environment(), check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"takes longer than {CHECKUP_SECONDS:g} s"
    if done.returncode < 0:
        return f"ends the process ({signal.Signals(-done.returncode).name})"
    try:
        measured: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (IndexError, ValueError):
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        return f"fails: {said[-1] if said else f'status {done.returncode}'}"
    return measured


def _library_folder() -> Path | None:
    found = importlib.util.find_spec("llama_cpp")
    places = found.submodule_search_locations if found else None
    return Path(next(iter(places))) / "lib" if places else None


def uses_openmp(folder: Path | None) -> bool:
    """Whether the libraries in the folder call an OpenMP runtime (GNU's or LLVM's)."""
    libraries = sorted(folder.glob("libggml*.so*")) if folder else []
    names = (b"GOMP_parallel\0", b"__kmpc_fork_call\0")
    contents = (library.read_bytes() for library in libraries if not library.is_symlink())
    return any(name in content for content in contents for name in names)


def processor_flags() -> frozenset[str]:
    """The features of the processor by Linux's names, empty where they cannot be read."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return frozenset()
    flags = (line for line in lines if line.startswith(("flags", "Features")))
    return frozenset(next(flags, "").partition(":")[2].split())


def _memory() -> Finding:
    whole, usable = machine.machine_memory(), machine.usable_memory()
    said = f"memory: {memory.describe(usable)}"
    if usable < whole:
        said += f" (a cgroup's limit; the machine has {memory.describe(whole)})"
    return Finding("ok", said)


def _state(config: Config) -> Iterator[Finding]:
    from infd.accounts.offline import OfflineAccounts
    from infd.accounts.store import DATABASE, StoreError

    state = config.state
    try:
        there = (state / DATABASE).exists()
    except OSError as error:
        yield Finding("bad", f"state folder {state}: {error.strerror}")
        return
    if not there:
        yield Finding("note", f"no state folder {state} yet: infd init --state {state}")
        return
    try:
        with OfflineAccounts(state) as accounts:
            yield Finding("ok", f"state folder {state}: {len(accounts.users())} users")
    except StoreError as error:
        if not is_running(state):
            yield Finding("bad", str(error))
            return
        yield Finding("ok", f"state folder {state}: in use by a running daemon")
    free = shutil.disk_usage(state).free
    if free < LOW_DISK:
        yield Finding("bad", f"the disk of {state} has only {memory.describe(free)} left")


def _port(config: Config) -> Finding:
    try:
        address = Address(*whereabouts(config))
    except ReachError as error:
        return Finding("note", str(error))
    if address.port == 0:
        return Finding("ok", f"{config.listen}: a free port is taken")
    try:
        with Wire(address) as wire:
            version = wire.call("inf_hello").keys.get("VERSION")
            return Finding("ok", f"on {address} infd {version} answers")
    except (WireError, InfdError) as error:
        if "refused" in str(error):
            return Finding("ok", f"{address} is free")
        return Finding("bad", f"{address} is taken: {error}")
