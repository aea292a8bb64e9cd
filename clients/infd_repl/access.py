"""How `infc` gets to a daemon: address, name and token, and a session.

Address: --url, else INFD_URL, else infd://127.0.0.1:4633. Name: --user, else the URL's, else
INFD_USER. Token: INFD_TOKEN, a token file (--token-file, INFD_TOKEN_FILE, the one in the
configuration folder), or typed unseen at a terminal. It is never a command-line argument.
"""

from __future__ import annotations

import argparse
import contextlib
import getpass
import os
import sys
import threading
from collections.abc import Callable, Iterator

from infd_client import (
    Address,
    AddressError,
    Client,
    ClientError,
    InfAuthorizationFailed,
    InfdError,
)
from infd_client.address import DEFAULT_HOST, found_token

FIRST_ANSWER = 10.0
"""Seconds that what listens has for saying that it is a daemon; one that serves does so at once."""

SLOW = 1.0
"""Seconds after which a person at a terminal is told what is being waited for."""

LEAVE_SECONDS = 2.0
"""How long the end of a session may take on the way out; the daemon ends it anyway, later."""

TRIES = 3
"""How often a token may be mistyped before `infc` gives up."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of everything that connects."""
    parser.add_argument(
        "--url", metavar="infd://USER@HOST:PORT",
        help=f"where the daemon is (else INFD_URL, else infd://{DEFAULT_HOST}:4633)",
    )  # fmt: skip
    parser.add_argument("--user", help="who logs in (else the URL's user, else INFD_USER)")
    parser.add_argument(
        "--token-file", metavar="FILE",
        help="file with the access token (else INFD_TOKEN, INFD_TOKEN_FILE, ~/.config/infd/token)",
    )  # fmt: skip


def client_for(
    given: argparse.Namespace, on_change: Callable[[str], object] | None = None
) -> Client:
    """A client for the address that was given; it is not yet connected."""
    url = given.url or os.environ.get("INFD_URL") or f"infd://{DEFAULT_HOST}"
    address = Address.from_url(url)
    username = given.user or address.username or os.environ.get("INFD_USER")
    return Client(
        address.host, address.port, username=username, token_file=given.token_file,
        on_change=on_change,
    )  # fmt: skip


def own_token(given: argparse.Namespace) -> str:
    """The caller's access token. Raises AddressError if it is nowhere."""
    return _found(found_token(given.token_file))[0]


def _found(found: tuple[str, str] | None) -> tuple[str, str]:
    if found is None:
        raise AddressError(
            "No access token: set INFD_TOKEN, or write it to ~/.config/infd/token (chmod 600)."
        )
    return found


def connect(client: Client, slow: Callable[[], object] | None = None) -> None:
    """Make sure that a daemon is there, before anything is asked of it. Raises ClientError.

    `slow` is called, in a thread of its own, if that takes a while.
    """
    with _after(SLOW, slow) if slow else contextlib.nullcontext():
        client.connect(timeout=FIRST_ANSWER)


@contextlib.contextmanager
def _after(seconds: float, work: Callable[[], object]) -> Iterator[None]:
    """Do the work once the block has taken so long; never after it."""
    timer = threading.Timer(seconds, work)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def open_session(client: Client, username: str, token: str) -> None:
    """Log in. Raises InfAuthorizationFailed in words for a person, who knows no names of keys."""
    try:
        client.login(username, token)
    except InfAuthorizationFailed as error:
        said = error.detail.replace("USERNAME", "the name").replace("ACCTOK", "the access token")
        error.detail = said[:1].upper() + said[1:]
        raise


def log_in(
    client: Client, given: argparse.Namespace, *, ask: bool,
    slow: Callable[[], object] | None = None,
) -> tuple[str, str]:  # fmt: skip
    """Open a session; the name and the token that did. `ask`: for what is missing. `slow`: see
    `connect`."""
    connect(client, slow)
    username = client.address.username
    if not username and ask:
        # Not input()'s own prompt: that would go to standard output, which may be a pipe.
        print("User: ", end="", file=sys.stderr, flush=True)
        username = input().strip()
    if not username:
        raise AddressError("Who logs in? Give --user NAME, or a URL infd://USER@HOST:PORT.")
    found = found_token(given.token_file)
    if found is not None or not ask:
        token, where = _found(found)
        try:
            open_session(client, username, token)
        except InfAuthorizationFailed as error:
            error.detail += (
                f" That was as {username} at {client.address}, with the access token in {where}."
            )
            raise
        return username, token
    return username, ask_token(client, username)


def ask_token(client: Client, username: str) -> str:
    """Have the token typed, unseen, and open a session with it; the token that did.

    Raises EOFError for Ctrl-D, InfAuthorizationFailed after too many tries.
    """
    for left in reversed(range(TRIES)):
        token = getpass.getpass(f"Access token of {username}: ")
        try:
            open_session(client, username, token)
            return token
        except InfAuthorizationFailed as error:
            if not left:
                raise
            print(error.detail, file=sys.stderr)
    raise AssertionError("unreachable")


def leave(client: Client) -> None:
    """End the session, if that is possible; how it ends is nobody's concern any more."""
    if client.stok is not None:
        with contextlib.suppress(InfdError, ClientError):
            client.inf_destroy_session(timeout=LEAVE_SECONDS)
