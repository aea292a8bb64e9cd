"""The reply of one run, and who reads it.

The reply is kept whole, as UTF-8, until the next run: a reader may ask for it again from any
byte. Rules:
- A reader waits until there is at least one token's text beyond its position, or the end.
- Readers without OFFSET go on where the last answer ended (`cursor`); waiting ones are served in
  the order of their arrival.
- A streaming reader keeps its own position and is answered until the last answer. While its
  sink is not writable its pieces stay here and merge.
- A stream that its sink holds up is given the reply to its end, whatever the context does next.
- The last answer has IS_SPECIAL=true. A halted run gives 2013 to all who wait; if nobody does,
  to the next reader, once.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Protocol

from infd_protocol.errors import (
    ExecMissingMessage,
    InfContextHalted,
    InfdError,
    InfInvalidParams,
    PktOverloaded,
)

MAX_PIECE = 256 * 1024
"""The most bytes of text in one answer, so that a long reply read again makes no giant frame."""

MOST_READERS, MOST_STREAMS = 1024, 16
"""Who may wait for one reply: each piece of it costs a response for each stream."""

READ_TO_ITS_END = "The reply was read to its end; execute the next message."


class Source(Protocol):
    """What a sink tells of itself: a context."""

    def resume(self, reader: Reader) -> None: ...

    def forget(self, reader: Reader) -> None: ...


class Sink(Protocol):
    """Where a reader's answers go."""

    @property
    def writable(self) -> bool:
        """Whether a stream may send another piece now."""

    @property
    def closed(self) -> bool:
        """Whether nobody listens any more."""

    def waits_for(self, source: Source, reader: Reader) -> None:
        """The answers will come from this reader of `source`."""

    def send(self, keys: dict[str, Any], data: str, *, last: bool) -> None:
        """One answer of code 3000."""

    def refuse(self, error: InfdError) -> None:
        """The refusing answer; the last one."""


class Reader:
    """One exec_next under way. `position` is None until the cursor tells it; `reply` is what it
    reads, also when the context has a newer one."""

    __slots__ = ("position", "reply", "sink", "stream")

    def __init__(self, sink: Sink, *, offset: int | None = None, stream: bool = False) -> None:
        self.sink = sink
        self.position = offset
        self.stream = stream
        self.reply: Reply | None = None


class Reply:
    """The text of one run. Used on the loop's thread only."""

    def __init__(self) -> None:
        self.cursor = 0
        self.tokens_read = 0
        self.finish: dict[str, Any] | None = None
        self._data = bytearray()
        self._tokens = 0
        self._marks: deque[tuple[int, int]] = deque()
        self._waiting: deque[Reader] = deque()
        self._last_given = False
        self._halted: str | None = None

    # --- what the run adds -----------------------------------------------------------------

    def add(self, text: str, tokens: int) -> None:
        """Text that `tokens` more tokens made; it may be empty."""
        self._tokens += tokens
        if not text:
            return
        self._data += text.encode()
        self._marks.append((len(self._data), self._tokens))
        self.serve()

    def end(self, finish: dict[str, Any]) -> None:
        """No more text. `finish` is what the last answer carries."""
        self.finish = finish
        self.serve()

    def halt(self, detail: str) -> None:
        """The run was aborted: every reader, or else the next one, gets 2013."""
        self._halted = detail
        waiting = self._take_waiting()
        for reader in waiting:
            reader.sink.refuse(InfContextHalted(detail))
        if waiting:
            self._halted = ""

    def cut(self, offset: int) -> None:
        """Forget what stands behind byte `offset`."""
        del self._data[offset:]
        self.cursor = min(self.cursor, offset)

    # --- what readers ask ------------------------------------------------------------------

    @property
    def size(self) -> int:
        """Bytes so far."""
        return len(self._data)

    @property
    def text(self) -> str:
        return self._data.decode()

    @property
    def over(self) -> bool:
        """Whether the run has ended, either way."""
        return self.finish is not None or self._halted is not None

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def check_offset(self, offset: int) -> None:
        """Raises InfInvalidParams when no character of the reply begins at this byte."""
        if offset > len(self._data):
            raise InfInvalidParams(f"OFFSET {offset} is beyond the reply's {self.size} bytes.")
        if offset < len(self._data) and self._data[offset] & 0xC0 == 0x80:
            raise InfInvalidParams(f"OFFSET {offset} is inside a character.")

    def read(self, reader: Reader) -> None:
        """Answer the reader now, or when there is something.

        Raises ExecMissingMessage, InfContextHalted, InfInvalidParams, or PktOverloaded when too
        many wait.
        """
        if self._halted is not None:
            detail, self._halted = self._halted, ""
            if detail:
                raise InfContextHalted(detail)
            raise ExecMissingMessage("The run was aborted; there is nothing to read.")
        if reader.position is not None:
            self.check_offset(reader.position)
        elif self._last_given:
            raise ExecMissingMessage(READ_TO_ITS_END)
        if len(self._waiting) >= MOST_READERS or (
            reader.stream and sum(r.stream for r in self._waiting) >= MOST_STREAMS
        ):
            raise PktOverloaded("Too many calls wait for this reply already.", RETRY_AFTER=1)
        reader.reply = self
        # Those who wait already have been given what there is.
        if not reader.sink.closed and self._serve_one(reader):
            self._waiting.append(reader)

    def adopt(self, reader: Reader) -> None:
        """As `read`, for one who asked before the run could begin: errors are its answer."""
        try:
            self.read(reader)
        except InfdError as error:
            reader.sink.refuse(error)

    def forget(self, reader: Reader) -> None:
        """The reader's connection is gone."""
        if reader in self._waiting:
            self._waiting.remove(reader)

    def _take_waiting(self) -> list[Reader]:
        waiting = [reader for reader in self._waiting if not reader.sink.closed]
        self._waiting.clear()
        return waiting

    # --- serving ---------------------------------------------------------------------------

    def serve(self) -> None:
        """Give every waiting reader what it can have, in the order of arrival."""
        for _ in range(len(self._waiting)):
            reader = self._waiting.popleft()
            if not reader.sink.closed and self._serve_one(reader):
                self._waiting.append(reader)

    def _serve_one(self, reader: Reader) -> bool:
        """Whether the reader goes on waiting."""
        while not reader.stream or reader.sink.writable:
            if reader.position is None and self._last_given:
                reader.sink.refuse(ExecMissingMessage(READ_TO_ITS_END))
                return False
            size = len(self._data)
            start = self.cursor if reader.position is None else min(reader.position, size)
            end = size if size - start <= MAX_PIECE else self._piece_end(start)
            last = self.finish is not None and end == size
            if end == start and not last:
                return True
            keys: dict[str, Any] = {"OFFSET": start}
            if last and self.finish is not None:
                keys["IS_SPECIAL"] = True
                keys.update(self.finish)
                self._last_given = True
            self._given(end)
            if reader.stream:
                reader.position = end
            text = self._data[start:end].decode()
            reader.sink.send(keys, text, last=last or not reader.stream)
            if last or not reader.stream:
                return False
            if end == len(self._data):
                break
        return True

    def _piece_end(self, start: int) -> int:
        end = min(self.size, start + MAX_PIECE)
        while end < self.size and self._data[end] & 0xC0 == 0x80:
            end -= 1
        return end

    def _given(self, end: int) -> None:
        self.cursor = end
        while self._marks and self._marks[0][0] <= end:
            self.tokens_read = self._marks.popleft()[1]
