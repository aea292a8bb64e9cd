"""Ctrl-C between printing a piece and counting it comes after both; at the prompt it clears."""

from __future__ import annotations

import signal

import pytest
from prompt_toolkit import PromptSession
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.key_binding.key_processor import KeyPress
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import DummyOutput

from infd_repl import prompt
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


def test_a_signal_at_the_prompt_clears_the_line_and_leaves_no_dead_prompt() -> None:
    """Ctrl-C comes so that is pressed before the terminal gives keys instead of signals."""
    with create_pipe_input() as pipe, create_app_session(input=pipe, output=DummyOutput()):
        session: PromptSession[str] = PromptSession(key_bindings=prompt._clearing(), multiline=True)

        def interrupt() -> None:
            session.default_buffer.insert_text("this is never sent")
            session.app.key_processor.feed(KeyPress(Keys.SIGINT))
            session.app.key_processor.process_keys()

        pipe.send_text("hello\r")
        assert session.prompt(pre_run=interrupt) == "hello"
