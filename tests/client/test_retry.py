"""Pauses between attempts to reconnect: at once, growing, never past the total; what is told."""

from __future__ import annotations

from infd_client.retry import LONGEST_PAUSE, Changes, Retry


def test_pauses_grow_and_end_with_the_total():
    retry = Retry(10.0)
    now = 100.0
    pauses = []
    while (pause := retry.pause(now)) is not None:
        pauses.append(pause)
        now += pause + 0.001
    assert pauses[0] == 0
    assert max(pauses) <= LONGEST_PAUSE
    assert sum(pauses[3:6]) > sum(pauses[:3])
    assert 110.0 <= now < 110.1
    retry.answered()
    assert retry.pause(now) == 0


def test_no_time_no_attempt():
    assert Retry(0).pause(5.0) is None


def test_back_is_told_once_and_only_after_a_loss():
    told = []
    changes = Changes(told.append)
    changes.answered()
    for change in ("lost", "away"):
        changes.gone(change)
    changes.answered()
    changes.answered()
    assert told == ["lost", "away", "back"]
