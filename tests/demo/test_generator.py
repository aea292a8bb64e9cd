"""The generator of conversations: the same by seed, and never a held-out wording in training."""

from __future__ import annotations

import random

from infd.demo.conversations import BOOK, FACTS, Talk, opened
from infd.demo.evaluate import SKILLS, case
from infd.demo.grammar import Group, draw, expand, words
from infd.demo.values import Values, fresh
from infd.demo.wordings import ASKED, TASKS

GROUPS: list[Group] = [*BOOK.values(), *(fact.group for fact in FACTS)]


def conversation(seed: int, turns: int = 8) -> Talk:
    talk = opened(random.Random(seed))
    for _ in range(turns):
        talk.turn()
    return talk


def test_a_pattern_stands_for_all_its_choices() -> None:
    lines = expand("[|please ]say [a|b [c|d]]")
    tails = ("say a", "say b c", "say b d")
    assert set(lines) == {head + tail for head in ("", "please ") for tail in tails}


def test_the_same_seed_gives_the_same_conversation() -> None:
    assert conversation(5).messages == conversation(5).messages
    assert conversation(5).messages != conversation(6).messages
    assert case("recall", 3, 1) == case("recall", 3, 1)


def test_a_tenth_of_the_wordings_is_held_out() -> None:
    for name, patterns in {**ASKED, **TASKS}.items():
        group = draw(name, patterns)
        share = len(group.held) / (len(group.held) + len(group.train))
        assert 0.08 < share < 0.12, name


def test_held_out_wordings_are_not_trained_on_even_in_other_case() -> None:
    for group in GROUPS:
        assert group.held
        assert not {words(line) for line in group.held} & {words(line) for line in group.train}


def test_every_word_of_a_held_out_wording_is_trained_on() -> None:
    for group in GROUPS:
        trained = {word for line in group.train for word in words(line)}
        assert trained.issuperset(word for line in group.held for word in words(line))


def test_training_never_says_a_held_out_wording() -> None:
    # Only wordings without slots can be told from the text alone.
    trained = {words(line) for group in GROUPS for line in group.train}
    held = {words(line) for group in GROUPS for line in group.held if "{" not in line} - trained
    assert held
    for seed in range(300):
        for message in conversation(seed).messages:
            assert words(message["content"]) not in held


def test_values_of_training_and_evaluation_are_apart() -> None:
    for held in (False, True):
        values = Values(random.Random(1), held)
        for make in (values.name, values.word, values.number, values.colour, values.food):
            assert all(fresh(make()) is held for _ in range(50))


def test_cases_end_with_a_question_and_its_reply() -> None:
    for skill in SKILLS:
        for number in range(20):
            messages = case(skill, number, seed=2)
            assert [m["role"] for m in messages[-2:]] == ["user", "assistant"]
            assert all(m["content"] and "{" not in m["content"] for m in messages)


def test_the_system_prompt_binds_every_reply() -> None:
    talk = Talk(random.Random(3))
    talk.system("upper", "closing")
    for _ in range(5):
        talk.turn()
    for message in talk.messages[2::2]:
        assert message["content"].isupper()
        assert message["content"].endswith(f" {talk.closing.upper()}.")


def test_reversed_and_spelled_words_are_right() -> None:
    talk = Talk(random.Random(4))
    for _ in range(20):
        talk.spell()
        talk.reverse()
    for message, reply in zip(talk.messages[::4], talk.messages[1::4], strict=True):
        assert reply["content"].replace("-", "") in message["content"]
    for message, reply in zip(talk.messages[2::4], talk.messages[3::4], strict=True):
        assert reply["content"][::-1] in message["content"]
