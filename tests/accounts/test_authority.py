"""The rules of who may do what: single cases, and what must hold for every caller."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from infd.accounts import authority
from infd.accounts.user import (
    ALL_FLAGS,
    LIMITS,
    Flag,
    User,
    check_flags,
    check_username,
    effective,
    sampling_of,
)
from infd_protocol.errors import (
    InfAuthorizationFailed,
    InfCantDeleteSelf,
    InfdError,
    InfInvalidParams,
    InfModelNameMismatch,
    InfUserNotFound,
)

MODELS = ("alpha", "beta", "gamma")
limits = st.sampled_from([0, 1, 2, 3, 511, 512, 513, 4294967295])
names = st.sampled_from(["ada", "bob", "eve"])
users = st.builds(
    User,
    username=names,
    acclimit=st.integers(3, 4),
    ctxlength=limits,
    batch_set=limits,
    max_proc_threads=limits,
    proc_threads=limits,
    flags=st.frozensets(st.sampled_from(sorted(ALL_FLAGS))),
    is_super=st.booleans(),
    is_static=st.booleans(),
    models=st.lists(st.sampled_from(MODELS), unique=True).map(tuple),
    sampling=st.sampled_from([{}, {"TOP_K": 40}, {"TEMP": 0.5, "REPEAT_LF": True}]),
    system_prompt=st.sampled_from(["", "Be brief."]),
)


def has_all_of(caller: User, given: User, before: User | None = None) -> bool:
    """Whether nothing that `given` has more than `before` is more than the caller has."""
    if caller.is_super:
        return True
    base = before or User("")
    flags = given.flags - base.flags
    models = set(given.models) - set(base.models)
    return (
        all(caller.holds(flag) for flag in flags)
        and all(caller.reaches(model) for model in models)
        and all(
            given.limit(key) <= max(caller.limit(key), before.limit(key) if before else 0)
            for key in LIMITS
        )
        and given.is_super <= base.is_super
        and given.is_static <= base.is_static
    )


@given(users, users)
def test_nobody_creates_what_they_do_not_have(caller: User, new: User) -> None:
    try:
        authority.check_new_user(caller, new)
    except InfAuthorizationFailed:
        assert not caller.is_super
    else:
        assert has_all_of(caller, new)
        if not caller.is_super:
            assert not new.system_prompt or Flag.USER_SYS_PROMPT_MODIFICATION in caller.flags
            assert not new.sampling or Flag.USER_SAMPLER_MODIFICATION in caller.flags


@given(users)
def test_whoever_has_it_all_may_create_it(caller: User) -> None:
    everything = replace(
        caller,
        username="new",
        is_super=False,
        is_static=False,
        system_prompt="",
        sampling={},
    )
    authority.check_new_user(caller, everything)


@given(users, users, st.sampled_from(sorted(LIMITS)), limits)
def test_no_limit_rises_above_the_callers(caller: User, target: User, key: str, value: int) -> None:
    try:
        changed = authority.limited(caller, target, key, value)
    except InfAuthorizationFailed:
        assert not caller.is_super
        assert effective(key, value) > caller.limit(key)
    except InfInvalidParams:
        assert key == "ACCLIMIT"
        assert value < len(target.models)
    else:
        assert has_all_of(caller, changed, target)
        assert getattr(changed, LIMITS[key]) == value
        assert target.with_limit(key, value) == changed


@given(
    users,
    users,
    st.lists(st.sampled_from([*MODELS, "unknown"]), max_size=5),
    st.sampled_from(authority.ACCEPT_MODES),
    st.frozensets(st.sampled_from(MODELS)),
    st.integers(0, 4),
)
def test_lists_of_models(
    caller: User,
    target: User,
    wanted: list[str],
    mode: str,
    registered: frozenset[str],
    acclimit: int,
) -> None:
    assume(acclimit >= len(target.models))
    target = replace(target, acclimit=acclimit)
    try:
        changed = authority.accepting(caller, target, wanted, mode, registered)
    except InfModelNameMismatch as error:
        held = set(target.models) if mode == "remove" else set()
        expected = [n for n in dict.fromkeys(wanted) if n not in registered | held]
        keys = error.keys
        assert keys == {"MISSING": expected}
        assert expected
    except InfAuthorizationFailed:
        new = set(wanted) - set(target.models)
        total = len({*wanted, *target.models}) if mode == "add" else len(set(wanted))
        assert mode != "remove"
        assert total > acclimit or not all(caller.reaches(name) for name in new)
    else:
        assert has_all_of(caller, changed, target)
        assert len(changed.models) == len(set(changed.models)) <= acclimit
        expected_set = {
            "replace": set(wanted),
            "add": set(wanted) | set(target.models),
            "remove": set(target.models) - set(wanted),
        }[mode]
        assert set(changed.models) == expected_set
        assert replace(changed, models=()) == replace(target, models=())


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(InfInvalidParams):
        authority.accepting(authority.OPERATOR, User("ada"), [], "append", MODELS)


def test_a_shorter_list_revokes_and_keeps_the_callers_order() -> None:
    ada = User("ada", acclimit=3, models=("alpha", "beta"))
    boss = User("boss", is_super=True)
    changed = authority.accepting(boss, ada, ["gamma", "alpha", "gamma"], "replace", MODELS)
    assert changed.models == ("gamma", "alpha")
    assert not changed.reaches("beta")


@given(users, st.none() | users)
def test_targets_above_the_caller_in_the_order_of_checks(caller: User, target: User | None) -> None:
    try:
        found = authority.check_target(caller, target, "ada")
    except InfUserNotFound:
        assert target is None
    except InfAuthorizationFailed as error:
        assert target is not None
        assert not caller.is_super
        assert target.is_static or target.is_super
        detail = error.detail
        assert ("static" in detail) == target.is_static
    else:
        assert found is target
        assert caller.is_super or not (found.is_super or found.is_static)


@given(users, users, st.integers(1, 3))
def test_the_last_superuser_stays(caller: User, target: User, superusers: int) -> None:
    if target.is_super and superusers == 1:
        with pytest.raises(InfAuthorizationFailed):
            authority.demoted(target, superusers)
    else:
        assert not authority.demoted(target, superusers).is_super
    if caller.username == target.username:
        with pytest.raises(InfCantDeleteSelf):
            authority.check_not_self(caller, target)
    else:
        authority.check_not_self(caller, target)


@given(users, st.sampled_from(sorted(ALL_FLAGS)))
def test_flags_open_their_operations(caller: User, flag: str) -> None:
    allowed = caller.is_super or flag in caller.flags
    for check in (
        lambda: authority.check_flag(caller, flag),
        lambda: authority.check_any_flag(caller, frozenset({flag}), "a flag"),
    ):
        if allowed:
            check()
        else:
            with pytest.raises(InfAuthorizationFailed):
                check()


def test_only_superusers_pass_as_such() -> None:
    authority.check_superuser(User("boss", is_super=True))
    with pytest.raises(InfAuthorizationFailed):
        authority.check_superuser(User("ada", flags=ALL_FLAGS))


def test_a_superuser_holds_and_reaches_everything() -> None:
    boss = User("boss", is_super=True)
    assert all(boss.holds(flag) for flag in ALL_FLAGS)
    assert boss.reaches("whatever")


@given(users)
def test_changes_change_one_thing(target: User) -> None:
    assert authority.promoted(target) == replace(target, is_super=True)
    assert authority.flagged(target, ALL_FLAGS) == replace(target, flags=ALL_FLAGS)
    assert authority.prompted(target, "x") == replace(target, system_prompt="x")
    assert authority.sampled(target, {"TEMP": 2.0}) == replace(target, sampling={"TEMP": 2.0})


def test_there_are_the_eleven_flags_and_no_other_passes() -> None:
    assert len(ALL_FLAGS) == 11
    assert check_flags(["USER_CREATE_DELETE", "USER_CREATE_DELETE"]) == {"USER_CREATE_DELETE"}
    with pytest.raises(InfInvalidParams, match="user_create_delete"):
        check_flags(["user_create_delete"])


@pytest.mark.parametrize("name", ["a", "Ada.Lovelace_1@example-host", "x" * 64])
def test_names_that_pass(name: str) -> None:
    assert check_username(name) == name


@pytest.mark.parametrize("name", ["", "x" * 65, "a b", "ada\n", "Zoë", "../ada", "a\0"])
def test_names_that_do_not(name: str) -> None:
    with pytest.raises(InfInvalidParams, match="USERNAME"):
        check_username(name)


def test_sampling_is_kept_in_the_type_of_its_key() -> None:
    keys: dict[str, object] = {"TEMP": 1, "TOP_K": 3, "REPEAT_LF": 0, "USERNAME": "ada"}
    chosen = sampling_of(keys)
    assert chosen == {"TEMP": 1.0, "TOP_K": 3, "REPEAT_LF": False}
    assert type(chosen["TEMP"]) is float
    assert chosen["REPEAT_LF"] is False
    with pytest.raises(InfdError):
        sampling_of({"TEMP": "hot"})


def test_a_user_cannot_be_changed_in_place() -> None:
    ada = User("ada", sampling={"TOP_K": 1})
    with pytest.raises(TypeError):
        ada.sampling["TOP_K"] = 2  # type: ignore[index]
    assert hash(ada) == hash(User("ada", sampling={"TOP_K": 1}))
