"""`infc` at a pseudo-terminal, and a scripted daemon for it to talk to."""

from __future__ import annotations

import os
import re
import shlex
import sys
from contextlib import contextmanager

import pexpect
from support.scripted_server import ScriptedServer, refusing

ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]")


class Terminal:
    """`infc` on a pseudo-terminal. `shell`: as a job of a shell there, whose prompt is `PROMPT`."""

    PROMPT = "the shell: "
    PROMPTED = re.compile(r"\x1b\[\?2004h\x1b\[\?(?:1|25)l")
    """What prompt_toolkit writes when it opens a prompt, and nobody else here does: bracketed
    paste is on while a reply is printed, too."""

    def __init__(self, url, token, home, *arguments, name="infd_repl", shell=False):
        variables = {**os.environ, "INFD_URL": url, "XDG_STATE_HOME": str(home / "state"),
                     "XDG_CONFIG_HOME": str(home / "config"), "PROMPT_TOOLKIT_NO_CPR": "1",
                     "TERM": "xterm", "COLUMNS": "100", "LINES": "40", "PS1": self.PROMPT,
                     "ENV": ""}  # fmt: skip
        variables.pop("INFD_TOKEN", None)
        if token is not None:
            variables["INFD_TOKEN"] = token
        command = [sys.executable, "-W", "error", "-m", name, *arguments]
        first, *rest = ["/bin/sh", "-i"] if shell else command
        self.child = pexpect.spawn(
            first, rest, env=variables, encoding="utf-8", timeout=60, dimensions=(40, 100),
        )  # fmt: skip
        self.child.delaybeforesend = None
        if shell:
            self.expect(self.PROMPT)
            self.child.send(shlex.join(command) + "\r")

    def expect(self, text):
        """Wait for this text; what came before it."""
        self.child.expect_exact(text)
        return ESCAPES.sub("", self.child.before)

    def ready(self):
        """Wait for the prompt; what came before it."""
        self.child.expect(self.PROMPTED)
        return ESCAPES.sub("", self.child.before)

    def say(self, text):
        """Type a line and send it, at the prompt that is open."""
        self.child.send(text + "\r")
        self.expect("\x1b[?2004l")

    def answer(self, text):
        """Say it; what is printed until the next prompt."""
        self.say(text)
        return self.ready()

    def leave(self):
        self.child.send("\x04")
        self.child.expect(pexpect.EOF)
        self.child.close()
        assert (self.child.exitstatus, self.child.signalstatus) == (0, None)


@contextmanager
def at_terminal(*given, **options):
    terminal = Terminal(*given, **options)
    try:
        yield terminal
    finally:
        terminal.child.close(force=True)


@contextmanager
def scripted(tmp_path, *, shell=False, **script):
    with ScriptedServer(**script) as server:
        server.handlers.setdefault(
            "inf_get_context_status", refusing(2010, MODEL="scripted", CTXSIZE=99, TOKENS_USED=1)
        )
        url = f"infd://ada@127.0.0.1:{server.port}"
        given = (url, "ada's token", tmp_path, "--context", "99")
        with at_terminal(*given, shell=shell) as terminal:
            terminal.ready()
            yield server, terminal


def said(printed):
    """What is printed, whatever the lines it is broken into."""
    return " ".join(printed.split())
