"""`infc ask` and `infc chat --lines`: for pipes. Only replies go to standard output."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from infd_client import Chat, Client, ExecTokenLimitExceeded, Stream
from infd_repl import access, models
from infd_repl.keyvalues import standard_input
from infd_repl.plain import one_line, plain
from infd_repl.problems import COMMAND, why_cut


def sampling_of(given: argparse.Namespace) -> dict[str, Any]:
    """The keys of exec_execute_input that were given as options."""
    options = {"max_tokens": given.max_tokens, "temp": given.temp, "seed": given.seed}
    return {name: value for name, value in options.items() if value is not None}


def _chat(client: Client, given: argparse.Namespace) -> Chat:
    access.log_in(client, given, ask=sys.stdin.isatty())
    return client.chat(
        model=models.settle(client, given.model), ctxsize=given.context, system=given.system,
        **sampling_of(given),
    )  # fmt: skip


def ask(given: argparse.Namespace) -> int:
    """One message, its reply as it comes; the message `-` is standard input."""
    text = standard_input() if given.text == "-" else given.text
    if not text.strip():
        raise ValueError("The message is empty.")
    shown = plain if sys.stdout.isatty() else str
    last = ""
    with access.client_for(given) as client:
        chat = _chat(client, given)
        try:
            stream = chat.send(text)
            for piece in stream:
                sys.stdout.write(shown(piece))
                sys.stdout.flush()
                last = piece
        finally:
            access.leave(client)
    if not last.endswith("\n"):
        print(flush=True)
    _tell_if_cut(chat, stream)
    return 0


def lines(given: argparse.Namespace) -> int:
    """One conversation: each line of standard input is a message, each reply one line.

    Newlines inside a reply are printed as spaces. A conversation that has become longer than
    the context begins anew, which standard error is told.
    """
    with access.client_for(given) as client:
        chat = _chat(client, given)
        try:
            for line in sys.stdin:
                if line.strip():
                    print(one_line(_reply(chat, line.strip())), flush=True)
        finally:
            access.leave(client)
    return 0


def _reply(chat: Chat, text: str) -> str:
    try:
        stream = chat.send(text)
    except ExecTokenLimitExceeded:
        if len(chat.history) == 0:
            raise
        print("infc: the conversation has filled the context and begins anew", file=sys.stderr)
        chat.clear()
        stream = chat.send(text)
    reply = stream.read()
    _tell_if_cut(chat, stream)
    return reply


def _tell_if_cut(chat: Chat, stream: Stream) -> None:
    most = chat.sampling.get("max_tokens")
    if why := why_cut(stream.result, COMMAND, size=chat.ctxsize, most=most):
        print(f"infc: {why}", file=sys.stderr)
