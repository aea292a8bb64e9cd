"""Where a daemon is and who asks: `infd://USER@HOST:PORT`, and where the access token is found.

Rules: an access token never stands in a URL (URLs end up in logs, histories and process
lists). It comes, in this order, from the call, from INFD_TOKEN, from the file that
INFD_TOKEN_FILE names, or from `infd/token` in the user's configuration folder
($XDG_CONFIG_HOME, else ~/.config). A token file that others can read is refused.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from infd_client.failures import AddressError

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 4633
"""I-N-F-D on a telephone's keypad."""

SCHEME = "infd"


@dataclass(frozen=True, slots=True)
class Address:
    """A daemon's address, and the user's name if the URL gave one."""

    host: str = DEFAULT_HOST
    port: int = DEFAULT_PORT
    username: str | None = None

    def __post_init__(self) -> None:
        if not self.host:
            raise AddressError("The host is empty; give a name or an IP address.")
        if not 0 < self.port < 65536:
            raise AddressError(f"The port {self.port} is not between 1 and 65535.")

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """The address as a URL."""
        user = f"{self.username}@" if self.username else ""
        return f"{SCHEME}://{user}{self}"

    @classmethod
    def from_url(cls, url: str) -> Address:
        """The address that `url` spells: `infd://[USER@]HOST[:PORT]`; IPv6 hosts in brackets.

        Raises AddressError for another scheme, a password, a path, or a malformed port.
        """
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise AddressError(f"The address {_blank(url)} is malformed: {error}.") from None
        if parts.password is not None:
            raise AddressError(
                "An address carries no access token or password, because addresses end up in "
                "logs and process lists: it belongs into INFD_TOKEN or a token file."
            )
        if parts.scheme != SCHEME or not parts.netloc:
            raise AddressError(
                f"The address {url!r} is none of the form {SCHEME}://USER@HOST:PORT."
            )
        if parts.path not in ("", "/") or parts.query or parts.fragment:
            raise AddressError(f"The address {url!r} has something after the port.")
        if not parts.hostname:
            raise AddressError(f"The address {url!r} names no host.")
        username = unquote(parts.username) if parts.username else None
        # urlsplit lowers the case of hostname; a zone id such as fe80::1%eth0 does not matter.
        return cls(parts.hostname, DEFAULT_PORT if port is None else port, username)


def _blank(url: str) -> str:
    """The URL without what might be a password."""
    head, at, tail = url.rpartition("@")
    return repr(f"{head.partition('://')[0]}://…@{tail}" if at else url)


def default_token_file(environ: Mapping[str, str] = os.environ) -> Path:
    """Where the token file is looked for when nothing names one."""
    base = environ.get("XDG_CONFIG_HOME") or ""
    folder = Path(base) if base.startswith("/") else Path.home() / ".config"
    return folder / "infd" / "token"


def find_token(
    token: str | None = None,
    token_file: str | os.PathLike[str] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> str | None:
    """The access token, or None if there is none anywhere.

    Raises AddressError for a named file that is missing, empty, or readable by others.
    """
    if token is not None:
        return token
    found = found_token(token_file, environ)
    return found[0] if found else None


def found_token(
    token_file: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ
) -> tuple[str, str] | None:
    """As `find_token`: the access token, and the variable or the file that it was in."""
    if token_file is None and environ.get("INFD_TOKEN"):
        return environ["INFD_TOKEN"], "INFD_TOKEN"
    named = token_file if token_file is not None else environ.get("INFD_TOKEN_FILE")
    path = Path(named) if named else default_token_file(environ)
    return (read_token(path), str(path)) if named or path.exists() else None


def read_token(path: Path) -> str:
    """The first line of a token file. Raises AddressError."""
    try:
        mode = path.stat().st_mode
        text = path.read_text("utf-8")
    except OSError as error:
        raise AddressError(f"The token file {path} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise AddressError(f"The token file {path} is not text.") from None
    if stat.S_ISREG(mode) and mode & 0o077:
        raise AddressError(f"The token file {path} is open to other users: chmod 600 {path}")
    token = text.partition("\n")[0].strip()
    if not token:
        raise AddressError(f"The token file {path} is empty.")
    return token
