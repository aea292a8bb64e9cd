"""Beginnings of prompts whose KV is kept, so that new contexts need not compute them again.

Rules:
- A shelf is one user's for one model, and nothing passes between shelves: a prompt that is found
  on a shelf is evaluated faster, so a shared one would tell one user what another has said.
- A prefix is found by its tokens, whole, for one layout of the KV. So another system prompt,
  another template, or a template that names the date, finds nothing of the old.
- All together take at most `limit` bytes. Who holds most gives way first, with what it has not
  used for the longest time: one user cannot push out the little that another has.
- A shelf that was forgotten takes nothing any more, also from contexts that still run: a user's
  name or a model's may come again and mean another.

Kept are the system message's end, and where several prompts of a user part: two conversations
that began alike make it likely that a third does. Used from every engine's thread; nothing is
computed or copied under the lock.
"""

from __future__ import annotations

import threading
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from infd.engine.heads import Heads
from infd.engine.snapshot import Snapshot
from infd.engine.state import common_prefix

LEAST = 32
"""Tokens: with fewer, evaluating a tiny model's takes about as long as the calls around a copy."""
LEAST_TOGETHER = 4
"""The same in a batch, whose prompts wait for each other's rows: what a template puts before every
message. By itself a short prompt is better left whole, and rounds as anybody else's does."""
LEAST_COMMON = 64
"""Tokens that prompts which are not known to have the same head must have in common."""
# A shelf's limits: a lookup compares with each prefix, and the beginnings are not counted.
MOST_PREFIXES = 8
_STARTS = 4
_START_TOKENS = 2048


@dataclass(slots=True)
class _Kept:
    layout: str
    snapshot: Snapshot
    used: int


class Shelf:
    """One user's prefixes of one model. Made by `Prefixes.shelf`."""

    def __init__(self, prefixes: Prefixes, user: str, model: str) -> None:
        self.user = user
        self.model = model
        self.heads = Heads()
        self._prefixes = prefixes
        self._lock = prefixes._lock
        self._kept: list[_Kept] = []
        self._starts: list[array[int]] = []
        self._most: int | None = None
        self._open = True

    @property
    def size(self) -> int:
        """What its prefixes take, in bytes."""
        return sum(kept.snapshot.size for kept in self._kept)

    def find(
        self, layout: str, prompt: array[int], *, beyond: int, least: int = LEAST
    ) -> Snapshot | None:
        """The longest prefix of `prompt`, if it has at least `least` tokens more than `beyond`.

        It never is the whole prompt: the last token's logits are needed.
        """
        with self._lock:
            best: _Kept | None = None
            longest = beyond + least - 1
            for kept in self._kept:
                n = len(kept.snapshot.tokens)
                if (
                    longest < n < len(prompt)
                    and kept.layout == layout
                    and prompt[:n] == kept.snapshot.tokens
                ):
                    best, longest = kept, n
            if best is None:
                return None
            best.used = self._prefixes._use()
            return best.snapshot

    def stops(
        self, prompt: array[int], *, head: int, done: int, least: int = LEAST
    ) -> list[int]:
        """Where an evaluation of the prompt after `done` tokens should stop to be copied: after
        the `head` tokens that such prompts begin with, from `least` on, and where the prompts of
        the user part."""
        with self._lock:
            if not self._open:
                return []
            last = len(prompt) - 1
            found = [min(head, last)] if head >= least else []
            common = max((common_prefix(start, prompt) for start in self._starts), default=0)
            if common >= LEAST_COMMON and abs(min(common, last) - head) >= LEAST:
                found.append(min(common, last))
            most = last if self._most is None else self._most
        more = LEAST if done else least
        return sorted(n for n in found if done + more <= n <= most)

    def begins(self, prompt: array[int]) -> None:
        """A context that held nothing begins with this prompt."""
        with self._lock:
            if self._open:
                self._starts.append(prompt[:_START_TOKENS])
                del self._starts[:-_STARTS]

    def put(self, layout: str, snapshot: Snapshot) -> bool:
        """Keep it; False: it is larger than all may be, or nothing is kept here any more."""
        if snapshot.size > self._prefixes.limit:
            self._most = len(snapshot.tokens) - 1
            return False
        with self._lock:
            if not self._open:
                return False
            self._kept = [
                k for k in self._kept if (k.layout, k.snapshot.tokens) != (layout, snapshot.tokens)
            ]
            self._kept.append(_Kept(layout, snapshot, self._prefixes._use()))
            if len(self._kept) > MOST_PREFIXES:
                self._kept.remove(min(self._kept, key=lambda k: k.used))
            self._prefixes._make_room()
        return True

    def _empty(self) -> None:
        self._kept.clear()
        self._starts.clear()
        self.heads = Heads()


class Prefixes:
    """The shelves of all users and models; `limit` in bytes is for all together."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._lock = threading.Lock()
        self._shelves: dict[tuple[str, str], Shelf] = {}
        self._uses = 0

    @property
    def size(self) -> int:
        """What all prefixes take, in bytes."""
        with self._lock:
            return self._size()

    def shelf(self, user: str, model: str) -> Shelf | None:
        """The shelf of a user and a model, by their names; None: nothing is to be kept."""
        if not self.limit:
            return None
        with self._lock:
            key = (user, model)
            if key not in self._shelves:
                self._shelves[key] = Shelf(self, user, model)
            return self._shelves[key]

    def empty(self, user: str) -> None:
        """The user's system prompt changed: what began with it is of no use."""
        with self._lock:
            for shelf in self._of(user, None):
                shelf._empty()

    def forget(self, *, user: str | None = None, model: str | None = None) -> None:
        """The user is gone, the model is unloaded, or the user may not use it any more. The
        shelves take nothing from then on; the next of that name is a new one."""
        with self._lock:
            for shelf in list(self._of(user, model)):
                shelf._empty()
                shelf._open = False
                del self._shelves[shelf.user, shelf.model]

    # Under the lock.

    def _of(self, user: str | None, model: str | None) -> Iterator[Shelf]:
        return (
            shelf for shelf in self._shelves.values()
            if user in (None, shelf.user) and model in (None, shelf.model)
        )  # fmt: skip

    def _use(self) -> int:
        self._uses += 1
        return self._uses

    def _size(self) -> int:
        return sum(shelf.size for shelf in self._shelves.values())

    def _make_room(self) -> None:
        total = self._size()
        while total > self.limit:
            by_user: Counter[str] = Counter()
            for shelf in self._shelves.values():
                by_user[shelf.user] += shelf.size
            user = by_user.most_common(1)[0][0]
            shelf, kept = min(
                ((shelf, kept) for shelf in self._of(user, None) for kept in shelf._kept),
                key=lambda pair: pair[1].used,
            )
            shelf._kept.remove(kept)
            total -= kept.snapshot.size
