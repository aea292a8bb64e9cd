"""Hashing access tokens: scrypt, one at a time, with a bounded line of callers.

Rules (contract, section 6): one hash is computed at a time, in a thread of its own
(`cryptography` releases the GIL while it computes, from version 50 on); 32 callers wait at
most, and one of a connection; whoever comes beyond that is refused at once with PktOverloaded.
Turns are given in the order of arrival. Each hash takes 32 MiB for some 0.1 s.
"""

from __future__ import annotations

import asyncio
import hmac
import os
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from infd.accounts.waiting import to_the_end
from infd_protocol.errors import PktOverloaded

T = TypeVar("T")

# The parameters of new hashes (contract, section 6).
SCRYPT_N = 2**15
SCRYPT_R = 8
SCRYPT_P = 1
SALT_BYTES = 16
DIGEST_BYTES = 32

WAITING_MAX = 32  # contract, section 6
RETRY_AFTER_S = 1  # a full line of 32 is through in about three seconds, so places are free sooner


@dataclass(frozen=True, slots=True)
class TokenHash:
    """A hashed access token with the parameters that it was made with."""

    salt: bytes
    digest: bytes
    n: int = SCRYPT_N
    r: int = SCRYPT_R
    p: int = SCRYPT_P

    def fits(self, token: str) -> bool:
        """Whether this is the token; takes as long as hashing does, whatever the answer."""
        return hmac.compare_digest(self.digest, _scrypt(token, self))


def _scrypt(token: str, like: TokenHash) -> bytes:
    # Here, because commands that hash nothing run where only the client is installed.
    from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

    # "surrogatepass": a token that no client can send must compare unequal, not fail.
    raw = token.encode(errors="surrogatepass")
    scrypt = Scrypt(salt=like.salt, length=DIGEST_BYTES, n=like.n, r=like.r, p=like.p)
    return scrypt.derive(raw)


def hash_token(token: str) -> TokenHash:
    """The token's hash under a new random salt."""
    blank = TokenHash(os.urandom(SALT_BYTES), b"")
    return TokenHash(blank.salt, _scrypt(token, blank))


def dummy_hash() -> TokenHash:
    """A hash that no token fits, for spending the same time on a user that does not exist."""
    return TokenHash(os.urandom(SALT_BYTES), os.urandom(DIGEST_BYTES))


class HashLine:
    """The line of those who want a token hashed."""

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="infd-hash")
        self._turn = asyncio.Lock()
        self._places = waiting_max + 1  # the one whose turn it is, and those waiting
        self._connections: set[int] = set()
        self._taken = 0

    @asynccontextmanager
    async def turn(self, connection: object) -> AsyncIterator[None]:
        """Wait for one's turn and hold it for the block; PktOverloaded at once if too many wait.

        Cancelling while waiting gives the place back.
        """
        if id(connection) in self._connections:
            raise PktOverloaded(
                "This connection already waits for a token to be checked; try again after that.",
                RETRY_AFTER=RETRY_AFTER_S,
            )
        if self._taken >= self._places:
            raise PktOverloaded(
                "Too many logins are waiting to be checked; try again in a moment.",
                RETRY_AFTER=RETRY_AFTER_S,
            )
        self._connections.add(id(connection))
        self._taken += 1
        try:
            async with self._turn:
                yield
        finally:
            self._connections.discard(id(connection))
            self._taken -= 1

    async def compute(self, work: Callable[[], T]) -> T:
        """Run `work` in the hashing thread; only inside `turn`.

        A caller that is cancelled leaves when the thread is through, so that the turn is never
        given to a second one beside it.
        """
        return await to_the_end(asyncio.get_running_loop().run_in_executor(self._pool, work))

    def close(self) -> None:
        """Let the running hash end and the thread go."""
        self._pool.shutdown(wait=True, cancel_futures=True)
