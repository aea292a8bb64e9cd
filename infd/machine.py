"""What the process may use of the machine: memory, cores, open files.

A container that is given 2 of 64 cores sees 64; computing with more threads than it is given
collapses (ggml's threads wait for each other). Cgroups of version 1 and 2 are read; where nothing
can be read nothing is limited; a quota of version 1 is read as one of the usual 100 ms. `root` is
for tests.
"""

from __future__ import annotations

import math
import os
import resource
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

RESERVED_FILES = 64
"""Descriptors that connections leave to files, pipes and helpers: without them no run starts."""

ROOT = Path("/")


def machine_memory(root: Path = ROOT) -> int:
    """Bytes of memory of the machine, from /proc/meminfo."""
    for line in (root / "proc/meminfo").read_text().splitlines():
        if line.startswith("MemTotal:"):
            return int(line.split()[1]) * 1024
    raise OSError("/proc/meminfo says no MemTotal")


def usable_memory(root: Path = ROOT) -> int:
    """Bytes of memory that the process may use at most: the least of the machine and cgroups."""
    # "max" in version 2; a number beyond all memory in version 1.
    limits = [
        int(text)
        for text in _settings(root, "memory", "memory.max", "memory.limit_in_bytes")
        if text.isdigit()
    ]
    return min([machine_memory(root), *limits])


def usable_cores(root: Path = ROOT) -> int:
    """Cores that the process may keep busy: those it may run on, within its cgroups' quotas."""
    quotas = []
    for text in _settings(root, "cpu", "cpu.max", "cpu.cfs_quota_us"):
        quota, _, period = text.partition(" ")
        if quota.isdigit() and int(period or 100_000):
            quotas.append(int(quota) / int(period or 100_000))
    # A part of a core still runs a thread; rounding up loses less than leaving it idle.
    return max(1, min([len(os.sched_getaffinity(0)), *(math.ceil(quota) for quota in quotas)]))


def connection_limit(wanted: int) -> int:
    """`wanted` connections, or as many as the process's open files allow.

    Raises the soft limit of open files as far as needed and allowed.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    files = wanted + RESERVED_FILES
    if soft == resource.RLIM_INFINITY or soft >= files:
        return wanted
    allowed = files if hard == resource.RLIM_INFINITY else min(files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    return min(wanted, max(allowed - RESERVED_FILES, allowed // 2))


def _settings(root: Path, controller: str, file: str, old_file: str) -> Iterator[str]:
    """What a setting is in each cgroup around the process; `old_file` is its name in version 1.

    In a container the group's path may not be there, and the mount's own files speak of it.
    """
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            yield from _above(mount, path, file)
        elif controller in controllers.split(","):
            yield from _above(mount / controller, path, old_file)


def _above(mount: Path, path: str, file: str) -> Iterator[str]:
    relative = PurePosixPath(path.lstrip("/"))
    for group in (relative, *relative.parents):
        try:
            yield (mount / group / file).read_text().strip()
        except OSError:
            continue
