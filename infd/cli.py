"""The command `infd`: parses, runs one of `commands/`, and tells errors in one line.

Exit status: 0 done; 1 refused or failed; 2 wrong usage; 130 ended from the keyboard. No traceback
reaches a person: what nobody foresaw is one line; `infd serve` names an incident whose traceback
stands in its log, other commands show theirs with INFD_TRACEBACK=1.
"""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
import traceback
from collections.abc import Sequence

from infd import __version__, commands
from infd.arguments import Parser
from infd.failures import INSTALL, CommandError
from infd_protocol.errors import InfdError

SERVER_EXTRAS = ("cryptography", "jinja2", "llama_cpp", "numpy", "structlog", "uvloop")


def parser() -> Parser:
    """The whole command line; every module of `infd.commands` adds its own part."""
    top = Parser(
        prog="infd", description="A daemon that serves language models on your own machine."
    )
    top.add_argument("--version", action="version", version=f"infd {__version__}")
    subparsers = top.add_subparsers(title="commands", metavar="COMMAND", required=True)
    for module in sorted(pkgutil.iter_modules(commands.__path__), key=lambda found: found.name):
        importlib.import_module(f"{commands.__name__}.{module.name}").register(subparsers)
    return top


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; gives the exit status."""
    try:
        return _run(arguments)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # Who read our output has gone; the interpreter would complain when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 1
    except Exception as error:
        return _complain(error)


def _run(arguments: Sequence[str] | None) -> int:
    """Parse and run; standard output is flushed here, where a broken pipe can still be caught."""
    try:
        given = parser().parse_args(arguments)
        status: int = given.run(given)
        return status
    finally:
        sys.stdout.flush()


def _complain(error: Exception) -> int:
    if isinstance(error, CommandError):
        print(f"infd: {error}", file=sys.stderr)
        return error.status
    if isinstance(error, InfdError):
        print(f"infd: {error.detail} ({error.name})", file=sys.stderr)
        return 1
    if isinstance(error, ModuleNotFoundError) and error.name in SERVER_EXTRAS:
        # In its folder, not by its name: what an index has under that name may be another.
        print(f"infd: {error.name} is missing: in infd's folder, {INSTALL}", file=sys.stderr)
        return 1
    if os.environ.get("INFD_TRACEBACK"):
        traceback.print_exception(error)
    words = " ".join(f"{type(error).__name__}: {error}".split())
    print(f"infd: unexpected failure: {words} (INFD_TRACEBACK=1 shows where)", file=sys.stderr)
    return 1
