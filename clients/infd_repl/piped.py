"""`infc ask` and `infc chat --lines`: for pipes. Only replies go to standard output."""

from __future__ import annotations

import argparse
import sys
from typing import Any

from infd_client import Chat, Client, ExecTokenLimitExceeded, Stream
from infd_repl import access, models
from infd_repl.keyvalues import standard_input
from infd_repl.plain import one_line, plain
from infd_repl.problems import COMMAND, why_cut, why_small


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
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("The message is not UTF-8.") from None
    shown = plain if sys.stdout.isatty() else str
    last = ""
    with access.client_for(given) as client:
        chat = _chat(client, given)
        try:
            _open(chat)
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
            for number, raw in enumerate(sys.stdin.buffer, 1):
                line = _text(raw, number)
                if line:
                    _open(chat)
                    print(one_line(_reply(chat, line)), flush=True)
        finally:
            access.leave(client)
    return 0


def _text(line: bytes, number: int) -> str:
    try:
        return line.decode().strip()
    except UnicodeDecodeError:
        raise ValueError(f"Line {number} of standard input is not UTF-8.") from None


def _open(chat: Chat) -> None:
    """Make the chat's context if it has none yet, and say so if it is a small one."""
    if chat.ctxid is None and (why := why_small(chat.open().ctxsize, chat.wanted)):
        print(f"infc: {why}", file=sys.stderr)


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
