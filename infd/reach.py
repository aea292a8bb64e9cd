"""How a command reaches a daemon's users and models: over the wire, or in the stopped one's folder.

- With --url, or with INFD_URL and neither --state nor --config: over the wire, and nowhere else.
- Else, if no daemon holds the state folder: in the folder (users only), without an access token.
- Else: over the wire, at the address where that daemon says that it serves; where no daemon holds
  the folder (or the folder cannot be looked into), at the one that the configuration gives.

Who names no folder may mean a daemon that runs on another one: if the usual folder was never
made, the daemon at the usual address is asked; what is done in it is said on standard error.

Over the wire, as whom: --user, else the URL's, else INFD_USER, else `admin`.
"""

from __future__ import annotations

import argparse
import getpass
import os
import shlex
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from infd import config
from infd.config import Config
from infd.failures import CommandError
from infd.settings import split_address
from infd.wire import Address, Operations, Wire, WireError
from infd_protocol.errors import InfAuthorizationFailed, InfdError, InfModelNameMismatch

if TYPE_CHECKING:
    from infd.accounts.offline import OfflineAccounts

ADMIN = "admin"
LOOPBACK = "127.0.0.1"


class ReachError(CommandError):
    """What is missing to reach the daemon; one line for people."""


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options that say which daemon, and as whom."""
    group = parser.add_argument_group("which daemon")
    group.add_argument("--state", metavar="DIR", help="its state folder")
    group.add_argument("--config", metavar="FILE", type=Path, help="its infd.toml")
    group.add_argument("--url", help="infd://USER@HOST:PORT of a running one (or INFD_URL)")
    group.add_argument(
        "--user", metavar="USER",
        help=f"who logs in to a running one (else the URL's user, INFD_USER, {ADMIN})",
    )  # fmt: skip
    group.add_argument(
        "--token-file", metavar="FILE", type=Path,
        help="holds your access token (or INFD_TOKEN, INFD_TOKEN_FILE; asked for on a terminal)",
    )  # fmt: skip


@contextmanager
def reach(given: argparse.Namespace, *, offline: bool) -> Iterator[Operations]:
    """The operations of the daemon that the options name; `offline`: a stopped one will do.

    Raises CommandError, and a login's InfdError.
    """
    named_here = given.state or given.config
    url = given.url or ("" if named_here else os.environ.get("INFD_URL", ""))
    if not url:
        settings = config.load(given.config, state=given.state)
        named = bool(given.state or given.config or os.environ.get("STATE_DIRECTORY"))
        made = named or _was_made(settings.state)
        accounts = _open_folder(settings) if offline and made else None
        if accounts is not None:
            from infd.models.registry import Registry
            from infd.stopped import StoppedDaemon

            listing = _refusals_explained("", "infd serve --check")
            try:
                with accounts, _plainly(), warnings_told(), listing:
                    yield StoppedDaemon(accounts, Registry(settings).names)
            finally:
                # Also where it failed: that may be because another folder was meant.
                if not named:
                    print(
                        f"infd: this was in {settings.state}, on which no daemon runs (--state "
                        f"DIR names another folder){_who_answers(settings)}", file=sys.stderr,
                    )  # fmt: skip
            return
        address = Address(*whereabouts(settings))
    else:
        address = Address.parse(url)
    user = given.user or address.user or os.environ.get("INFD_USER") or ADMIN
    whom = f"{user} at {address}"
    if url and not given.url:
        whom += " (of INFD_URL)"
    with _connected(address, lambda: "" if url else _how_to_start(given, settings)) as wire:
        token, source = _token(given.token_file, user)
        try:
            wire.login(user, token)
        except InfAuthorizationFailed as error:
            error.detail += (
                f" That was as {whom}, with the access token {source}. Another user is named with "
                "--user NAME, or INFD_USER."
            )
            raise
        with _refusals_explained(f"That was as {whom}.", "infd model list"):
            yield wire


@contextmanager
def _refusals_explained(whom: str, models: str) -> Iterator[None]:
    """Refusals say more: as whom it was asked (`whom`, a sentence or nothing), and which command
    lists the models (`models`)."""
    try:
        yield
    except InfAuthorizationFailed as error:
        error.detail = f"{error.detail} {whom}".rstrip()
        raise
    except InfModelNameMismatch as error:
        error.detail += f" See: {models}."
        raise


@contextmanager
def warnings_told() -> Iterator[None]:
    """What the models folder gives cause to warn of is told on standard error meanwhile."""
    from infd import logs

    logs.configure("console", "warning")
    try:
        yield
    finally:
        logs.close()


def _connected(address: Address, hint: Callable[[], str]) -> Wire:
    """A connection; if there is none, `hint` gives the rest of the line: what to do about it."""
    try:
        return Wire(address)
    except WireError as error:
        raise ReachError(f"{error}{hint()}") from None


def _how_to_start(given: argparse.Namespace, settings: Config) -> str:
    """The rest of a line that says that no daemon answers; "" if one holds the folder."""
    if not _was_made(settings.state):
        return (
            f", and {settings.state} holds no infd state: start the daemon, name its folder with "
            "--state DIR, or where it answers with --url infd://USER@HOST:PORT"
        )
    if is_running(settings.state):
        return ""
    where = ["--config", str(given.config)] if given.config else []
    if given.state or not given.config:
        where += ["--state", str(settings.state)]
    return (
        f": start it with infd serve {shlex.join(where)}, or name the folder of another with "
        "--state DIR"
    )


def _was_made(state: Path) -> bool:
    """Whether the folder holds users; one that cannot be looked into may."""
    from infd.accounts.store import DATABASE

    try:
        (state / DATABASE).stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True
    return True


def is_running(state: Path) -> bool:
    """Whether a daemon (or another command) holds the state folder."""
    from infd.accounts.store import serving

    return serving(state) is not None


def whereabouts(settings: Config) -> tuple[str, int]:
    """Host and port of the folder's daemon: an access token is nobody else's business.

    Raises ReachError if it does not serve.
    """
    from infd.accounts.store import serving

    told = serving(settings.state)
    if told == "":
        raise ReachError(
            f"{settings.state} is in use by another infd that does not serve (yet): try again in "
            "a moment, or name a daemon with --url"
        )
    host, port = split_address(told) if told else (settings.host, settings.port)
    return host if host not in ("", "0.0.0.0", "::") else LOOPBACK, port


def _who_answers(settings: Config) -> str:
    """A clause on the daemon at the usual address, which runs on another folder; "" without one."""
    try:
        address = Address(*whereabouts(settings))
        with Wire(address) as wire:
            wire.call("inf_hello")
    except (CommandError, InfdError):
        return ""
    return f"; the daemon that answers on {address} is asked with --url infd://{address}"


def _open_folder(settings: Config) -> OfflineAccounts | None:
    """The folder's accounts; None if a daemon runs on it."""
    from infd.accounts.offline import OfflineAccounts
    from infd.accounts.store import StoreError

    try:
        return OfflineAccounts(settings.state)
    except StoreError as error:
        # Asked only after opening failed: asking takes the lock for a moment.
        if is_running(settings.state):
            return None
        raise ReachError(str(error)) from None


@contextmanager
def _plainly() -> Iterator[None]:
    from infd.accounts.store import StoreError

    try:
        yield
    except StoreError as error:
        raise ReachError(str(error)) from error


def _read_token(file: Path) -> str:
    """The first line of a token file; by the rules of infd_client."""
    try:
        mode = file.stat().st_mode
        text = file.read_text("utf-8")
    except OSError as error:
        raise ReachError(f"{file}: the access token cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ReachError(f"{file}: the access token cannot be read (it is no text)") from None
    if stat.S_ISREG(mode) and mode & 0o077:
        raise ReachError(f"{file}: the token file is open to other users: chmod 600 {file}")
    token = text.partition("\n")[0].strip()
    if not token:
        raise ReachError(f"{file}: the token file is empty")
    return token


def _token(file: Path | None, user: str) -> tuple[str, str]:
    """The user's access token, and where it came from, in words. Raises ReachError without one:
    an empty one would count as a wrong one, and slow later logins down."""
    if file is not None:
        return _read_token(file), f"in {file}"
    if token := os.environ.get("INFD_TOKEN", ""):
        return token, "in INFD_TOKEN"
    if named := os.environ.get("INFD_TOKEN_FILE", ""):
        return _token(Path(named), user)
    if sys.stdin.isatty():
        try:
            if token := getpass.getpass(f"access token of {user}: "):
                return token, "that was typed"
        except (EOFError, KeyboardInterrupt) as end:
            print(file=sys.stderr)  # the cursor stands behind the question
            if isinstance(end, KeyboardInterrupt):
                raise
    raise ReachError(
        "no access token: set INFD_TOKEN, or name a file that holds it with --token-file (or "
        "INFD_TOKEN_FILE)"
    )
