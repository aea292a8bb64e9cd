"""What the machine and its cgroups give, read from trees that look like /proc and /sys."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from infd import machine
from infd.models import memory

GIB = 2**30


def tree(root: Path, cgroup: str, **limits: str) -> Path:
    files = {
        "proc/meminfo": "MemFree: 1 kB\nMemTotal:       16777216 kB\n",
        "proc/self/cgroup": cgroup,
        **{name.replace("__", "/"): text for name, text in limits.items()},
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def put(root: Path, name: str, text: str) -> None:
    path = root / "sys/fs/cgroup" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_the_machine_alone(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/\n")
    assert machine.usable_memory(root) == 16 * GIB
    assert memory.bytes_of(0.5, root) == 8 * GIB
    assert memory.bytes_of(123, root) == 123


def test_the_tightest_cgroup_above_counts(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/system.slice/infd.service\n")
    put(root, "system.slice/infd.service/memory.max", "max\n")
    put(root, "system.slice/memory.max", f"{4 * GIB}\n")
    assert machine.usable_memory(root) == 4 * GIB
    put(root, "system.slice/infd.service/memory.max", f"{2 * GIB}\n")
    assert machine.usable_memory(root) == 2 * GIB


def test_in_a_container_the_mounts_own_file_counts(tmp_path: Path) -> None:
    root = tree(tmp_path, "0::/docker/0123\n")
    put(root, "memory.max", f"{GIB}\n")
    assert machine.usable_memory(root) == GIB


def test_version_1(tmp_path: Path) -> None:
    root = tree(tmp_path, "5:cpu,cpuacct:/x\n4:memory:/user/me\n0::/\n")
    put(root, "memory/user/me/memory.limit_in_bytes", f"{3 * GIB}\n")
    put(root, "memory/memory.limit_in_bytes", "9223372036854771712\n")
    put(root, "cpu/x/memory.limit_in_bytes", "1\n")
    assert machine.usable_memory(root) == 3 * GIB


@pytest.mark.parametrize(
    ("text", "cores"),
    [("max 100000", 3), ("200000 100000", 2), ("150000 100000", 2), ("1000 100000", 1),
     ("800000 100000", 3)],
)  # fmt: skip
def test_cores_within_a_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, cores: int
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: {0, 1, 2})
    root = tree(tmp_path, "0::/pod/one\n")
    put(root, "pod/cpu.max", text)
    assert machine.usable_cores(root) == cores
    quota = text.partition(" ")[0].replace("max", "-1")
    root = tree(tmp_path / "old", "3:cpu,cpuacct:/pod\n")
    put(root, "cpu/pod/cpu.cfs_quota_us", quota)
    assert machine.usable_cores(root) == cores


def test_this_machine_can_be_read() -> None:
    assert 1 <= machine.usable_cores() <= len(os.sched_getaffinity(0))
    assert 0 < machine.usable_memory() <= machine.machine_memory()
    memory.give_back()


@pytest.mark.parametrize(
    ("size", "said"),
    [(0, "0 bytes"), (1023, "1023 bytes"), (1536, "1.5 KiB"), (2**40, "1.0 TiB"),
     (5 * 2**50, "5120.0 TiB")],
)  # fmt: skip
def test_sizes_for_people(size: int, said: str) -> None:
    assert memory.describe(size) == said
