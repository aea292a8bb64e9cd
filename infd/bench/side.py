"""A process that computes without the daemon and answers in lines of JSON: the parent's end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from infd import children
from infd.closing import Closing


class SideError(Exception):
    """The process cannot run, or ended; one line for people."""


class Side(Closing):
    """The process, with one model loaded. A context manager."""

    def __init__(self, module: str, model: Path, **how: Any) -> None:
        """`python -m module` loads the model as `how` says. Raises SideError."""
        self._process = subprocess.Popen(
            children.command(module),
            env=children.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._model = model.name
        try:
            self.about = self._ask(do="load", path=str(model), **how)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()

    def _ask(self, **request: Any) -> dict[str, Any]:
        pipe_in, pipe_out = self._process.stdin, self._process.stdout
        assert pipe_in is not None
        assert pipe_out is not None
        try:
            pipe_in.write(json.dumps(request).encode() + b"\n")
            pipe_in.flush()
            line = pipe_out.readline()
        except OSError:
            line = b""
        if not line:
            raise SideError(
                f"the process that runs {self._model} without the daemon ended; try: infd doctor"
            )
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise SideError(f"{self._model}: {answer['error']}")
        return answer
