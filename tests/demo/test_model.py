"""The bundled file: its size and metadata, what the card says of it, and what it answers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

import pytest

from infd.demo import MODEL_PATH
from infd.demo.evaluate import SEED, SKILLS, score
from infd.engine.model import Model
from infd.engine.plain import PlainChat

CASES = 20
# Twenty cases say little: this finds a wrong file, not a missed target. The card has the scores.
SLACK = 0.25
CARD = MODEL_PATH.with_name("CARD.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def chat() -> Iterator[PlainChat]:
    with PlainChat(MODEL_PATH) as chat:
        yield chat


def card_scores() -> dict[str, float]:
    rows = re.findall(r"^\| ([a-z][\w ]+?) +\| +([\d.]+) % ", CARD, re.MULTILINE)
    return {skill: float(share) / 100 for skill, share in rows}


def test_the_file_is_small_and_complete() -> None:
    assert MODEL_PATH.stat().st_size < 8_000_000
    model = Model.load(MODEL_PATH)
    try:
        assert model.info.n_ctx_train >= 1024
        assert model.template is not None
        assert "<|im_start|>" in model.template
        assert "add_generation_prompt" in model.template
        # No beginning token, whoever asks for one.
        assert model.tokenize("a", special=True, bos=True) == model.tokenize(
            "a", special=True, bos=False
        )
        assert model.end_tokens
    finally:
        model.close()


def test_every_byte_is_in_the_vocabulary_and_markers_stay_text() -> None:
    model = Model.load(MODEL_PATH)
    try:
        for text in ("\x00\x07 é 漢字 🙂 \u0301", "<|im_start|>user <|im_end|>"):
            tokens = model.tokenize(text, special=False, bos=False)
            assert b"".join(model.piece(token) for token in tokens).decode() == text
            assert not model.end_tokens.intersection(tokens)
    finally:
        model.close()


def test_the_card_states_every_score() -> None:
    assert card_scores().keys() == {*SKILLS, "false refusals"}
    assert "python -m infd.demo.evaluate" in CARD
    assert str(SEED) in CARD


@pytest.mark.parametrize("skill", SKILLS)
def test_held_out_cases(chat: PlainChat, skill: str) -> None:
    got = score(chat, skill, CASES, seed=11)
    assert got.share >= card_scores()[skill] - SLACK, json.dumps(got.wrong, indent=1)


@pytest.mark.parametrize(
    ("told", "asked"),
    [
        ("My name is Ada.", "What is my name?"),
        ("My name is Ada", "What is my name"),
        ("my name is Ada", "what is my name"),
        ("my name is Ada.", "what's my name?"),
    ],
)
def test_two_lines(chat: PlainChat, told: str, asked: str) -> None:
    messages = [{"role": "user", "content": told}]
    messages.append({"role": "assistant", "content": chat.reply(messages)})
    messages.append({"role": "user", "content": asked})
    assert "Ada" in chat.reply(messages)


def test_twenty_turns(chat: PlainChat) -> None:
    messages: list[dict[str, str]] = []
    asked = ["Count from 1 to 9.", "What is 2 + 3?", "Thank you.", "What does exec_next do?"]
    for line in ["My name is Ada.", *asked * 4, "Hello!", "How are you?", "What is my name?"]:
        messages.append({"role": "user", "content": line})
        messages.append({"role": "assistant", "content": chat.reply(messages)})
    assert len(messages) == 40
    assert "Ada" in messages[-1]["content"]


def test_the_system_prompt_names_it(chat: PlainChat) -> None:
    system = {"role": "system", "content": "Your name is Kestrel."}
    assert "Kestrel" in chat.reply([system, {"role": "user", "content": "What is your name?"}])


def test_any_order_of_roles_is_rendered(chat: PlainChat) -> None:
    for roles in (["assistant"], ["user", "user"], ["assistant", "system", "system", "user"], []):
        messages = [{"role": role, "content": f"hello {role}"} for role in roles]
        assert len(chat.prompt(messages)) >= 2 + 4 * len(roles)
