"""Failures of commands, in words for people."""

from __future__ import annotations


class CommandError(Exception):
    """What is wrong and what to do, in one line; `status` is the command's exit status."""

    status = 1


class UsageError(CommandError):
    """The command line cannot be meant so."""

    status = 2
