"""Slowing down whoever guesses access tokens.

Rules (contract, section 6):
- Failures are counted for each (user, address), and for each user over all addresses from
  which nobody ever logged in as that user ("strange" ones).
- From the fifth failure on, the next guess must wait 1 s, then 2, 4, … 60 s after the last one.
  A login that comes too early is refused without being looked at, and does not count.
- A success clears the failures of its (user, address), and makes the address known. The count
  of the strange addresses is cleared only by a success from one of them: otherwise a user who
  logs in often would buy the guesser new tries.
- A known address is not slowed by what others do.
- An hour without a failure clears a count.
- A name that no user has is treated like any other.

Limits: each table holds so many entries, the least recently used goes first. An entry is
made only by a hashed guess (about ten a second), so pushing one out takes half an hour.

Pure: no clock, no I/O. `now` is in seconds of any clock that only goes forward.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from hashlib import blake2b

from infd.accounts.user import is_username

FREE_FAILURES = 5  # contract, section 6
DELAY_MAX_S = 60.0  # contract, section 6
FORGET_AFTER_S = 3600.0
TABLE_MAX = 16384


@dataclass(slots=True)
class _Count:
    failures: int
    last: float

    def wait(self, now: float) -> float:
        if self.failures < FREE_FAILURES or now - self.last >= FORGET_AFTER_S:
            return 0.0
        # 2**6 is past the longest delay: no need to compute with huge powers.
        delay = min(DELAY_MAX_S, 2.0 ** min(self.failures - FREE_FAILURES, 6))
        return max(0.0, self.last + delay - now)


class _Counts:
    def __init__(self, most: int) -> None:
        self._most = most
        self._counts: OrderedDict[Hashable, _Count] = OrderedDict()

    def __len__(self) -> int:
        return len(self._counts)

    def wait(self, key: Hashable, now: float) -> float:
        count = self._counts.get(key)
        return count.wait(now) if count else 0.0

    def add(self, key: Hashable, now: float) -> None:
        count = self._counts.setdefault(key, _Count(0, now))
        if now - count.last >= FORGET_AFTER_S:
            count.failures = 0
        count.failures += 1
        count.last = now
        self._counts.move_to_end(key)
        if len(self._counts) > self._most:
            self._counts.popitem(last=False)

    def clear(self, key: Hashable) -> None:
        self._counts.pop(key, None)


class Throttle:
    """Who must wait before the next guess."""

    def __init__(self, table_max: int = TABLE_MAX) -> None:
        self._table_max = table_max
        self._pairs = _Counts(table_max)
        self._strange = _Counts(table_max)
        self._known: OrderedDict[tuple[str, str], None] = OrderedDict()

    @staticmethod
    def _name(user: str) -> str:
        # A name from the wire may be as long as a frame; the tables must not keep it so.
        if is_username(user):
            return user
        return "\0" + blake2b(user.encode(errors="surrogatepass"), digest_size=32).hexdigest()

    def wait(self, user: str, address: str, now: float) -> float:
        """Seconds until a guess at this user's token is accepted from this address; 0: now."""
        pair = (self._name(user), address)
        wait = self._pairs.wait(pair, now)
        if pair not in self._known:
            wait = max(wait, self._strange.wait(pair[0], now))
        return wait

    def failed(self, user: str, address: str, now: float) -> None:
        """Count a wrong guess."""
        pair = (self._name(user), address)
        self._pairs.add(pair, now)
        if pair not in self._known:
            self._strange.add(pair[0], now)

    def succeeded(self, user: str, address: str) -> None:
        """Note that this user logged in from this address."""
        pair = (self._name(user), address)
        self._pairs.clear(pair)
        if pair not in self._known:
            self._strange.clear(pair[0])
        self._known[pair] = None
        self._known.move_to_end(pair)
        if len(self._known) > self._table_max:
            self._known.popitem(last=False)

    def forget(self, user: str) -> None:
        """The user was deleted: its known addresses are known no more."""
        name = self._name(user)
        for pair in [pair for pair in self._known if pair[0] == name]:
            del self._known[pair]

    def sizes(self) -> tuple[int, int, int]:
        """Entries for pairs, for users over strange addresses, and of known addresses."""
        return len(self._pairs), len(self._strange), len(self._known)
