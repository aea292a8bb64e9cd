"""The tokenizer of the demo model: byte-level BPE whose merges spell out whole known words.

Rules: each frequent word of the wordings is one token, reached by merges that grow from its first
letter, and only with the space before it or with a capital first letter. So a name or word that
the wordings do not have falls into letters (but for a prefix it may share with a known word),
which makes copying, spelling and reversing easy. All 256 bytes are in the vocabulary; digits
stay single. The markers of the chat template are control tokens, never made from plain text.
Limits: pre-tokenization is GPT-2's, as llama.cpp's ``gpt-2`` does it.
"""

from __future__ import annotations

import random
import string
from collections import Counter
from functools import cache

from tokenizers import Tokenizer, models, pre_tokenizers

from infd.demo.conversations import BOOK, CHAT, FACTS, NOTED, RECALL, UNKNOWN, Message, opened
from infd.demo.grammar import words
from infd.demo.pieces import PIECES

END = "<|im_end|>"
MARKERS = (END, "<|im_start|>", "<|im_start|>system", "<|im_start|>user", "<|im_start|>assistant")
TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
SPACE = "Ġ"  # how byte-level BPE writes a space
SIZE = 1024
SEED = 7
SAMPLE = 4000


def known() -> set[str]:
    """The words of the training wordings and of the fixed replies, lower-case."""
    lines = [line for group in BOOK.values() for line in group.train]
    for fact in FACTS:
        lines += [*fact.group.train, fact.answer]
    lines += [*CHAT.values(), *RECALL.values(), NOTED, UNKNOWN, "nice to meet you i am my name is"]
    return {word for line in lines for word in words(line) if word.isalpha()}


def frequent() -> list[str]:
    """The known words by how often conversations have them, ``_`` for the space before."""
    split = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    mine, counts = known(), Counter[str]()
    rng = random.Random(SEED)
    for _ in range(SAMPLE):
        talk = opened(rng)
        for _ in range(6):
            talk.turn()
        for message in talk.messages:
            counts.update(piece for piece, _ in split.pre_tokenize_str(message["content"]))
    out = []
    for piece, _ in counts.most_common():
        bare = piece.removeprefix(SPACE)
        if bare.lower() in mine and not bare.isupper() and (bare != piece or piece.istitle()):
            out.append(piece.replace(SPACE, "_"))
    return out


def chosen(size: int) -> list[tuple[str, str]]:
    """The merges, first those that join a space to one character."""
    singles = string.ascii_letters + string.digits + '"+='
    merges = [(SPACE, one) for one in singles]
    merges += [("'", "s"), ("'", "m"), ("'", "v"), ("'v", "e")]
    seen = {left + right for left, right in merges}
    for word in PIECES:
        piece = word.replace("_", SPACE)
        for end in range(2, len(piece) + 1):
            left, right = piece[: end - 1], piece[end - 1]
            if left + right not in seen and len(seen) < size:
                seen.add(left + right)
                merges.append((left, right))
    return merges


def build() -> Tokenizer:
    """The tokenizer; the same on every machine, for it depends on PIECES only."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = chosen(SIZE - len(alphabet) - len(MARKERS))
    tokens = [*alphabet, *(left + right for left, right in merges), *MARKERS]
    vocabulary = {token: number for number, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    return tokenizer


class Coder:
    """Encodes messages one at a time, with the labels of what the model must say."""

    def __init__(self) -> None:
        self.tokenizer = build()
        self.size = self.tokenizer.get_vocab_size()
        self._id = {marker: self.tokenizer.token_to_id(marker) for marker in MARKERS}
        self._line = self.text("\n")

        @cache
        def head(role: str) -> list[int]:
            return [self._id[f"<|im_start|>{role}"], *self._line]

        self._head = head

    def text(self, text: str) -> list[int]:
        """Plain text, which never becomes a marker."""
        return list(self.tokenizer.encode(text).ids)

    def message(self, message: Message) -> tuple[list[int], list[bool]]:
        """The tokens of a message, and which of them the model is to predict."""
        head = self._head(message["role"])
        body = self.text("\n" + message["content"])[1:]
        tokens = [*head, *body, self._id[END], *self._line]
        mine = message["role"] == "assistant"
        return tokens, [False] * len(head) + [mine] * (len(body) + 1) + [False]


if __name__ == "__main__":
    print(" ".join(frequent()))
