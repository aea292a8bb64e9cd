"""Who takes part in a batch's steps, on a clock of the test's own."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infd.engine.rhythm import FAIR, LEAST, STRETCH, STRICT, STRICT_STRETCH, Rhythm
from infd.engine.scheduler import STARVED, Share
from infd.engine.steps import (
    BURST,
    GRACE,
    TENURE,
    Course,
    Meter,
    Meters,
    Rota,
    Want,
    disturbed,
    narrow,
    plan,
    weights,
    window,
)

shares = st.lists(st.integers(1, 4), min_size=1, max_size=4).map(
    lambda limits: [Share(f"user {i}", limit) for i, limit in enumerate(limits)]
)


@st.composite
def wanting(draw: st.DrawFn) -> list[Want]:
    users = draw(shares)
    for user in users:
        user.virtual = draw(st.floats(0, 100))
    n = draw(st.integers(1, 24))
    return [
        Want(
            share=draw(st.sampled_from(users)),
            left=draw(st.sampled_from([1, 1, 2, 40, 4000])),
            batch=draw(st.sampled_from([1, 32, 512])),
            background=draw(st.booleans()),
            arrived=i,
            served=draw(st.floats(0, 10)),
        )
        for i in range(n)
    ]


@given(wanting(), st.integers(32, 1024))
def test_a_step_keeps_every_bound_and_is_never_empty(wants: list[Want], budget: int) -> None:
    chosen = plan(wants, budget=budget)
    assert chosen
    assert [w for w in wants if w in chosen] == chosen
    prompts = [w for w in chosen if w.in_prompt]
    assert sum(w.takes for w in prompts) <= budget
    by_user: Counter[int] = Counter()
    for want in prompts:
        by_user[id(want.share)] += want.takes
        assert want.takes <= want.left
    for want in prompts:
        # BATCH_SET is the user's: all of its prompts in the step together.
        assert by_user[id(want.share)] <= max(w.batch for w in wants if w.share is want.share)
    # Whoever generates has a token in it.
    assert all(w.takes == 1 for w in wants if not w.in_prompt)
    parts = weights(chosen, wants)
    assert abs(sum(weight for _, weight in parts) - 1) < 1e-9
    assert {id(share) for share, _ in parts} == {id(w.share) for w in wants}


@given(wanting(), st.integers(1, 30))
def test_background_work_waits_for_the_others_but_not_for_long(
    wants: list[Want], size: int
) -> None:
    members, starved = Rota().choose(wants, 10.0, size)
    others = [w for w in wants if not w.background]
    assert len(members) == min(size, len(others or wants))
    assert all(w in (others or wants) for w in members)
    expected = [w for w in wants if w.background and 10.0 - w.served >= STARVED]
    assert starved == (expected if others else [])


def test_prompts_are_served_one_after_another_the_least_served_user_first() -> None:
    rich, poor = Share("rich", 1, virtual=5.0), Share("poor", 1, virtual=1.0)
    wants = [
        Want(rich, 100, 512, arrived=0),
        Want(poor, 100, 512, arrived=2),
        Want(poor, 100, 512, arrived=1),
    ]
    plan(wants, budget=150)
    assert [w.takes for w in wants] == [0, 50, 100]
    # Pieces are computed together as far as they are equally long.
    for want, left in zip(wants, (100, 100, 20), strict=True):
        want.left = left
    plan(wants, budget=150)
    assert [w.takes for w in wants] == [20, 20, 20]


# Meters: a user's processor time against its limit.


@given(st.integers(1, 3), st.lists(st.floats(0.001, 0.2), min_size=50, max_size=200))
def test_a_paused_user_gets_its_limit_in_the_long_run(limit: int, steps: list[float]) -> None:
    cores = 4
    meter = Meter(Share("ada", limit))
    now = used = 0.0
    for seconds in steps:
        if meter.paused:
            assert meter.wait > 0
            now += meter.wait
            meter.charge(0.0, now)
            assert not meter.paused
        now += seconds
        used += cores * seconds
        meter.charge(cores * seconds, now)
    # Never ahead by more than the grace and the last step.
    assert used <= limit * now + GRACE + cores * max(steps) + 1e-6


def test_long_steps_disturb_only_those_who_gain_nothing_by_them() -> None:
    ada, bob = Share("ada", 2), Share("bob", 2)

    def wants(share: Share, replies: int, prompts: int, left: int = 10_000) -> list[Want]:
        return [Want(share, 1, 512) for _ in range(replies)] + [
            Want(share, left, 512) for _ in range(prompts)
        ]

    def count(*given: list[Want]) -> int:
        return disturbed([w for some in given for w in some], lambda tokens: tokens / 100)

    assert count(wants(ada, 0, 3)) == 0
    assert count(wants(ada, 2, 0)) == 2
    # More prompts than replies, or as many that take long, or a few that are done soon.
    assert count(wants(ada, 2, 3)) == 0
    assert count(wants(ada, 2, 2)) == 2
    assert count(wants(ada, 2, 1, left=int(100 * BURST))) == 0
    # Another user's reply loses by them, whatever this one waits for; unless nobody reads it.
    assert count(wants(ada, 2, 7), wants(bob, 1, 0)) == 1
    unread = wants(bob, 1, 0)
    unread[0].background = True
    assert count(wants(ada, 2, 7), unread) == 0


def test_a_meter_without_debt_is_forgotten_with_its_runs() -> None:
    ada, bob = Share("ada", 1), Share("bob", 1)
    meters = Meters()
    meters.of(ada, 0.0)
    meters.of(bob, 0.0)
    meters.charge([(bob, 1.0)], 3.0, 1.0)
    meters.keep([])
    assert [meter.share for meter in meters.by_share.values()] == [bob]
    meters.charge((), 0.0, 60.0)
    meters.keep([])
    assert not meters.by_share


# Narrow steps.


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.integers(1, 6))
def test_the_rota_is_fair_to_users_and_starves_nobody(runs: list[int], size: int) -> None:
    rota = Rota()
    users = [Share(f"user {i}", 1) for i in range(len(runs))]
    wants = [Want(user, 1, 512) for user, n in zip(users, runs, strict=True) for _ in range(n)]
    for i, want in enumerate(wants):
        want.arrived = i
    took: Counter[int] = Counter()
    step = TENURE / 2
    before: list[Want] = []
    rounds = 60 * len(wants)
    for i in range(rounds):
        now = i * step
        members, _ = rota.choose(wants, now, size)
        assert len(members) == min(size, len(wants))
        if before:
            # No more than one leaves at a time: each change costs copying.
            assert sum(w not in members for w in before) <= 1
        before = members
        for want in members:
            want.served = now
            want.share.virtual += step / len(members)
            took[id(want)] += 1
    assert all(took[id(want)] for want in wants)
    if len(users) >= size:
        return
    # A user with fewer runs than its part of the places is in every step.
    for user, n in zip(users, runs, strict=True):
        if n <= size // len(users):
            mine = [took[id(w)] for w in wants if w.share is user]
            assert min(mine) >= rounds - len(wants) - size


def test_who_has_ended_makes_room_at_once() -> None:
    ada = Share("ada", 1)
    wants = [Want(ada, 1, 512, arrived=i) for i in range(7)]
    rota = Rota()
    assert rota.choose(wants, 0.0, 4) == (wants[:4], [])
    left = wants[2:]
    assert rota.choose(left, 0.01, 4) == (left[:4], [])
    # Fewer slots: those who joined first stay.
    assert rota.choose(left, 0.02, 2) == (left[:2], [])


# Slots.


@given(st.data())
def test_the_window_is_where_most_are_already(data: st.DataObject) -> None:
    slots = data.draw(st.integers(1, 16))
    n = data.draw(st.integers(1, slots))
    places = data.draw(st.permutations(range(slots)))[:n]
    held = [place if data.draw(st.booleans()) else None for place in places]
    found = window(slots, held)
    assert len(found) == n
    assert found.start >= 0
    assert found.stop <= slots
    inside = sum(slot in found for slot in held if slot is not None)
    for start in range(slots - n + 1):
        other = range(start, start + n)
        assert sum(slot in other for slot in held if slot is not None) <= inside


# How many prompt tokens a step carries.


@given(st.floats(0.0001, 0.1), st.floats(0.00005, 0.01), st.integers(1, 9), st.booleans())
def test_prompts_take_their_slice_only(
    reply: float, token: float, replies: int, strict: bool
) -> None:
    rhythm = Rhythm(0.150, strict=strict)
    for _ in range(40):
        rhythm.learn_replies(replies, reply)
        n = rhythm.budget(replies=replies)
        rhythm.learn_prompts(n, n * token)
    n = rhythm.budget(replies=replies)
    assert n % LEAST == 0
    most = min(0.150, (STRICT_STRETCH if strict else STRETCH) * reply)
    assert n == LEAST or n * token <= 1.02 * most
    # Alone a prompt goes on in larger pieces.
    assert rhythm.budget(replies=0) >= n


def step_of(rows: int, one: float, more: float) -> float:
    return one + (rows - 1) * more


@given(st.floats(0.001, 0.1), st.floats(0.1, 1.2), st.booleans())
def test_a_narrow_step_is_as_long_as_may_be(one: float, part: float, strict: bool) -> None:
    """Whatever the kernels gain from computing rows together, soon it is known."""
    rhythm = Rhythm(0.150, strict=strict)
    limit = STRICT if strict else FAIR
    for _ in range(64):
        rows = 1 if rhythm.look else rhythm.width()
        rhythm.learn_replies(rows, step_of(rows, one, part * one))
    rows = rhythm.width()
    assert rows >= 1
    assert step_of(rows, one, part * one) <= limit * one * 1.001 or rows == 1
    assert step_of(rows + 1, one, part * one) > limit * one * 0.999 or rows == 64


def test_how_long_one_row_takes_is_looked_at_again() -> None:
    rhythm = Rhythm(0.150)
    widths = []
    for _ in range(500):
        rows = 1 if rhythm.look else rhythm.width()
        assert rhythm.width() >= 1
        rhythm.learn_replies(rows, step_of(rows, 0.02, 0.01))
        widths.append(rows)
    assert widths[0] == 1
    assert 1 in widths[100:]
    assert widths.count(1) <= 5


@pytest.mark.parametrize("rows", [1, 3, 8, 13])
def test_one_slow_step_is_not_believed_for_ever(rows: int) -> None:
    rhythm = Rhythm(0.150)
    slow = 0
    for _ in range(3000):
        taken = 1 if rhythm.look else rhythm.width()
        once = not slow and taken >= rows
        slow += once
        rhythm.learn_replies(taken, 0.18 if once else step_of(taken, 0.003, 0.0006))
    assert slow
    assert rhythm.width() == 16


def test_steps_are_narrow_only_where_users_differ() -> None:
    ada, bob, eve = (Share(name, 2) for name in ("ada", "bob", "eve"))
    of = [Want(ada, 1, 512) for _ in range(8)]
    assert narrow(of, lambda: 2) == 8
    assert narrow([Want(ada, 1, 512), Want(bob, 1, 512)], lambda: 1) == 2
    assert narrow([*of, Want(bob, 1, 512)], lambda: 4) == 4
    assert narrow([*of, Want(bob, 1, 512), Want(eve, 1, 512)], lambda: 2) == 3
    # One that nobody reads yet is nobody's harm.
    assert narrow([*of, Want(bob, 1, 512, background=True)], lambda: 2) == 9


# Prompts aside.


def course(*, strict: bool = False) -> Course:
    """One that knows how long steps take: a prompt's token a third of a reply's."""
    made = Course(0.225, strict=strict)
    made.rhythm.learn_replies(1, 0.030)
    made.rhythm.learn_replies(2, 0.050)
    made.rhythm.learn_prompts(64, 0.64)
    return made


@pytest.mark.parametrize("replies", [1, 2])
def test_a_prompt_beside_replies_is_computed_aside(replies: int) -> None:
    made = course()
    # Both of one user: the one that came first.
    late, prompt = (Want(Share("bob", 2), 500, 512, arrived=n) for n in (9, 3))
    late.share = prompt.share
    wants = [Want(Share(str(n), 2), 1, 512) for n in range(replies)]
    members, chosen = made.choose([*wants, late, prompt], 0.0, 8, 1024, lambda want: True)
    assert members == [*wants, late, prompt]
    assert chosen == [prompt]
    assert prompt.takes == 64
    assert made.beside == wants
    assert 0 < made.every <= min(0.225, 5.3 * made.rhythm.step(replies))
    # Who pays: those beside it for the part of the time that is theirs, all together.
    parts = {id(share): part for share, part in weights([prompt, *wants], wants)}
    theirs = sum(parts[id(want.share)] for want in wants)
    step = made.rhythm.step(replies)
    assert abs(theirs - step / (step + made.every)) < 0.05
    # Then the replies have a step as always, and afterwards the prompt again.
    assert made.choose([*wants, late, prompt], 0.0, 8, 1024, lambda want: True)[1] == wants
    assert made.beside == []
    assert [want.takes for want in wants] == [1] * replies
    assert made.choose([*wants, late, prompt], 0.0, 8, 1024, lambda want: True)[1] == [prompt]


@pytest.mark.parametrize("why", ["impossible", "strict", "short", "small batch", "alone", "fast"])
def test_a_prompt_goes_in_pieces_where_aside_is_of_no_use(why: str) -> None:
    made = course(strict=why == "strict")
    if why == "fast":
        # Then a piece that replies can wait for is long enough.
        made.rhythm.learn_prompts(64, 0.0064)
    left, batch = 50 if why == "short" else 500, 32 if why == "small batch" else 512
    prompt = Want(Share("bob", 2), left, batch)
    wants = [] if why == "alone" else [Want(Share("ada", 2), 1, 512)]
    _, chosen = made.choose([*wants, prompt], 0.0, 8, 1024, lambda want: why != "impossible")
    assert chosen == [prompt]
    assert made.beside == []
    assert 0 < prompt.takes <= prompt.batch
