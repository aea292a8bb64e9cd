"""Asking a subprocess whether a model file can be let into the daemon.

First as the settings say; when that process dies by a signal, again without repacked weights
(whose kernels some builds crash in); when that dies too, the file is refused. One at a time: a
probe takes as much memory as the model.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import Callable, Sequence
from pathlib import Path

import structlog

from infd import children
from infd.models.registry import ModelFile
from infd.models.verdicts import Verdict, Verdicts
from infd_protocol.errors import InfNotEnoughMemory, InfUnableToOpenModelFile

Command = Callable[[Path, bool], Sequence[str]]

KEPT_COMPLAINTS = 2000
"""Bytes of a dead probe's standard error that go to the log: the assertion stands at its end."""

_log = structlog.get_logger("infd.models")


def probe_command(path: Path, extra_bufts: bool) -> list[str]:
    """The command line that tries a file out."""
    flag = str(int(extra_bufts))
    return children.command(
        "infd.models.probe", "--extra-bufts", flag, "--parent", str(os.getpid()), "--",
        str(path.absolute()),
    )  # fmt: skip


class Prober:
    """`timeout` is seconds, 0 is no limit; `command` makes the command line of one attempt."""

    def __init__(
        self, verdicts: Verdicts, *, timeout: float, command: Command = probe_command
    ) -> None:
        self._verdicts = verdicts
        self._timeout = timeout
        self._command = command
        self._turn = asyncio.Lock()

    async def judge(self, model: ModelFile) -> Verdict:
        """How the file can be loaded, from the cache or by trying.

        Raises InfUnableToOpenModelFile, InfNotEnoughMemory. Cancelled, it ends the subprocess.
        """
        async with self._turn:
            try:
                identity = model.identity()
            except OSError as error:
                raise InfUnableToOpenModelFile(
                    f"Model {model.name}: {Path(error.filename).name}: {error.strerror}."
                ) from None
            verdict = self._verdicts.get(model, identity)
            if verdict is None:
                verdict = await self._try(model)
                self._verdicts.put(model, identity, verdict)
        if verdict.crash:
            raise InfUnableToOpenModelFile(
                f"Model {model.name}: llama.cpp {verdict.crash} on the file {model.path.name}; "
                "infd doctor tells whether the library or the file is at fault."
            )
        return verdict

    async def _try(self, model: ModelFile) -> Verdict:
        crash = ""
        for extra_bufts in (True, False) if model.settings.extra_bufts else (False,):
            crash = await self._attempt(model, extra_bufts)
            if not crash:
                return Verdict(extra_bufts)
        return Verdict(False, crash)

    async def _attempt(self, model: ModelFile, extra_bufts: bool) -> str:
        """Run one subprocess. Gives what it died of, or nothing when the file works."""
        process = await asyncio.create_subprocess_exec(
            *self._command(model.path, extra_bufts),
            stdin=DEVNULL, stdout=PIPE, stderr=PIPE, env=children.environment(),
        )  # fmt: skip
        try:
            async with asyncio.timeout(self._timeout or None):
                said, complaints = await process.communicate()
        except TimeoutError:
            raise InfUnableToOpenModelFile(
                f"Model {model.name}: trying out {model.path.name} took longer than "
                f"probe_timeout ({self._timeout:g} s)."
            ) from None
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        code = process.returncode or 0
        if code == -signal.SIGKILL:
            raise InfNotEnoughMemory(
                f"Model {model.name}: the process that tried out {model.path.name} was killed, "
                "most likely because memory ran out."
            )
        if code:
            _log.warning(
                "a model file ended its probe", model=model.name, path=str(model.path),
                extra_bufts=extra_bufts, status=code,
                said=complaints[-KEPT_COMPLAINTS:].decode("utf-8", "replace"),
            )  # fmt: skip
        if code < 0:
            return f"died of {signal.Signals(-code).name}"
        wrong = _error_in(said) if code == 0 else f"the probe ended with status {code}"
        if wrong:
            raise InfUnableToOpenModelFile(f"Model {model.name}: {wrong}.")
        return ""


def _error_in(said: bytes) -> str:
    try:
        answer = json.loads(said.splitlines()[-1])
        return str(answer.get("error", "")).rstrip(".")
    except (IndexError, ValueError, AttributeError):
        return "the probe gave no answer"
