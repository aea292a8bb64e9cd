"""`Chat`: a conversation in a context of its own, the short way.

    with client.chat(model="demo", ctxsize=1024) as chat:
        for piece in chat.send("hello"):
            print(piece, end="", flush=True)

A chat remembers the ids of its messages, so the last one can be answered again or edited. One
reply at a time: sending while a reply is unread to its end stops that reply, and the history
keeps what was handed out of it; who reads on in it gets a RuntimeError. A refused message leaves
the history as it was.
"""

from __future__ import annotations

from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from infd_client._results import ExecNextResult
from infd_client.failures import ClientError, ConnectionLost
from infd_client.stream import Stream
from infd_client.turns import SUPERSEDED, ChatBase, choose, smaller, wanted
from infd_protocol.errors import (
    ExecMissingMessage,
    InfContextHalted,
    InfContextIdMismatch,
    InfdError,
    InfModelContextFull,
    InfSessionTokenMismatch,
)

if TYPE_CHECKING:
    from infd_client.blocking import Client


class Chat(ChatBase):
    """A blocking chat; see the head of this module.

    `model`: None chooses the only accessible one. `ctxsize`: in tokens; None takes what model
    and user allow, 4096 at most; less where the model's budget has no room for it, see `wanted`.
    `system`: a system message. `sampling`: keyword arguments of exec_execute_input for every run
    (temp, top_p, seed, max_tokens, stop, …), and `timeout`. The context is made at the first
    message, or on entering a `with` block.

    Raises TypeError at once for another keyword, here and in `send`, `regenerate` and `edit_last`.
    Making the context raises ValueError if `model` is None and the user may use no model, or
    several, and what inf_create_context refuses. Sending raises what exec_set_input and
    exec_execute_input refuse (InfInvalidParams for a value out of range, ExecTokenLimitExceeded,
    …), TypeError for a value of a type that the protocol does not know or a message that is no
    str, and ValueError for a message that is longer than a frame or has no form in UTF-8 (a lone
    surrogate), and in a chat that was closed: `open` makes it another context.
    """

    def __init__(
        self,
        client: Client,
        *,
        model: str | None = None,
        ctxsize: int | None = None,
        system: str | None = None,
        **sampling: Any,
    ) -> None:
        super().__init__(model, ctxsize, system, sampling)
        self._client = client
        self._stream: Stream | None = None

    def open(self) -> Self:
        """Make the context, unless it is there. Raises as the head of the class says."""
        if self.ctxid is not None:
            return self
        client = self._client
        if self.model is None:
            self.model = choose(client.inf_get_accessible_models().model)
        if self.ctxsize is not None:
            made = client.inf_create_context(model=self.model, ctxsize=self.ctxsize)
        else:
            name = client.username
            user = client.inf_get_user(username=name) if name else None
            size = first = wanted(client.inf_get_model_info(model=self.model), user)
            while True:
                try:
                    made = client.inf_create_context(model=self.model, ctxsize=size)
                    break
                except InfModelContextFull as error:
                    less = smaller(size, error)
                    if less is None:
                        raise
                    size = less
            self.ctxsize = size
            self.wanted = first if size < first else None
        self.ctxid = made.ctxid
        self._closed = False
        return self

    def send(self, text: str, **sampling: Any) -> Stream:
        """Send a message; the reply as an iterator of pieces, already under way."""
        self._check(sampling, text)
        self._settle(cut=SUPERSEDED)
        ids = [*self._opening(), self._store("user", text)]
        return self._run(ids, sampling)

    def regenerate(self, **sampling: Any) -> Stream:
        """Answer the last message again. Raises ValueError if there is none."""
        self._check(sampling)
        self._settle(cut=SUPERSEDED)
        if self._turns.last is None:
            raise ValueError("Nothing was sent yet.")
        return self._run([self._turns.last], sampling)

    def edit_last(self, text: str, **sampling: Any) -> Stream:
        """Put `text` in place of the last message, and answer it. Raises ValueError if none."""
        self._check(sampling, text)
        self._settle(cut=SUPERSEDED)
        before = self._turns.before_last()
        if before is None:
            self.clear()
            return self.send(text, **sampling)
        return self._run([before, self._store("user", text)], sampling)

    def stop(self, offset: int | None = None) -> None:
        """End the reply; the history keeps what was handed out of it, or `offset` bytes."""
        self._settle(offset)

    def is_reading(self, stream: Stream) -> bool:
        """Whether this is the stream of the last reply."""
        return stream is self._stream

    def clear(self) -> None:
        """Forget the conversation; the context stays."""
        self._stream = None
        self._unsure = False
        if self.ctxid is not None:
            self._client.inf_clear_context_history(ctxid=self.ctxid)
        self._turns.clear()

    def close(self) -> None:
        """Free the context; one that is gone already, alone or with its session, is free.

        Nothing can be sent then, until `open` makes another context.
        """
        self._forget()
        if self.ctxid is not None:
            ctxid, self.ctxid = self.ctxid, None
            with suppress(InfContextIdMismatch, InfSessionTokenMismatch):
                try:
                    self._client.inf_destroy_context(ctxid=ctxid)
                except ConnectionLost:  # whether it was done is unknown, so it is done again
                    self._client.inf_destroy_context(ctxid=ctxid)

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if error is None:
            self.close()
        elif isinstance(error, ConnectionLost):
            # Nobody is there to be asked; the context ends with its session.
            self._forget()
            self.ctxid = None
        else:
            # What went wrong in the block is what its writer wants to hear of.
            with suppress(InfdError, ClientError):
                self.close()

    def _forget(self) -> None:
        self._closed = True
        self._unsure = False
        self._stream = None
        self._turns.clear()

    def _id(self) -> int:
        ctxid = self.open().ctxid
        assert ctxid is not None
        return ctxid

    def _store(self, role: str, text: str) -> int:
        return self._client.exec_set_input(ctxid=self._id(), role=role, data=text).msgid

    def _opening(self) -> list[int]:
        turns = self._turns
        if turns.system and turns.system_id is None:
            turns.system_id = self._store("system", turns.system)
        return turns.opening()

    def _run(self, ids: list[int], sampling: dict[str, Any]) -> Stream:
        ctxid = self._id()
        keys = {**self.sampling, **sampling}
        try:
            self._client.exec_execute_input(ctxid=ctxid, msgid=ids, **keys)
        except InfdError:
            raise  # refused: nothing has changed
        except BaseException:
            self._unsure = True
            raise
        self._turns.executed(ids)
        self._stream = self._client.stream(ctxid)
        return self._stream

    def _settle(self, offset: int | None = None, *, cut: str = "") -> None:
        """Bring the last reply to its end, and learn its id. `cut`: why its reader gets no more."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.cut(cut)
        if self._unsure:
            ctxid = self._id()
            self._client.exec_stop(ctxid=ctxid)
            self._turns.adopt(self._client.exec_get_messages(ctxid=ctxid))
            self._unsure = False
        if stream is None:
            return
        result: ExecNextResult | None = stream.result
        if result is None:
            try:
                at = stream.position if offset is None else offset
                self._client.exec_stop(ctxid=self._id(), offset=at)
                while result is None or not result.is_special:
                    result = self._client.exec_next(ctxid=self._id(), offset=at)
                    at = result.offset + len(result.text.encode())
            except (ExecMissingMessage, InfContextHalted):
                self._turns.aborted()
                return
        self._turns.replied(result.msgid)
