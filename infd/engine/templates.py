"""A model's chat template, rendered by a helper process of its own.

Rules: a template is a program from a model file, so it never runs in the daemon. Its helper
(renderer.py) starts at the first rendering, serves all contexts of the model one after another,
is killed when a rendering takes longer than `RENDER_LIMIT`, and starts again at the next one.
A model without a template gets ChatML if its vocabulary has ChatML's tokens, else the contents
joined by newlines; these need no helper.
"""

from __future__ import annotations

import json
import os
import select
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from infd.engine.errors import TemplateError, TemplateRefused
from infd.engine.model import Model
from infd.engine.renderer import OUTPUT_LIMIT, Message, frame

# The contract's limit on the time of a rendering, in seconds (section 9).
RENDER_LIMIT = 1.0
# Starting an interpreter takes 0.1 s, on a machine that is busy elsewhere several.
START_LIMIT = 20.0
_LENGTH = struct.Struct(">I")
_CHATML = ("<|im_start|>", "<|im_end|>")
# JSON spells a character with up to 12 bytes (a surrogate pair in ASCII).
_ANSWER_LIMIT = 12 * OUTPUT_LIMIT + 1024


class Renderer:
    """Messages to the prompt's text for one model. Any thread may call it; one at a time."""

    def __init__(self, model: Model) -> None:
        known = {**model.vocabulary.control_spellings, **model.vocabulary.user_defined_spellings}
        self.source = model.template
        self._chatml = self.source is None and all(text in known for text in _CHATML)
        self._bos, self._eos = (
            model.piece(t, special=True).decode("utf-8", "replace") if t >= 0 else ""
            for t in (model.vocabulary.bos, model.vocabulary.eos)
        )
        self._lock = threading.Lock()
        self._helper: _Helper | None = None
        self._closed = False

    def render(self, messages: Sequence[Message]) -> str:
        """The prompt's text, ending with the generation prompt. Raises TemplateError."""
        if self.source is None:
            return self._render_plainly(messages)
        request = frame([list(message) for message in messages])
        with self._lock:
            if self._closed:
                raise TemplateError("the model is being unloaded")
            answer = self._ask(request, self.source)
        said = answer.get("error")
        if said is not None:
            raise TemplateRefused(f"the model's chat template fails on these messages: {said}")
        return answer["ok"]

    def _ask(self, request: bytes, source: str) -> dict[str, str]:
        """Ask the helper, a new one if there is none or it died since the last time."""
        for attempt in (1, 2):
            helper = self._helper
            fresh = helper is None
            if helper is None:
                helper = self._start(source)
            try:
                return helper.ask(request, RENDER_LIMIT)
            except _HelperError as error:
                helper.close()
                self._helper = None
                # One that died while it was idle was not killed by these messages.
                if error.timed_out or fresh or attempt == 2 or self._closed:
                    raise TemplateError(f"the model's chat template {error}") from None
        raise AssertionError("not reached")

    def _render_plainly(self, messages: Sequence[Message]) -> str:
        if not self._chatml:
            return "\n".join(text for _, text in messages)
        start, end = _CHATML
        turns = "".join(f"{start}{role}\n{text}{end}\n" for role, text in messages)
        return f"{turns}{start}assistant\n"

    def start(self) -> None:
        """Start the helper now, so that the first rendering need not. Raises TemplateError.

        That takes about 0.1 s; a template that does not compile says so at a rendering.
        """
        if self.source is not None:
            with self._lock:
                if self._helper is None and not self._closed:
                    self._start(self.source)

    def _start(self, source: str) -> _Helper:
        setup = {"template": source, "bos": self._bos, "eos": self._eos}
        try:
            self._helper = _Helper(frame(setup))
        except _HelperError as error:
            raise TemplateError(f"the model's chat template {error}") from None
        return self._helper

    def close(self) -> None:
        """End the helper, also in the middle of a rendering; twice is harmless."""
        self._closed = True
        helper = self._helper
        if helper is not None:
            helper.kill()
        with self._lock:
            if self._helper is not None:
                self._helper.close()
                self._helper = None


class _HelperError(Exception):
    def __init__(self, words: str, *, timed_out: bool = False) -> None:
        super().__init__(words)
        self.timed_out = timed_out


class _Helper:
    """A running `python -m infd.engine.renderer`, its pipes read and written with deadlines."""

    def __init__(self, setup: bytes) -> None:
        # Nothing of the daemon's environment is a template's business, its secrets least of all.
        keep = {k: v for k, v in os.environ.items() if k in ("PATH", "LANG", "LC_ALL", "TZ")}
        root = Path(__file__).resolve().parents[2]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "infd.engine.renderer"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd="/",
                env={**keep, "PYTHONPATH": os.pathsep.join([str(root), *filter(None, sys.path)])},
            )
        except OSError as error:
            raise _HelperError(f"has no process: {error.strerror or error}") from None
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in = self._process.stdin.fileno()
        self._out = self._process.stdout.fileno()
        os.set_blocking(self._in, False)
        os.set_blocking(self._out, False)
        try:
            self.ask(setup, START_LIMIT)
        except _HelperError:
            self.close()
            raise

    def ask(self, request: bytes, limit: float) -> dict[str, str]:
        deadline = time.monotonic() + limit
        try:
            rest = memoryview(request)
            while rest:
                self._wait(self._in, select.POLLOUT, deadline, limit)
                rest = rest[os.write(self._in, rest) :]
            (size,) = _LENGTH.unpack(self._read(_LENGTH.size, deadline, limit))
            if size > _ANSWER_LIMIT:
                raise _HelperError("gives too much text")
            answer: dict[str, str] = json.loads(self._read(size, deadline, limit))
        except (BrokenPipeError, ConnectionError):
            raise _HelperError("ended its helper process (does it need too much memory?)") from None
        return answer

    def _read(self, size: int, deadline: float, limit: float) -> bytes:
        parts: list[bytes] = []
        while size:
            self._wait(self._out, select.POLLIN, deadline, limit)
            part = os.read(self._out, min(size, 1 << 20))
            if not part:
                raise BrokenPipeError
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    @staticmethod
    def _wait(fd: int, event: int, deadline: float, limit: float) -> None:
        poll = select.poll()
        poll.register(fd, event)
        left = deadline - time.monotonic()
        if left <= 0 or not poll.poll(left * 1000):
            raise _HelperError(f"takes longer than {limit:g} s", timed_out=True)

    def kill(self) -> None:
        self._process.kill()

    def close(self) -> None:
        self._process.kill()
        with self._process:  # closes the pipes and reaps it
            pass
