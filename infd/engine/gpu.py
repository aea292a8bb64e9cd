"""Who computes next on a GPU: the rules of policy.py where many calls share one device.

A GPU divides itself among the calls that it is given, nearly evenly. So what is divided here is
calls in flight, and how many there are is no matter of room: one call alone leaves most of a GPU
idle between two tokens, and a user of many contexts would take more of it with each.

- Nobody has more calls in flight than the least that a user who is there could use, and at least
  one. Alone, a user has as many as it has contexts.
- There is who waits or computes, and who did until a moment ago: between two replies nobody is to
  find the GPU full of another's calls. Background work does not count.
- Background work gets a call when nobody else computes, and once a second (policy.py).
- Where the calls do not suffice for all, policy.py ranks who waits.

Limits: calls are counted, not what each of them costs. A user whose contexts are fewer than
another's holds that one to as many, also where the GPU could do more.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from infd.engine.place import Place, Share
from infd.engine.policy import PAUSE, Policy


class GpuPolicy(Policy):
    """See the head of this module. Each call holds one of `calls`."""

    def __init__(self, calls: int) -> None:
        super().__init__(calls)
        self._resting: list[Place] = []
        """Who left a moment ago."""

    def dispatch(self, now: float) -> list[Place]:
        """See Policy."""
        self._resting = [
            p for p in self._resting if now - p.left < PAUSE and not (p.held or p.waiting)
        ]
        # Who rests counts as one call, and only if nothing else of its user counts: a bound that
        # fell by the passing of time alone would bind nobody before somebody comes or goes.
        able = _users((*self.running, *self.queue)) | Counter(set(_users(self._resting)))
        self.most = min(
            (min(n, max(1, share.max_threads)) for share, n in able.items()), default=self.cores
        )
        return super().dispatch(now)

    def hungry(self, but: Iterable[Place] = ()) -> list[Place]:
        """Whoever computes: it would have what another's call takes of the GPU."""
        return [place for place in self.running if not place.background]

    def _away(self, place: Place, now: float) -> None:
        super()._away(place, now)
        self._resting.append(place)

    def _room(self, place: Place) -> int:
        if len(place.parts) > 1:
            return self.cores
        share = place.parts[0][0]
        # A part of a call of several users is no call of its own: who has but that has room.
        return min(max(1, share.max_threads), self.most) - share.own

    def _make_room(self, waiting: list[Place]) -> bool:
        return False

    def within(self, place: Place) -> bool:
        """See Policy."""
        return len(place.parts) > 1 or self._room(place) >= 0


def _users(places: Iterable[Place]) -> Counter[Share]:
    """How many of the places, background work aside, each user has a part in."""
    return Counter(share for place in places if not place.background for share, _ in place.parts)
