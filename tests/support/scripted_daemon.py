"""The daemon with an engine that misbehaves on demand: `python scripted_daemon.py serve …`.

It takes the real daemon's arguments, and is the real daemon but for hooks in the engine and in
one handler. A hook looks for the file SCRIPT/NAME (the folder is in the environment variable
INFD_SCRIPT) when it is passed, and does what stands in it:

    fail TEXT   raises the engine's error with this text
    crash TEXT  raises an error that nobody foresaw
    hold        waits until the test opens SCRIPT/NAME.gate for writing, and closes it
    hold TEXT   the same, and then raises the engine's error with this text

Hooks: "open" (a context's engine is made), "prepare" (a prompt is templated), "prompt" (a run
begins, dedicated placement only), "token" (before each token's decode), "listing"
(inf_get_program_models).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

SCRIPT = "INFD_SCRIPT"


class Script:
    """What the test writes and the daemon reads. The test's side makes and opens it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def env(self) -> dict[str, str]:
        return {SCRIPT: str(self.folder)}

    def on(self, hook: str, what: str) -> None:
        """From now on, this happens at the hook."""
        if what.partition(" ")[0] == "hold":
            gate = self.folder / f"{hook}.gate"
            gate.unlink(missing_ok=True)
            os.mkfifo(gate)
        partial = self.folder / f".{hook}"
        partial.write_text(what)
        partial.rename(self.folder / hook)

    def off(self, hook: str) -> None:
        """From now on, nothing does. Who waits at the hook goes on waiting."""
        (self.folder / hook).unlink()

    def held(self, hook: str) -> Callable[[], None]:
        """Wait until somebody waits at the hook; what lets that one go on (the hook is off)."""
        gate = os.open(self.folder / f"{hook}.gate", os.O_WRONLY)
        self.off(hook)
        return lambda: os.close(gate)

    def passes(self, hook: str, error: type[Exception]) -> None:
        """The daemon's side: do what is written for the hook."""
        try:
            verb, _, text = (self.folder / hook).read_text().partition(" ")
        except FileNotFoundError:
            return
        if verb == "hold":
            with (self.folder / f"{hook}.gate").open("rb") as gate:
                gate.read()
        if text or verb != "hold":
            raise (LookupError if verb == "crash" else error)(text)


def patch(script: Script) -> None:
    """Put the hooks into the engine and the handler."""
    from infd import operations
    from infd.dispatch import HANDLERS
    from infd.engine import generation, seat, worker
    from infd.engine.context import LlamaContext
    from infd.engine.errors import ContextError, EngineError, TemplateError
    from infd.engine.instance import Instance

    assert operations

    def before(owner: Any, name: str, hook: str, error: type[Exception]) -> None:
        original = getattr(owner, name)

        def hooked(*arguments: Any, **keys: Any) -> Any:
            script.passes(hook, error)
            return original(*arguments, **keys)

        setattr(owner, name, hooked)

    before(generation.Engine, "open", "open", ContextError)
    before(generation.Engine, "_run", "prompt", EngineError)
    before(worker.Worker, "_prepare", "prepare", TemplateError)
    before(LlamaContext, "decode_one", "token", EngineError)
    # In a batch: a seat is made, and a step without a prompt's piece.
    before(seat.Seat, "open", "open", ContextError)
    step = Instance.decode

    def hooked_step(instance: Instance, rows: Any) -> Any:
        if all(len(row.tokens) == 1 for row in rows):
            script.passes("token", EngineError)
        return step(instance, rows)

    Instance.decode = hooked_step  # type: ignore[method-assign]
    listing = HANDLERS["inf_get_program_models"]

    def hooked_listing(call: Any) -> Any:
        script.passes("listing", RuntimeError)
        return listing(call)

    HANDLERS["inf_get_program_models"] = hooked_listing


if __name__ == "__main__":
    patch(Script(Path(os.environ[SCRIPT])))
    from infd.cli import main

    sys.exit(main())
