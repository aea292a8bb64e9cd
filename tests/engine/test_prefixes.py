"""The store of kept prefixes: what is found, what gives way, and that users share nothing."""

from __future__ import annotations

from array import array

from hypothesis import given
from hypothesis import strategies as st

from infd.engine.prefixes import LEAST, LEAST_COMMON, MOST_PREFIXES, Prefixes, Shelf
from infd.engine.snapshot import Snapshot

LAYOUT = "k 1, v 1, as is"


def tokens(n: int, first: int = 0) -> array[int]:
    return array("i", range(first, first + n))


def copy(n: int, first: int = 0, size: int = 100) -> Snapshot:
    """A snapshot of `n` tokens that takes `size` bytes beside them."""
    return Snapshot(tokens(n, first), bytearray(size))


def shelf_of(prefixes: Prefixes, user: str = "ada", model: str = "m") -> Shelf:
    shelf = prefixes.shelf(user, model)
    assert shelf is not None
    return shelf


def found(shelf: Shelf, prompt: array[int], beyond: int = 0, layout: str = LAYOUT) -> int:
    snapshot = shelf.find(layout, prompt, beyond=beyond)
    return 0 if snapshot is None else len(snapshot.tokens)


def test_the_longest_whole_prefix_of_this_layout_is_found() -> None:
    shelf = shelf_of(Prefixes(10**6))
    for n in (40, 100, 200):
        assert shelf.put(LAYOUT, copy(n))
    shelf.put("other", copy(150))
    assert found(shelf, tokens(180)) == 100
    assert found(shelf, tokens(201)) == 200
    assert found(shelf, tokens(200)) == 100, "its last token's logits are needed"
    assert found(shelf, tokens(180), layout="other") == 150
    assert found(shelf, tokens(180, first=1)) == 0
    assert found(shelf, tokens(99) + tokens(50, first=7)) == 40
    assert found(shelf, tokens(180), beyond=100 - LEAST) == 100
    assert found(shelf, tokens(180), beyond=101 - LEAST) == 0
    assert shelf.find(LAYOUT, tokens(180), beyond=95, least=5) is not None


def test_nothing_passes_between_users_or_models() -> None:
    prefixes = Prefixes(10**6)
    shelf_of(prefixes).put(LAYOUT, copy(100))
    shelf_of(prefixes).begins(tokens(500))
    for other in (shelf_of(prefixes, "bob"), shelf_of(prefixes, "ada", "n")):
        assert found(other, tokens(500)) == 0
        assert other.stops(tokens(500), head=0, done=0) == []
    assert found(shelf_of(prefixes), tokens(500)) == 100


def test_an_evaluation_stops_at_the_head_and_where_prompts_part() -> None:
    shelf = shelf_of(Prefixes(10**6))
    prompt = tokens(300)
    assert shelf.stops(prompt, head=0, done=0) == []
    assert shelf.stops(prompt, head=LEAST - 1, done=0) == []
    assert shelf.stops(prompt, head=LEAST, done=0) == [LEAST]
    assert shelf.stops(prompt, head=100, done=100) == []
    assert shelf.stops(prompt, head=300, done=0) == [299]
    assert shelf.stops(prompt, head=5, done=0, least=5) == [5]
    assert shelf.stops(prompt, head=9, done=4, least=5) == [], "too little more than is known"
    shelf.begins(tokens(200) + tokens(9))
    assert shelf.stops(prompt, head=100, done=0) == [100, 200]
    assert shelf.stops(prompt, head=100, done=100) == [200]
    assert shelf.stops(prompt, head=190, done=0) == [190], "not worth two copies"
    assert shelf.stops(tokens(150), head=0, done=0) == [149]
    assert shelf.stops(tokens(LEAST_COMMON - 1) + tokens(90), head=0, done=0) == []
    shelf.begins(tokens(5))
    assert shelf.stops(prompt, head=0, done=0) == [200], "the longest of the latest"


def test_what_is_forgotten_takes_nothing_any_more() -> None:
    prefixes = Prefixes(10**6)
    old = {(user, model): shelf_of(prefixes, user, model) for user in "ab" for model in "mn"}
    for shelf in old.values():
        shelf.put(LAYOUT, copy(100))
        shelf.begins(tokens(500))
    prefixes.forget(user="a", model="n")
    assert [found(shelf, tokens(500)) for shelf in old.values()] == [100, 0, 100, 100]
    prefixes.forget(user="a")
    prefixes.forget(model="n")
    assert [found(shelf, tokens(500)) for shelf in old.values()] == [0, 0, 100, 0]
    gone = old["a", "m"]
    assert not gone.put(LAYOUT, copy(100))
    gone.begins(tokens(500))
    assert gone.stops(tokens(500), head=100, done=0) == []
    assert shelf_of(prefixes, "a", "m") is not gone
    assert found(shelf_of(prefixes, "a", "m"), tokens(500)) == 0
    prefixes.empty("b")
    assert prefixes.size == 0
    assert old["b", "m"].put(LAYOUT, copy(100)), "its user is there still"


def test_no_room_means_no_shelf_and_too_large_is_not_tried_again() -> None:
    assert Prefixes(0).shelf("ada", "m") is None
    shelf = shelf_of(Prefixes(1000))
    assert shelf.stops(tokens(300), head=200, done=0) == [200]
    assert not shelf.put(LAYOUT, copy(200, size=1000))
    assert shelf.stops(tokens(300), head=200, done=0) == []
    assert shelf.stops(tokens(300), head=100, done=0) == [100]
    assert shelf.put(LAYOUT, copy(100))


def test_who_holds_most_gives_way_with_the_least_used() -> None:
    prefixes = Prefixes(9_000)
    small, large = shelf_of(prefixes, "ada"), shelf_of(prefixes, "bob")
    small.put(LAYOUT, copy(40, size=1500))
    for first in range(1, 5):
        large.put(LAYOUT, copy(40, first, size=1500))
    assert found(large, tokens(60, 1)) == 40
    shelf_of(prefixes, "bob", "n").put(LAYOUT, copy(40, size=1500))
    assert found(small, tokens(60)) == 40
    assert [found(large, tokens(60, first)) for first in range(1, 5)] == [40, 0, 40, 40]
    for first in range(2 * MOST_PREFIXES):
        small.put(LAYOUT, copy(40, first, size=1))
    assert len(small._kept) == MOST_PREFIXES
    small.put(LAYOUT, copy(40, 2 * MOST_PREFIXES - 1, size=1))
    assert len(small._kept) == MOST_PREFIXES, "the same is kept once"


@given(
    st.lists(
        st.tuples(st.sampled_from("abc"), st.integers(0, 20), st.integers(1, 900), st.booleans()),
        max_size=60,
    )
)
def test_the_limit_holds_and_a_light_user_keeps_its_part(
    steps: list[tuple[str, int, int, bool]],
) -> None:
    limit = 3000
    prefixes = Prefixes(limit)
    for user, first, size, uses in steps:
        shelf = shelf_of(prefixes, user)
        if uses:
            shelf.find(LAYOUT, tokens(60, first), beyond=0)
            continue
        before = {name: shelf_of(prefixes, name).size for name in "abc"}
        assert shelf.put(LAYOUT, copy(40, first, size=size))
        after = {name: shelf_of(prefixes, name).size for name in "abc"}
        assert prefixes.size == sum(after.values()) <= limit
        for name in "abc":
            # Another user lost something only if it held the most, a third at least.
            assert name == user or after[name] == before[name] or before[name] > limit / 3
