"""Huge pages for models and contexts: who asks the kernel for them, and that it gives them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support import daemon as daemons
from support.daemon import BUNDLED, PATIENCE, Daemon
from support.raw_client import RawClient

from infd import hugepages

SETTING = Path("/sys/kernel/mm/transparent_hugepage/enabled")
CTXSIZE = 65536
LEAST = 16 << 20
"""Bytes: several huge pages."""
ASKING = "glibc.malloc.hugetlb=1"


@pytest.mark.parametrize(
    ("setting", "given", "wanted"),
    [
        ("always [madvise] never", {}, {"GLIBC_TUNABLES": ASKING}),
        ("always [madvise] never", {"GLIBC_TUNABLES": ""}, {"GLIBC_TUNABLES": ASKING}),
        (
            "always [madvise] never",
            {"GLIBC_TUNABLES": "glibc.malloc.check=1"},
            {"GLIBC_TUNABLES": f"glibc.malloc.check=1:{ASKING}"},
        ),
        ("always [madvise] never", {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, {}),
        ("[always] madvise never", {}, {}),
        ("always madvise [never]", {}, {}),
        (None, {}, {}),
    ],
)
def test_they_are_asked_for_where_that_changes_anything(
    setting: str | None,
    given: dict[str, str],
    wanted: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    file = tmp_path / "enabled"
    if setting is not None:
        file.write_text(setting + "\n")
    monkeypatch.setattr(hugepages, "_SETTING", file)
    assert hugepages.asking(given) == wanted


def test_a_process_begins_again_as_it_was_and_only_once(tmp_path: Path) -> None:
    file = tmp_path / "enabled"
    file.write_text("always [madvise] never\n")
    code = (
        "import json, os, sys; from pathlib import Path; from infd import hugepages\n"
        f"hugepages._SETTING = Path({str(file)!r})\n"
        "print(os.getpid()); hugepages.begin_again()\n"
        "print(json.dumps([sys.argv[1:], sys.flags.safe_path, os.environ['GLIBC_TUNABLES']]))\n"
    )
    ran = subprocess.run(
        [sys.executable, "-P", "-c", code, "two words", ""],
        capture_output=True, text=True, timeout=PATIENCE, check=True, env={},
    )  # fmt: skip
    first, second, told = ran.stdout.splitlines()
    assert first == second
    assert json.loads(told) == [["two words", ""], True, ASKING]


def memory(daemon: Daemon) -> dict[str, int]:
    """What the daemon's memory is, in bytes, by the kernel's names."""
    lines = Path(f"/proc/{daemon.pid}/smaps_rollup").read_text().splitlines()[1:]
    return {name.rstrip(":"): int(value) * 1024 for name, value, _ in map(str.split, lines)}


def test_a_contexts_cache_lies_in_huge_pages() -> None:
    if not SETTING.exists() or "[never]" in SETTING.read_text():
        pytest.skip("this machine's kernel has no huge pages, or its owner wants none")
    library = os.confstr("CS_GNU_LIBC_VERSION") or ""
    version = tuple(int(part) for part in library.removeprefix("glibc ").split(".")[:2])
    if "[madvise]" in SETTING.read_text() and version < (2, 35):
        pytest.skip(f"{library} does not ask for huge pages")
    budget = {"models": {"demo": {"path": str(BUNDLED), "load": True, "ctxsize": CTXSIZE}}}
    with (
        daemons.run(config=budget) as daemon,
        RawClient(daemon).login("admin", daemon.admin) as client,
    ):
        before = memory(daemon)
        client.context("demo", CTXSIZE)
        after = memory(daemon)
    grown, huge = after["Rss"] - before["Rss"], after["AnonHugePages"] - before["AnonHugePages"]
    assert huge > grown / 2 > LEAST, (before, after)
