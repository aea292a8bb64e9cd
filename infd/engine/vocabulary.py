"""A model's vocabulary: text to tokens, tokens to bytes, which tokens are special.

Rules: it may be used from any thread as long as its model is open. Tokenising releases the GIL.

Hazard: for the pre-tokenizers of many vocabularies (DeepSeek, Mistral's Tekken, GPT-4o, Falcon,
BLOOM …) llama.cpp uses std::regex, which recurses for every character of a word: 40,000 letters
without a space overflow a thread's 8 MiB of stack and end the process. `LONGEST_RUN` keeps runs
far below that; only longer ones are cut, so only they get other tokens than elsewhere.

llama.cpp counts all pieces of the text so far at each special token that it finds in it
(llama-vocab.cpp, tokenizer_st_partition): a history of 16,000 messages takes seconds. So a long
text is given to it in parts of about `PART`, which begin where a special token does; the tokens
are the same.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterable, Iterator
from itertools import islice, pairwise
from typing import Any

from infd.engine.errors import TokenizeError
from infd.engine.library import lib
from infd.engine.spellings import Finder

# llama.h, enum llama_vocab_type.
VOCAB_NONE, _VOCAB_SPM, _VOCAB_BPE = 0, 1, 2
# llama.h, enum llama_token_attr.
_UNKNOWN, _CONTROL, _USER_DEFINED, _LSTRIP = 1 << 0, 1 << 3, 1 << 4, 1 << 7
_NULL_TOKEN = -1
# Measured: 200 to 400 bytes of stack a character; this takes at most 3.2 MB.
LONGEST_RUN = 8192
_LONG_RUN = re.compile(rf"\S{{{LONGEST_RUN + 1},}}|\s{{{LONGEST_RUN + 1},}}")
PART = 4096
"""Characters."""
# So many special tokens are looked at for one to begin a part with; then the part is longer.
_TRIES = 8


class Pieces(dict[int, bytes]):
    """Token to bytes, filled as tokens are met: a hit costs what a dict costs."""

    __slots__ = ("_special", "_vocab")

    def __init__(self, vocab: Any, special: bool) -> None:
        super().__init__()
        self._vocab = vocab
        self._special = special

    def __missing__(self, token: int) -> bytes:
        size = 64
        while True:
            buffer = ctypes.create_string_buffer(size)
            n: int = lib.llama_token_to_piece(self._vocab, token, buffer, size, 0, self._special)
            if n >= 0:
                piece = buffer.raw[:n]
                self[token] = piece
                return piece
            size = -n


class Vocabulary:
    """One llama_vocab, read once."""

    def __init__(self, vocab: Any, has_tokenizer: bool) -> None:
        self._vocab = vocab
        self._kind = lib.llama_vocab_type(vocab)
        self.has_tokenizer = has_tokenizer
        self.n_tokens: int = lib.llama_vocab_n_tokens(vocab)
        self.pieces = Pieces(vocab, False)
        """Bytes by token as a reply shows them: control tokens are empty."""
        self._special_pieces = Pieces(vocab, True)
        self.bos: int = lib.llama_vocab_bos(vocab)
        self.eos: int = lib.llama_vocab_eos(vocab)
        self.adds_bos = self.bos != _NULL_TOKEN and bool(lib.llama_vocab_get_add_bos(vocab))
        """Whether every prompt begins with BOS."""
        self.end_tokens: frozenset[int] = frozenset()
        self.control_spellings: dict[str, int] = {}
        self.user_defined_spellings: dict[str, int] = {}
        self._no_beginning: tuple[str, ...] = ()
        """Spellings of tokens that take the white space before them away, that another one may
        take away, or that are no text."""
        self._always, self._special = Finder(()), Finder(())
        """What is a token in any text, and where special tokens are wanted."""
        self.has_byte_tokens = True
        self.newline_tokens: frozenset[int] = frozenset()
        if has_tokenizer:
            is_eog = lib.llama_vocab_is_eog
            self.end_tokens = frozenset(t for t in range(self.n_tokens) if is_eog(vocab, t))
            self._read_spellings()
            self.has_byte_tokens = self._find_byte_tokens()
        if has_tokenizer and self.has_byte_tokens:
            self.newline_tokens = self._find_newlines()

    def tokenize(self, text: str, *, special: bool, bos: bool) -> list[int]:
        """As `Model.tokenize`."""
        if not self.has_tokenizer:
            raise TokenizeError("the model has no tokenizer")
        out: list[int] = []
        finder = self._special if special else self._always
        for part in self._parts(text, finder):
            for run in self._runs(part):
                out += self._tokenize(run, special)
        if bos and self.adds_bos and out[:1] != [self.bos]:
            out.insert(0, self.bos)
        return out

    def piece(self, token: int, *, special: bool) -> bytes:
        """As `Model.piece`."""
        if not 0 <= token < self.n_tokens:
            raise TokenizeError(f"there is no token {token}: the vocabulary ends before it")
        return (self._special_pieces if special else self.pieces)[token]

    def _tokenize(self, text: str, special: bool) -> list[int]:
        data = text.encode("utf-8")
        room = len(data) + 2
        while True:
            tokens = (ctypes.c_int32 * room)()
            # BOS and EOS are not its business: whether they belong depends on the template.
            n: int = lib.llama_tokenize(self._vocab, data, len(data), tokens, room, False, special)
            if n >= 0:
                return tokens[:n]
            if n == -(2**31):
                raise TokenizeError("the text is too long to be tokenised")
            room = -n

    def _parts(self, text: str, finder: Finder) -> Iterator[str]:
        """The text cut where llama.cpp finds a special token in any case: it looks for the longest
        first, so no other may reach into it or out of it."""
        begun, look = 0, PART
        while look < len(text):
            at = -1
            for at, _ in islice(finder.find(text, look), _TRIES):
                if finder.stands_apart(text, at) and not text.startswith(self._no_beginning, at):
                    yield text[begun:at]
                    begun = at
                    break
            if at < 0:
                break
            look = at + PART
        yield text[begun:]

    def _runs(self, text: str) -> Iterable[str]:
        if self._kind != _VOCAB_BPE or len(text) <= LONGEST_RUN:
            return (text,)
        cuts = [
            cut
            for run in _LONG_RUN.finditer(text)
            for at in range(run.start() + LONGEST_RUN, run.end(), LONGEST_RUN)
            if (cut := self._before_spelling(text, at)) > 0
        ]
        return (text[a:b] for a, b in pairwise([0, *cuts, len(text)])) if cuts else (text,)

    def _before_spelling(self, text: str, at: int) -> int:
        """`at`, or the beginning of the special token's spelling that it would cut in two."""
        for spelled in self._spellings():
            size = len(spelled)
            found = text.find(spelled, max(0, at - size + 1), at + size - 1)
            if 0 <= found < at:
                return found
        return at

    def _spellings(self) -> Iterator[str]:
        yield from self.control_spellings
        yield from self.user_defined_spellings

    def _read_spellings(self) -> None:
        get_attr, get_text, vocab = lib.llama_vocab_get_attr, lib.llama_vocab_get_text, self._vocab
        always: list[str] = []
        no_beginning: list[str] = []
        for token in range(self.n_tokens):
            attr = get_attr(vocab, token)
            if attr & (_UNKNOWN | _CONTROL | _USER_DEFINED):
                spelled = (get_text(vocab, token) or b"").decode("utf-8", "replace")
                if not spelled:
                    continue
                if not attr & (_UNKNOWN | _CONTROL):
                    always.append(spelled)
                if attr & _LSTRIP or spelled[0].isspace() or "\ufffd" in spelled:
                    no_beginning.append(spelled)
                if attr & (_UNKNOWN | _CONTROL) or token in self.end_tokens:
                    self.control_spellings[spelled] = token
                else:
                    self.user_defined_spellings[spelled] = token
        self._always, self._special = Finder(always), Finder(self._spellings())
        self._no_beginning = tuple(no_beginning)

    def _find_newlines(self) -> frozenset[int]:
        """The tokens that are one newline: what the vocabulary says, and what "\\n" becomes."""
        said: int = lib.llama_vocab_nl(self._vocab)
        candidates = {*self._tokenize("\n", False), said} - {_NULL_TOKEN}
        return frozenset(t for t in candidates if self.pieces[t] == b"\n")

    def _find_byte_tokens(self) -> bool:
        """Without them llama.cpp's SentencePiece tokenizer throws where nobody catches."""
        if self._kind != _VOCAB_SPM:
            return True
        get_text, vocab = lib.llama_vocab_get_text, self._vocab
        texts = {get_text(vocab, t) for t in range(self.n_tokens)}
        return all(b"<0x%02X>" % i in texts or bytes([i]) in texts for i in range(256))
