"""Trying files out in subprocesses: real crashes, the fallback, the cache, being ended."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.gguf_crashing import CRASHING, make_crashing
from support.gguf_factory import make
from support.models_world import Commands

from infd.models.prober import Prober
from infd.models.registry import ModelFile
from infd.models.verdicts import FILE_NAME, MAX_VERDICTS, Verdict, Verdicts, library_build
from infd_protocol.errors import InfNotEnoughMemory, InfUnableToOpenModelFile


def prober(state: Path, commands: Any, timeout: float = 60.0) -> Prober:
    return Prober(Verdicts(state), timeout=timeout, command=commands)


def model(folder: Path, kind: str) -> ModelFile:
    return ModelFile(kind, (make(folder, kind),))


@pytest.mark.parametrize("kind", ["bpe", "spm", "quantised", "embedding", "recurrent"])
async def test_what_works_is_tried_once(tmp_path: Path, kind: str) -> None:
    commands = Commands()
    asked = prober(tmp_path, commands)
    file = model(tmp_path, kind)
    assert await asked.judge(file) == Verdict(True)
    assert await asked.judge(file) == Verdict(True)
    assert await prober(tmp_path, commands).judge(file) == Verdict(True)
    assert commands.asked == [True]


@pytest.mark.parametrize("kind", sorted(CRASHING))
async def test_a_file_that_ends_its_probe_is_refused_and_not_tried_again(
    tmp_path: Path, kind: str
) -> None:
    commands = Commands()
    file = ModelFile(kind, (make_crashing(tmp_path, kind),))
    for _ in range(2):
        with pytest.raises(InfUnableToOpenModelFile, match="SIGABRT"):
            await prober(tmp_path, commands).judge(file)
    assert commands.asked == [True, False]


async def test_a_crash_in_the_repacked_kernels_means_loading_without(tmp_path: Path) -> None:
    commands = Commands(dies=(True,), number=signal.SIGILL)
    file = model(tmp_path, "quantised")
    assert await prober(tmp_path, commands).judge(file) == Verdict(False)
    assert await prober(tmp_path, commands).judge(file) == Verdict(False)
    assert commands.asked == [True, False]


@pytest.mark.parametrize("kind", ["cut-tensors", "not-gguf", "no-byte-tokens"])
async def test_a_file_that_is_refused_is_asked_again(tmp_path: Path, kind: str) -> None:
    commands = Commands()
    asked = prober(tmp_path, commands)
    for _ in range(2):
        with pytest.raises(InfUnableToOpenModelFile, match=kind):
            await asked.judge(model(tmp_path, kind))
    assert commands.asked == [True, True]


async def test_a_changed_file_is_tried_out_again(tmp_path: Path) -> None:
    commands = Commands()
    asked = prober(tmp_path, commands)
    file = model(tmp_path, "bpe")
    await asked.judge(file)
    (tmp_path / "copy").write_bytes(file.path.read_bytes())
    (tmp_path / "copy").rename(file.path)
    await asked.judge(file)
    assert commands.asked == [True, True]


async def test_a_probe_that_is_killed_means_memory(tmp_path: Path) -> None:
    asked = prober(tmp_path, Commands(dies=(True, False), number=signal.SIGKILL))
    with pytest.raises(InfNotEnoughMemory, match="memory"):
        await asked.judge(model(tmp_path, "bpe"))
    assert not (tmp_path / FILE_NAME).exists()


def waits_for(fifo: Path) -> Callable[[Path, bool], list[str]]:
    """Command lines of a probe that says its process id through `fifo` and then waits for ever."""
    code = f"import os, signal; open({str(fifo)!r}, 'w').write(str(os.getpid())); signal.pause()"
    return lambda path, extra_bufts: [sys.executable, "-c", code]


async def test_a_probe_that_takes_too_long_is_ended(tmp_path: Path) -> None:
    asked = prober(tmp_path, waits_for(Path("/dev/null")), timeout=0.1)
    with pytest.raises(InfUnableToOpenModelFile, match="probe_timeout"):
        await asked.judge(model(tmp_path, "bpe"))


async def test_a_cancelled_probe_leaves_no_process(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    asked = prober(tmp_path, waits_for(fifo))
    task = asyncio.create_task(asked.judge(model(tmp_path, "bpe")))
    pid = int(await asyncio.to_thread(fifo.read_text))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    # The next one gets its turn.
    with pytest.raises(InfUnableToOpenModelFile):
        await asked.judge(ModelFile("gone", (tmp_path / "gone.gguf",)))


async def test_a_missing_part_is_named(tmp_path: Path) -> None:
    file = ModelFile("big", (make(tmp_path, "bpe"), tmp_path / "big-00002-of-00002.gguf"))
    with pytest.raises(InfUnableToOpenModelFile, match="big-00002-of-00002"):
        await prober(tmp_path, Commands()).judge(file)


async def test_a_probe_that_answers_nonsense_is_a_refusal(tmp_path: Path) -> None:
    for code, said in (("", "no answer"), ("1/0", "status 1")):

        def command(path: Path, bufts: bool, code: str = code) -> list[str]:
            return [sys.executable, "-c", code]

        with pytest.raises(InfUnableToOpenModelFile, match=said):
            await prober(tmp_path, command).judge(model(tmp_path, "bpe"))


def test_another_build_makes_verdicts_void(tmp_path: Path) -> None:
    file = model(tmp_path, "bpe")
    Verdicts(tmp_path, "one").put(file, file.identity(), Verdict(True))
    assert Verdicts(tmp_path, "one").get(file, file.identity()) == Verdict(True)
    assert Verdicts(tmp_path, "two").get(file, file.identity()) is None
    assert len(library_build()) == 16


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"a": 1}', '{"a": {"verdict": {}}}', "\xff", '{"a": {}}']
)
def test_a_damaged_cache_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / FILE_NAME).write_bytes(text.encode("latin-1"))
    file = model(tmp_path, "bpe")
    verdicts = Verdicts(tmp_path)
    assert verdicts.get(file, file.identity()) is None
    verdicts.put(file, file.identity(), Verdict(False, "died"))
    assert Verdicts(tmp_path).get(file, file.identity()) == Verdict(False, "died")


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path: Path) -> None:
    file = model(tmp_path, "bpe")
    verdicts = Verdicts(tmp_path / "missing")
    verdicts.put(file, file.identity(), Verdict(True))
    assert verdicts.get(file, file.identity()) == Verdict(True)


def test_the_cache_is_bounded(tmp_path: Path) -> None:
    file = model(tmp_path, "bpe")
    identity = [library_build(), *(list(part) for part in file.identity())]
    entry = {"identity": identity, "verdict": {"extra_bufts": True, "crash": ""}}
    old = {f"1:/{number}": entry for number in range(MAX_VERDICTS)}
    (tmp_path / FILE_NAME).write_text(json.dumps(old))
    Verdicts(tmp_path).put(file, file.identity(), Verdict(True))
    kept = json.loads((tmp_path / FILE_NAME).read_text())
    assert len(kept) == MAX_VERDICTS
    assert "1:/0" not in kept
