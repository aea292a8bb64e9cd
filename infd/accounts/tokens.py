"""Access tokens: making them, the rule for chosen ones, and recognising verified ones.

Rules: a token is kept only as its scrypt hash (hashing.py). A token that was verified once is
recognised again by a keyed hash in memory, under a key that lives as long as the process, so
that a login costs microseconds; any change of the user drops it.
"""

from __future__ import annotations

import hmac
import secrets
from hashlib import blake2b

from infd_protocol.errors import InfInvalidParams
from infd_protocol.values import CHECKS, Kind

TOKEN_BYTES = 32  # 256 random bits (contract, section 3)


def new_token() -> str:
    """256 random bits, URL-safe."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def check_token(token: str, key: str = "ACCTOK") -> str:
    """The chosen token itself; InfInvalidParams, naming `key`, if it breaks the rule."""
    try:
        CHECKS[Kind.NEW_ACCTOK](token)
    except UnicodeEncodeError:
        raise InfInvalidParams(f"{key} must be valid text (UTF-8).") from None
    except ValueError as error:
        raise InfInvalidParams(f"{key} {error}.") from None
    return token


class Recognition:
    """The verified tokens of this process: one a user, so no more entries than users."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)
        self._known: dict[str, bytes] = {}

    def _mark(self, username: str, token: str) -> bytes:
        # A user name holds no NUL, so name and token cannot run into each other.
        text = f"{username}\0{token}".encode(errors="surrogatepass")
        return blake2b(text, key=self._key, digest_size=32).digest()

    def remember(self, username: str, token: str) -> None:
        """Note that this token was verified for this user just now."""
        self._known[username] = self._mark(username, token)

    def knows(self, username: str, token: str) -> bool:
        """Whether this very token was verified for this user and nothing changed since."""
        mark = self._mark(username, token)
        return hmac.compare_digest(self._known.get(username, b""), mark)

    def drop(self, username: str) -> None:
        """Forget what was verified for this user."""
        self._known.pop(username, None)
