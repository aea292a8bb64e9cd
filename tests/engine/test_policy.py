"""Who computes next, over minutes of a simulated machine."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.machine import Machine, groups, jain, max_min, max_min_of_places

from infd.engine.policy import CREDIT
from infd.engine.scheduler import STARVED, Share, Turn

CALL = st.floats(0.005, 0.2)
USERS = st.lists(
    st.tuples(st.integers(0, 4), st.lists(CALL, min_size=1, max_size=6)), min_size=1, max_size=4
)
"""Of each user: MAX_PROC_THREADS, and the calls of its contexts."""


# Of two users each has a context that was served more than its other one: which of them waits?
@example(cores=4, users=[(0, [0.125]), (2, [0.125, 0.005]), (2, [0.051, 0.005])])
@example(cores=4, users=[(2, [0.005, 0.148]), (2, [0.005, 0.175]), (0, [0.005, 0.155])])
@example(cores=3, users=[(2, [0.163, 0.0052]), (3, [0.0052, 0.0313])])
@given(cores=st.integers(1, 4), users=USERS)
@settings(max_examples=40)
def test_cores_are_shared_max_min_between_users_then_between_their_contexts(
    cores: int, users: list[tuple[int, list[float]]]
) -> None:
    machine = Machine(cores)
    shares = [Share(str(i), most) for i, (most, _) in enumerate(users)]
    for share, (_, calls) in zip(shares, users, strict=True):
        for call in calls:
            machine.add(share, call=call)
    seconds = 60.0
    machine.run(seconds)
    most = [float(min(max(1, limit), len(calls))) for limit, calls in users]
    fair = [seconds * part for part in max_min(cores, most)]
    for share, part in zip(shares, fair, strict=True):
        assert share.used == pytest.approx(part, rel=0.05, abs=1.0)
        own = [context.turn.used for context in machine.contexts if context.share is share]
        assert sum(own) == pytest.approx(share.used)
        assert jain(own) >= 0.98
    # Nobody starves. A round is a call of every user for each context of this one; a context
    # that was a call ahead of all others waits for two.
    longest = max(context.call for context in machine.contexts)
    for context in machine.contexts:
        turns = len(users) * sum(other.share is context.share for other in machine.contexts)
        assert context.longest_wait(seconds) <= 2 * turns * longest + CREDIT


MIXED = st.lists(st.tuples(st.integers(0, 3), st.lists(CALL, max_size=3)), min_size=2, max_size=4)
"""Of each user: MAX_PROC_THREADS, and the calls of the contexts that are its alone, if any."""
TOGETHER = st.lists(
    st.tuples(CALL, st.lists(st.integers(1, 9), min_size=2, max_size=4)), min_size=1, max_size=2
)
"""Of each place of several users: its calls, and the users' parts of it, of the first ones."""


@example(cores=1, users=[(2, [0.02]), (2, [])], together=[(0.02, [1, 1])])
@example(cores=2, users=[(1, [0.02]), (1, [])], together=[(0.02, [1, 1])])
@example(cores=2, users=[(1, [0.02] * 3), (1, [0.02])], together=[(0.02, [1, 1])])
@example(cores=2, users=[(2, [0.02]), (2, []), (2, [0.02])], together=[(0.02, [1, 1])])
# Somebody has a small part of what is computed for another: it holds up neither a third user...
@example(cores=1, users=[(2, []), (2, []), (2, [0.02])], together=[(0.02, [9, 1])])
# ... nor what is its own.
@example(cores=1, users=[(1, []), (1, [0.02])], together=[(0.1, [9, 1])])
# Who pays changes while it computes, and not to who has a place of its own that was served less.
@example(cores=2, users=[(2, [0.176]), (2, [0.062])], together=[(0.043, [8, 7])])
@example(cores=3, users=[(1, [0.027, 0.047]), (3, [0.024])], together=[(0.021, [9, 5])])
@example(
    cores=3,
    users=[(3, [0.132]), (2, [0.015, 0.035]), (3, [0.122, 0.105])],
    together=[(0.042, [6, 5, 5]), (0.083, [6, 7, 5])],
)
@given(cores=st.integers(1, 3), users=MIXED, together=TOGETHER)
@settings(max_examples=30, deadline=None)
def test_who_has_a_part_in_a_place_of_several_has_what_is_its_alone_as_well(
    cores: int,
    users: list[tuple[int, list[float]]],
    together: list[tuple[float, list[int]]],
) -> None:
    machine = Machine(cores)
    shares = [Share(str(i), most) for i, (most, _) in enumerate(users)]
    places: list[set[int]] = []
    for i, (_, calls) in enumerate(users):
        for call in calls:
            machine.add(shares[i], call=call)
            places.append({i})
    for call, sizes in together:
        # No more than there are users.
        parts = list(zip(shares, sizes, strict=False))
        total = sum(size for _, size in parts)
        machine.add(
            Share("together", cores), call=call,
            parts=tuple((share, size / total) for share, size in parts),
        )  # fmt: skip
        places.append(set(range(len(parts))))
    seconds = 40.0
    machine.run(seconds)
    # Nobody starves.
    longest = max(context.call for context in machine.contexts)
    for context, of in zip(machine.contexts, places, strict=True):
        turns = len(users) * max(sum(i in other for other in places) for i in of)
        assert context.longest_wait(seconds) <= 2 * turns * longest + CREDIT
    # Users first: what was computed can be divided among those it was for such that each has as
    # much as any whose places could have it, so nothing is more than those it was for may have.
    most = [float(max(1, limit)) for limit, _ in users]
    fair = [seconds * part for part in max_min_of_places(cores, most, places)]
    used = [context.turn.used for context in machine.contexts]
    assert sum(used) == pytest.approx(sum(fair), rel=0.02)
    for group in groups(len(users)):
        theirs = sum(time for time, of in zip(used, places, strict=True) if of <= group)
        assert theirs <= 1.05 * sum(fair[i] for i in group) + 1.0
    # Then their contexts.
    for share in shares:
        own = [context.turn.used for context in machine.contexts if context.share is share]
        assert not own or jain(own) >= 0.98


@pytest.mark.parametrize("call", [0.0005, 0.04])
@pytest.mark.parametrize("threads", [1, 2])
def test_eight_contexts_do_not_outweigh_one(call: float, threads: int) -> None:
    machine = Machine(2)
    light, heavy = Share("ada", 2), Share("bob", 2)
    one = machine.add(light, call=call, want=threads)
    for _ in range(8):
        machine.add(heavy, call=call, want=threads)
    seconds = 40.0 * max(call, 0.005) / 0.04
    machine.run(seconds)
    assert jain([light.used, heavy.used]) >= 0.999
    # It never waits for a core, only for its call.
    assert one.longest_wait(seconds) <= call


def test_long_calls_are_paid_for() -> None:
    """A user whose calls are pieces of prompts gets as much time as one that makes tokens."""
    machine = Machine(1)
    prompts, tokens = Share("ada", 1), Share("bob", 1)
    machine.add(prompts, call=0.3)
    machine.add(tokens, call=0.02)
    machine.run(60.0)
    assert jain([prompts.used, tokens.used]) >= 0.999


@pytest.mark.parametrize("users", ["two users", "one user"])
def test_nothing_is_saved_up_by_idling(users: str) -> None:
    machine = Machine(1)
    ada = Share("ada", 1)
    busy = machine.add(ada, call=0.02)
    late = machine.add(
        ada if users == "one user" else Share("bob", 1), call=0.02, begin=100.0
    )  # fmt: skip
    machine.run(100.0)
    before = busy.turn.used
    machine.run(110.0)
    assert late.turn.used == pytest.approx(5.0, abs=0.1)
    assert busy.turn.used - before == pytest.approx(5.0, abs=0.1)


@pytest.mark.parametrize("users", ["two users", "one user"])
def test_what_was_computed_alone_is_not_held_against_anybody(users: str) -> None:
    """Nobody waited for it, and when others come it has just ended."""
    machine = Machine(1)
    ada = Share("ada", 1)
    busy = machine.add(ada, call=0.02, pause=(100.0, 101.0))
    others = [
        machine.add(ada if users == "one user" else Share(name, 1), call=0.02, begin=100.5)
        for name in ("bob", "eve")
    ]
    machine.run(101.0)
    before = busy.turn.used
    machine.run(107.0)
    for other in others:
        assert other.turn.used == pytest.approx(2.25, abs=0.1 + CREDIT / 2)
    assert busy.turn.used - before == pytest.approx(2.0, abs=0.1)


@given(
    cores=st.integers(1, 3),
    front=st.lists(CALL, min_size=3, max_size=6),
    back=st.lists(CALL, min_size=1, max_size=4),
)
@settings(max_examples=25)
def test_background_work_gets_a_call_a_second_and_no_more_beside_others(
    cores: int, front: list[float], back: list[float]
) -> None:
    machine = Machine(cores)
    ahead = [machine.add(Share(f"f{i}", 4), call=call) for i, call in enumerate(front)]
    behind = [
        machine.add(Share(f"b{i}", 4), call=call, background=True) for i, call in enumerate(back)
    ]
    seconds = 30.0
    machine.run(seconds)
    for context in behind:
        others = sum(other.call for other in behind) + max(front)
        assert context.longest_wait(seconds) <= STARVED + others
        assert len(context.began) <= seconds / STARVED + 1
    assert sum(context.turn.used for context in (*ahead, *behind)) >= 0.999 * cores * seconds


def test_background_work_gets_all_that_nobody_wants() -> None:
    machine = Machine(2)
    ahead, behind = Share("ada", 2), Share("bob", 2)
    machine.add(ahead, call=0.05)
    machine.add(behind, call=0.05, background=True)
    machine.run(30.0)
    assert behind.used == pytest.approx(30.0, rel=0.02)


def test_single_threads_before_teams() -> None:
    """Sixteen contexts that want two threads each: nobody gets two while others wait."""
    machine = Machine(2)
    shares = [Share(str(i), 2) for i in range(4)]
    for i in range(16):
        machine.add(shares[i % 4], call=0.04, want=2, begin=0.01 * i)
    seen: set[int] = set()
    original = machine.check

    def check() -> None:
        original()
        if machine.now > 1:
            seen.update(context.turn.held for context in machine.contexts)

    machine.check = check  # type: ignore[method-assign]
    machine.run(60.0)
    assert seen == {0, 1}
    assert jain([share.used for share in shares]) >= 0.999
    assert jain([context.turn.used for context in machine.contexts]) >= 0.99


def test_an_estimate_counts_the_calls_ahead() -> None:
    machine = Machine(1)
    for i in range(3):
        machine.add(Share(str(i), 1), call=0.1)
    # After a few rounds the usual length of their calls is known.
    machine.run(2.05)
    with machine.clock():
        turns: list[Turn] = [context.turn for context in machine.contexts]
        told = sorted((t.position(), round(t.estimate(), 3)) for t in turns)
    assert told == [(0, 0.0), (1, 0.05), (2, 0.15)]
