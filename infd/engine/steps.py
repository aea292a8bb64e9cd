"""Who takes part in a batch's next step, and with how many tokens. Pure.

Rules:
- A step is of replies, a token of each, or of prompts, a piece of each; they take turns. All
  pieces together have at most the step's budget, and those of one user at most its BATCH_SET.
- A prompt beside replies is computed aside, where that is possible (aside.py); then the replies
  have their steps meanwhile. Else budgets are small beside replies, unless all of these are of
  users who wait for prompts of their own that count for more (`disturbed`).
- Prompts are served one after another, the least served user's first, the oldest first within a
  user: two halves at once would end no sooner than the later of the two. What is left of a budget
  goes to others in pieces as long as the first: only those are computed together.
- A background run (far ahead of its reader) takes part when nobody else would, and once a second.
- A user who got more processor time than its MAX_PROC_THREADS pauses until it has not (`Meter`).
- Where users have different numbers of runs, steps have so few rows that they stay short
  (`Rhythm.width`), but one of each user; the others follow in turn (`Rota`). So it is where there
  are fewer slots than runs.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from infd.engine.rhythm import GRAIN_ALONE, Rhythm
from infd.engine.scheduler import STARVED, Share

# Seconds between two changes of who takes part, at least: a change copies two caches, which takes
# at most `COPYING` of the time.
TENURE = 0.25
COPYING = 0.05
# Rounding of sums of seconds.
_EPSILON = 1e-9
# What a user's prompts may take, in seconds, to be computed in long steps beside its own replies.
BURST = 2.0
# How far a user may be ahead of its MAX_PROC_THREADS, in seconds of processor time, before it
# pauses: changing who takes part costs the copying of caches.
GRACE = 0.25


@dataclass(slots=True, eq=False)
class Want:
    """One run that could take part. `left` counts the tokens before its next one is drawn."""

    share: Share
    left: int
    batch: int
    """The user's BATCH_SET."""
    background: bool = False
    arrived: int = 0
    """The order of arrival."""
    served: float = 0.0
    """When it last took part, in seconds."""
    takes: int = 0
    """The plan: how many tokens it brings; 0 is none."""

    @property
    def in_prompt(self) -> bool:
        return self.left > 1


@dataclass(slots=True)
class Meter:
    """One user's processor time in a batch against its MAX_PROC_THREADS."""

    share: Share
    debt: float = 0.0
    paused: bool = False
    at: float = 0.0

    def charge(self, processor: float, now: float) -> None:
        """`processor` seconds were computed for the user up to `now`."""
        allowed = max(1, self.share.max_threads) * max(0.0, now - self.at)
        self.debt = max(0.0, self.debt + processor - allowed)
        self.at = now
        self.paused = self.debt > (_EPSILON if self.paused else GRACE)

    @property
    def wait(self) -> float:
        """Seconds until a paused user goes on."""
        return self.debt / max(1, self.share.max_threads) if self.paused else 0.0


@dataclass(slots=True)
class Meters:
    """The meters of all users that have runs."""

    by_share: dict[int, Meter] = field(default_factory=dict)

    def of(self, share: Share, now: float) -> Meter:
        """The user's meter; a new one begins now."""
        meter = self.by_share.get(id(share))
        if meter is None:
            meter = self.by_share[id(share)] = Meter(share, at=now)
        return meter

    def charge(self, parts: Sequence[tuple[Share, float]], processor: float, now: float) -> None:
        """Divide `processor` seconds among the users of a step; the others' debts shrink."""
        weights = {id(share): weight for share, weight in parts}
        for key, meter in self.by_share.items():
            meter.charge(processor * weights.get(key, 0.0), now)

    @property
    def pausing(self) -> bool:
        """Whether anybody is to wait."""
        return any(meter.paused for meter in self.by_share.values())

    def keep(self, shares: Sequence[Share]) -> None:
        """Forget all but these and those who pause."""
        kept = {id(share) for share in shares}
        for key in [k for k, m in self.by_share.items() if k not in kept and m.debt <= 0]:
            del self.by_share[key]


def plan(wants: Sequence[Want], *, budget: int) -> list[Want]:
    """How many tokens each brings (`takes`) to a step of prompts, if all are in their prompts, or
    of replies; those that bring any, in the order given.

    `budget`: tokens of prompts. None of the wants is paused.
    """
    room: dict[int, int] = {}
    longest = budget
    for want in sorted(wants, key=_served_first):
        if not want.in_prompt:
            want.takes = 1
            continue
        key = id(want.share)
        mine = room.setdefault(key, want.batch)
        want.takes = max(0, min(want.left, mine, budget, longest))
        room[key] -= want.takes
        budget -= want.takes
        longest = want.takes or longest
    return [w for w in wants if w.takes]


def _served_first(want: Want) -> tuple[float, int]:
    return want.share.served, want.arrived


def narrow(wants: Sequence[Want], width: Callable[[], int]) -> int:
    """How many runs may take part: all, unless users have different numbers of them; then as many
    as `width` says, but one of each user."""
    counts = Counter(id(w.share) for w in wants if not w.background).values()
    if not counts or min(counts) == max(counts):
        return len(wants)
    return max(width(), len(counts))


def settled(wants: Sequence[Want], chosen: Sequence[Want]) -> bool:
    """Whether `chosen`, whose step is due, will be chosen again until a run comes or goes: they
    are all there are, and replies, and users have the same number of them."""
    counts = Counter(id(w.share) for w in wants).values()
    return (
        len(chosen) == len(wants)
        and min(counts) == max(counts)
        and not any(w.in_prompt for w in wants)
    )


def disturbed(wants: Sequence[Want], seconds: Callable[[int], float]) -> int:
    """How many replies long steps of prompts would disturb. Not those of a user who waits for
    more prompts than it has replies, or for so little that it is over soon: long steps make few
    of many rows, and what that user waits for comes sooner in all.

    `seconds`: what so many prompt tokens take.
    """
    replies, prompts, left = Counter[int](), Counter[int](), Counter[int]()
    for want in wants:
        key = id(want.share)
        if want.in_prompt:
            prompts[key] += 1
            left[key] += want.left
        elif not want.background:
            replies[key] += 1
    return sum(
        n for key, n in replies.items()
        if not prompts[key] or (prompts[key] <= n and seconds(left[key]) > BURST)
    )  # fmt: skip


class Rota:
    """Who takes part where not all can: of as many users as can be, changed one at a time so that
    no step waits for much copying."""

    def __init__(self) -> None:
        self.tenure = TENURE
        """Seconds between two changes."""
        self._members: list[Want] = []
        self._changed = 0.0

    def choose(self, wants: Sequence[Want], now: float, size: int) -> tuple[list[Want], list[Want]]:
        """Up to `size` members among those that are no background runs (among all, if there are
        no others), and the background runs that have waited `STARVED` seconds; as given."""
        front = [w for w in wants if not w.background] or list(wants)
        members = self._members = [w for w in self._members if w in front]
        del members[size:]
        others = [w for w in front if w not in members]
        while others and len(members) < size:
            self._join(others, now)
        if others and now - self._changed >= self.tenure:
            of = self._count()
            arriving = min(others, key=lambda w: _turn(w, of))
            # Of several the first: members are in the order in which they joined.
            leaving = max(members, key=of)
            if of(arriving) >= of(leaving):
                leaving = next(w for w in members if w.share is arriving.share)
            members.remove(leaving)
            self._join(others, now)
        starved = [w for w in wants if w not in front and now - w.served >= STARVED]
        return [w for w in wants if w in members], starved

    def _join(self, others: list[Want], now: float) -> None:
        of = self._count()
        want = min(others, key=lambda w: _turn(w, of))
        others.remove(want)
        self._members.append(want)
        self._changed = now

    def _count(self) -> Callable[[Want], int]:
        counts = Counter(id(w.share) for w in self._members)
        return lambda want: counts[id(want.share)]


def _turn(want: Want, members_of: Callable[[Want], int]) -> tuple[float, ...]:
    """Users with the fewest members come first; of their runs the one that has waited longest."""
    return members_of(want), want.served, want.arrived


class Course:
    """One batch's steps, one after another."""

    def __init__(self, slice_s: float, *, strict: bool = False) -> None:
        """`slice_s`: see rhythm.py. `strict`: short gaps were asked for."""
        self.rhythm = Rhythm(slice_s, strict=strict)
        self._rota = Rota()
        self._replied = True
        """Whether the last step was one of replies: then prompts have the next."""
        self.beside: list[Want] = []
        """Who has steps of its own while the prompt that was chosen is computed aside."""
        self.every = 0.0
        """After how many seconds each."""

    def choose(
        self, wants: Sequence[Want], now: float, slots: int, most_prompt: int,
        aside: Callable[[Want], bool] = lambda want: False,
    ) -> tuple[list[Want], list[Want]]:  # fmt: skip
        """Who is to have the slots, and who of them takes part in the next step (see `plan`).

        There is at least one of `wants` and of `slots`. `most_prompt`: tokens of one call. `aside`:
        whether this prompt can be computed aside now.
        """
        rhythm = self.rhythm
        self.beside = []
        size = min(slots, narrow(wants, rhythm.width))
        members, starved = self._rota.choose(wants, now, size)
        # Once a second somebody gives up a step for a background run.
        members = (members[: max(0, slots - len(starved))] + starved)[:slots]
        replies = [w for w in members if not w.in_prompt]
        if len(replies) < len(members) and (self._replied or not replies):
            self._replied = False
            prompts = [w for w in members if w.in_prompt]
            n = disturbed(wants, rhythm.seconds)
            if n == len(replies) and (first := self._aside(prompts, replies, aside)):
                return members, [first]
            budget = rhythm.budget(replies=n)
            return members, plan(prompts, budget=min(budget, most_prompt))
        self._replied = True
        if size < len(wants) and rhythm.look:
            replies = [min(replies, key=lambda w: w.served)]
        return members, plan(replies, budget=0)

    def _aside(
        self, prompts: Sequence[Want], replies: list[Want], possible: Callable[[Want], bool]
    ) -> Want | None:
        """The prompt that is to be computed aside, if one is: `beside` and `every` are set."""
        first = min(prompts, key=_served_first)
        takes = min(first.left, first.batch, GRAIN_ALONE)
        self.every = self.rhythm.aside(replies=len(replies))
        if takes < GRAIN_ALONE or not self.every or not possible(first):
            return None
        first.takes, self.beside = takes, replies
        # Of the time, for who pays.
        part = self.rhythm.step(len(replies)) / self.every
        for want in replies:
            want.takes = max(1, round(takes * part / len(replies)))
        return first

    def learn(self, rows: Sequence[int], seconds: float) -> None:
        """The step that was chosen had so many tokens of each, and took so long."""
        if self._replied:
            self.rhythm.learn_replies(len(rows), seconds)
        else:
            self.rhythm.learn_prompts(sum(rows), seconds)

    def copied(self, seconds: float) -> None:
        """Bringing the members into their slots took so long."""
        tenure = self._rota.tenure * (1 - COPYING)
        self._rota.tenure = max(TENURE, tenure, seconds / COPYING)


def weights(chosen: Sequence[Want], members: Sequence[Want]) -> tuple[tuple[Share, float], ...]:
    """Each user's part of a step, by tokens, and 0 for those of `members` that have none in it;
    they sum to 1."""
    total = sum(w.takes for w in chosen)
    parts = {id(want.share): (want.share, 0) for want in members}
    for want in chosen:
        _, n = parts.get(id(want.share), (want.share, 0))
        parts[id(want.share)] = (want.share, n + want.takes)
    return tuple((share, n / total) for share, n in parts.values())


def window(slots: int, held: Sequence[int | None]) -> range:
    """The slots that so many runs should have: as many in a row, most of them there already.

    `held`: each run's slot, or None. llama.cpp computes sequences together only when their
    numbers follow each other.
    """
    n = len(held)
    taken = {slot for slot in held if slot is not None}
    best = max(range(slots - n + 1), key=lambda w: (sum(w <= s < w + n for s in taken), -w))
    return range(best, best + n)
