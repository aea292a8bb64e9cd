"""The slow-down of guesses, on a virtual clock."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from infd.accounts.throttle import DELAY_MAX_S, FORGET_AFTER_S, FREE_FAILURES, Throttle

HERE = "192.0.2.1"


def fail(throttle: Throttle, times: int, user: str = "ada", address: str = HERE) -> None:
    for _ in range(times):
        throttle.failed(user, address, 0.0)


def test_five_failures_are_free_then_the_wait_doubles_to_a_minute() -> None:
    throttle, now, waits = Throttle(), 0.0, []
    for _ in range(14):
        wait = throttle.wait("ada", HERE, now)
        waits.append(wait)
        now += wait
        assert throttle.wait("ada", HERE, now) == 0.0
        throttle.failed("ada", HERE, now)
    assert waits == [0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_success_clears() -> None:
    throttle = Throttle()
    fail(throttle, 9)
    assert throttle.wait("ada", HERE, 0.0) > 0
    throttle.succeeded("ada", HERE)
    assert throttle.wait("ada", HERE, 0.0) == 0.0
    fail(throttle, FREE_FAILURES - 1)
    assert throttle.wait("ada", HERE, 0.0) == 0.0


def test_a_known_address_is_not_slowed_by_others_and_others_by_all_strangers() -> None:
    throttle = Throttle()
    throttle.succeeded("ada", HERE)
    for number in range(50):
        throttle.failed("ada", f"198.51.100.{number}", 0.0)
    assert throttle.wait("ada", HERE, 0.0) == 0.0
    assert throttle.wait("ada", "203.0.113.9", 0.0) == DELAY_MAX_S
    assert throttle.wait("bob", "198.51.100.1", 0.0) == 0.0
    fail(throttle, FREE_FAILURES)
    assert throttle.wait("ada", HERE, 0.0) == 1.0


def test_a_login_from_a_known_address_gives_guessers_elsewhere_no_new_tries() -> None:
    throttle = Throttle()
    throttle.succeeded("ada", HERE)
    for number in range(FREE_FAILURES + 3):
        throttle.failed("ada", f"198.51.100.{number}", 0.0)
    before = throttle.wait("ada", "203.0.113.9", 0.0)
    throttle.succeeded("ada", HERE)
    assert throttle.wait("ada", "203.0.113.9", 0.0) == before > 0


def test_an_hour_forgets() -> None:
    throttle = Throttle()
    fail(throttle, 20)
    assert throttle.wait("ada", HERE, FORGET_AFTER_S) == 0.0
    throttle.failed("ada", HERE, FORGET_AFTER_S)
    assert throttle.wait("ada", HERE, FORGET_AFTER_S) == 0.0


def test_a_deleted_user_leaves_no_known_addresses() -> None:
    throttle = Throttle()
    throttle.succeeded("ada", HERE)
    throttle.succeeded("bob", HERE)
    throttle.forget("ada")
    assert throttle.sizes() == (0, 0, 1)


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ada", "bob", "x" * 70, "no such\0user"]),
            st.sampled_from(["1", "2", "3", "4"]),
            st.floats(0, 90),
            st.integers(0, 9),
        ),
        max_size=300,
    )
)
def test_never_thirty_guesses_a_minute_on_an_account_from_strange_addresses(
    attempts: list[tuple[str, str, float, int]],
) -> None:
    """Guessers that come as soon as they may, beside a user who logs in from home at will."""
    throttle, now = Throttle(), 0.0
    guesses: dict[str, list[float]] = {}
    for user, address, pause, kind in attempts:
        if kind == 0:
            throttle.succeeded(user, "home")
            continue
        if kind < 3:
            now += pause
        if throttle.wait(user, address, now) == 0.0:
            throttle.failed(user, address, now)
            guesses.setdefault(user, []).append(now)
    for times in guesses.values():
        for start in times:
            assert sum(start <= time < start + 60 for time in times) < 30


def test_the_quickest_guesser_stays_below_thirty_a_minute() -> None:
    throttle, now, times = Throttle(), 0.0, []
    while now < 4 * FORGET_AFTER_S:
        # A new address each time: only the count over all strange ones holds it back.
        address = str(len(times))
        now += throttle.wait("ada", address, now)
        throttle.failed("ada", address, now)
        times.append(now)
    assert max(sum(s <= t < s + 60 for t in times) for s in times) < 30


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 40), st.booleans()), max_size=200))
@settings(max_examples=50)
def test_tables_are_bounded(events: list[tuple[int, int, bool]]) -> None:
    throttle = Throttle(table_max=10)
    for user, address, good in events:
        if good:
            throttle.succeeded(f"user{user}", str(address))
        else:
            throttle.failed(f"user{user}", str(address), 0.0)
        assert max(throttle.sizes()) <= 10


@given(st.text(max_size=80), st.text(max_size=80), st.integers(0, 12))
def test_all_names_are_treated_alike(one: str, other: str, failures: int) -> None:
    throttle = Throttle()
    fail(throttle, failures, one)
    alone = throttle.wait(one, HERE, 0.0)
    second = Throttle()
    fail(second, failures, other)
    assert second.wait(other, HERE, 0.0) == alone
    if one != other:
        assert throttle.wait(other, HERE, 0.0) == 0.0
