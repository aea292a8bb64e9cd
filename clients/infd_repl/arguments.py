"""The parser of `infc`'s command line: argparse, but what is wrong is told in one line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

PACKAGE = "infd"
"""What the package is called that the daemon, the client library and `infc` come in."""


class Parser(argparse.ArgumentParser):
    """One line on standard error for a wrong command line: what is wrong, and where help is.

    Parsers of subcommands are of this class too. What a subcommand does not know is its own
    error: argparse would leave it to the outermost parser, which knows nothing of it.
    """

    def parse_known_args(  # type: ignore[override]
        self, args: Sequence[str] | None = None, namespace: Any = None
    ) -> tuple[Any, list[str]]:
        """As argparse's, but nothing is left over: `error` is called for what is not known."""
        parsed, unknown = super().parse_known_args(args, namespace)
        if unknown:
            kind = "option" if unknown[0].startswith("-") else "argument"
            self.error(f"unknown {kind} {unknown[0]}")
        return parsed, []

    def error(self, message: str) -> NoReturn:
        """Exit with status 2."""
        line = " ".join(f"{self.prog}: {message}; see: {self.prog} --help".split())
        print(line, file=sys.stderr)
        raise SystemExit(2)


class Version(argparse.Action):
    """`--version`: the installed package's, looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(
            option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS,
            help="show the version and leave",
        )  # fmt: skip

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print it on one line; exit status 0."""
        from importlib import metadata  # it takes its time, and is rarely wanted

        try:
            version = metadata.version(PACKAGE)
        except metadata.PackageNotFoundError:
            version = "of a package that is not installed"
        print(f"{parser.prog} {version}")
        raise SystemExit(0)
