"""Ctrl-C between printing a piece and counting it comes after both."""

from __future__ import annotations

import signal

import pytest

from infd_repl.interrupts import Interrupts


def test_a_signal_within_held_comes_at_its_end() -> None:
    steps = []

    def show() -> None:
        with Interrupts() as interrupts:
            with interrupts.held():
                steps.append("printed")
                signal.raise_signal(signal.SIGINT)
                steps.append("counted")
            steps.append("never")

    with pytest.raises(KeyboardInterrupt):
        show()
    assert steps == ["printed", "counted"]


def test_a_signal_outside_comes_at_once_and_the_old_handler_comes_back() -> None:
    def show() -> None:
        with Interrupts() as interrupts:
            with interrupts.held():
                pass
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        show()
    assert signal.getsignal(signal.SIGINT) is before
