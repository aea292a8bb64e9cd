"""The calls of one client, sans I/O: who waits for which answer, across lost connections.

Both clients put their shell around a `Calls`: they give it bytes and the news that a connection
was made or lost, and take bytes to send. It has no socket, no clock, no thread and no lock; the
blocking client guards it with one.

A call's life:

    submit -> queued -> sent (seq in flight) -> answered
                 ^            | connection lost
                 |            +-- repeatable: queued again, before what waits
                 +------------+-- else: fails with ConnectionLost, its outcome unknown

- Repeatable is what only reads (`Operation.reads`), exec_next with OFFSET (it reads again
  from a known byte), and exec_stop (stopping twice is stopping once; it is sent again before
  anything that was called later, so it cannot meet a later run of this client).
- A forgotten call (timed out, cancelled) stays in flight until its last answer, which is
  dropped. `forgotten` is a plain flag, so that it can be set from any thread and from `__del__`.
- More calls than the daemon takes at once wait in the queue; one place is kept for naming the
  session.
- The position in each context's reply (what was given to a caller) is kept here, because
  exec_next must always say its OFFSET for nothing to be lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from copy import copy
from typing import Any

from infd_client.failures import CallTimeout, ConnectionLost
from infd_protocol import codes, frames
from infd_protocol.connection import Connection, Response, Role, State
from infd_protocol.errors import InfdError, InfSessionTokenMismatch, PktError, error_for
from infd_protocol.operations import OPERATIONS, Operation

ENDED = -1
"""The position of a reply whose last answer was given: the next exec_next sends no OFFSET."""

_ALWAYS_REPEATED = frozenset({"exec_stop"})
_REMEMBERED = frozenset(
    {
        "inf_access_request",
        "inf_destroy_session",
        "inf_clear_context_history",
        "inf_destroy_context",
        "exec_execute_input",
    }
)  # operations whose answer changes what the client remembers

Slot = tuple[str, int]
"""A context: the session's token, the context's id."""


class Call:
    """One call and where its answers go. The shells say how in `answer` and `fail`."""

    __slots__ = ("data", "forgotten", "keys", "op", "repeatable", "was")

    def __init__(self, op: str, keys: dict[str, Any], data: str | None, repeatable: bool) -> None:
        self.op = op
        self.keys = keys
        self.data = data
        self.repeatable = repeatable
        self.forgotten = False
        self.was: int | None = None

    def answer(self, response: Response) -> bool:
        """Take a response. True: ask again with the keys as they are now."""
        raise NotImplementedError

    def fail(self, error: BaseException) -> None:
        """No response will come."""
        raise NotImplementedError

    def again(self) -> None:
        """The call is about to be repeated on a new connection."""


class _Presentation(Call):
    """Names the session on a new connection, so that the daemon does not take it for orphaned."""

    __slots__ = ()

    def answer(self, response: Response) -> bool:
        return False

    def fail(self, error: BaseException) -> None:
        pass


def only_reads(row: Operation | None, keys: Mapping[str, Any]) -> bool:
    """Whether the call changes nothing."""
    if row is None:
        return False
    return "OFFSET" in keys if row.streaming else row.reads


def repeatable(row: Operation | None, keys: Mapping[str, Any]) -> bool:
    """Whether the call may be made twice without harm."""
    return only_reads(row, keys) or (row is not None and row.name in _ALWAYS_REPEATED)


def late(op: str, keys: Mapping[str, Any], timeout: float) -> CallTimeout:
    """The call was sent, and not answered within so many seconds."""
    effect = "" if only_reads(OPERATIONS.get(op), keys) else "; it may still take effect"
    return CallTimeout(f"{op} was not answered within {timeout:g} s{effect}.")


def no_turn(op: str, timeout: float) -> CallTimeout:
    """The call was never sent: another one of its context was before it."""
    return CallTimeout(f"{op} did not get its turn within {timeout:g} s.")


def utf8_length(text: str) -> int:
    """How many bytes the text has on the wire."""
    return len(text) if text.isascii() else len(text.encode())


def succeeded(row: Operation | None, code: int) -> bool:
    """Whether the code says that the operation was carried out."""
    if row is None:
        return code in (codes.INF_SUCCESS, codes.EXEC_SUCCESS)
    return code in row.success


class Calls:
    """See the head of this module."""

    def __init__(
        self, *, max_frame: int = frames.MAX_FRAME, max_in_flight: int = frames.MAX_IN_FLIGHT
    ) -> None:
        self.stok: str | None = None
        self.username: str | None = None
        """Who opened the session, if this client did."""
        self.positions: dict[Slot, int] = {}
        self.proven = False
        """Whether any connection of this client was ever answered on."""
        self.answered = False
        """Whether the connection at hand was."""
        self.paused = False
        """The shell's buffer is full: nothing more is sent."""
        self.farewell: InfdError | None = None
        self._max_frame = max_frame
        self._max_in_flight = max_in_flight
        self._connection: Connection | None = None
        self._named = False
        self._sent: dict[int, Call] = {}
        self._queue: deque[Call] = deque()
        self._out: list[bytes] = []

    # --- making a call ---------------------------------------------------------------------

    def prepare(self, row: Operation | None, keys: Mapping[str, Any]) -> dict[str, Any]:
        """The keys without those that are None, with the remembered STOK.

        Raises InfSessionTokenMismatch if a session is needed and there is none.
        """
        ready = {name: value for name, value in keys.items() if value is not None}
        if row is not None and row.session and "STOK" not in ready:
            if self.stok is None:
                raise InfSessionTokenMismatch(
                    "There is no session yet: call login() or inf_access_request() first."
                )
            ready["STOK"] = self.stok
        return ready

    def submit(self, call: Call) -> None:
        """Send the call as soon as there is a connection with room for it."""
        self._queue.append(call)
        self.pump()

    def pump(self) -> None:
        """Turn queued calls into bytes while there is room."""
        connection = self._connection
        if connection is None or connection.state is not State.OPEN:
            return  # what waits is sent on the next connection
        queue = self._queue
        while queue and not self.paused and connection.in_flight < self._max_in_flight - 1:
            call = queue.popleft()
            if call.forgotten:
                continue
            if call.op == "exec_execute_input":
                # Until it is answered, nobody knows which reply the next exec_next will read.
                slot = self.slot(call.keys)
                call.was = self.positions.pop(slot, None) if slot else None
            try:
                seq, wire = connection.send_request(call.op, call.keys, call.data)
            except (ValueError, TypeError, OverflowError) as error:
                call.fail(error)
                continue
            if not self._named and "STOK" in call.keys:
                self._named = True
                if len(wire) > frames.UNAUTHENTICATED_FRAME:
                    # Frames this long are for connections that have named their session.
                    self._present(call.keys["STOK"])
            self._sent[seq] = call
            self._out.append(wire)

    def _present(self, stok: str) -> None:
        """Name the session with a request that changes nothing."""
        assert self._connection is not None
        call = _Presentation("inf_get_context_ids", {"STOK": stok}, None, False)
        seq, wire = self._connection.send_request(call.op, call.keys)
        self._named = True
        self._sent[seq] = call
        self._out.append(wire)

    def take(self) -> bytes:
        """The bytes to send, once."""
        out = self._out
        wire = out[0] if len(out) == 1 else b"".join(out)
        out.clear()
        return wire

    @property
    def has_output(self) -> bool:
        return bool(self._out)

    @property
    def wanted(self) -> bool:
        """Whether a connection is of use: somebody waits, or a session is to be kept alive."""
        return self.stok is not None or any(not call.forgotten for call in self._queue)

    # --- connections -----------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        return self._connection is not None

    def made(self) -> None:
        """There is a new connection: present the session, then send what waits."""
        self._connection = Connection(
            Role.CLIENT, max_frame=self._max_frame, max_in_flight=self._max_in_flight
        )
        self.paused = False
        self.answered = False
        self.farewell = None
        self._named = False
        if self.stok is not None and self.proven:
            self._present(self.stok)
        self.pump()

    def receive(self, data: bytes) -> None:
        """Take bytes and hand out the answers in them.

        Raises ProtocolError when the daemon broke the protocol: the shell ends the connection.
        """
        connection = self._connection
        if connection is None:
            return
        connection.receive(data)
        sent = self._sent
        while (event := connection.next_event()) is not None:
            if type(event) is not Response:
                continue
            seq = event.seq
            if seq == 0:
                self.farewell = error_for(event.code, event.keys)
                continue
            self.answered = self.proven = True
            call = sent.pop(seq) if event.last else sent[seq]
            if call.op in _REMEMBERED:
                self._remember(call, event)
            if not call.forgotten and call.answer(event):
                if not event.last:
                    # What still comes with the old seq is somebody else's by now.
                    sent[seq] = _Presentation(call.op, call.keys, None, False)
                self._queue.append(call)
        if self._queue:
            self.pump()

    def lost(self, reason: str) -> None:
        """The connection is over: fail what cannot be repeated, keep the rest."""
        self._connection = None
        self._out.clear()
        sent, self._sent = self._sent, {}
        again: list[Call] = []
        blame = self.farewell if isinstance(self.farewell, PktError) else None
        for call in sent.values():
            if call.forgotten or isinstance(call, _Presentation):
                continue
            if blame is not None:
                call.fail(copy(blame))
            elif call.repeatable:
                call.again()
                again.append(call)
            else:
                call.fail(
                    ConnectionLost(
                        f"The connection was lost ({reason}) before {call.op} was answered; "
                        "whether it took effect is unknown."
                    )
                )
        self._queue.extendleft(reversed(again))

    def end(self, error: BaseException) -> None:
        """No connection will come: fail everything that waits."""
        self._connection = None
        self._out.clear()
        calls = (*self._sent.values(), *self._queue)
        self._sent = {}
        self._queue = deque()
        for call in calls:
            if not call.forgotten:
                call.fail(copy(error))  # each caller raises its own, with its own traceback

    # --- what is remembered ----------------------------------------------------------------

    def slot(self, keys: Mapping[str, Any]) -> Slot | None:
        """The context that the keys name, or None if they name none properly."""
        try:
            return str(keys["STOK"]), int(keys["CTXID"])
        except (KeyError, TypeError, ValueError):
            return None

    def position(self, keys: Mapping[str, Any]) -> int | None:
        """The OFFSET that an exec_next with these keys ought to carry, or None."""
        slot = self.slot(keys)
        position = self.positions.get(slot) if slot else None
        return None if position == ENDED else position

    def was_given(self, slot: Slot | None, response: Response) -> None:
        """A caller has this answer of exec_next, of a context, in hand."""
        offset = response.keys.get("OFFSET")
        if slot is None or response.code != codes.EXEC_SUCCESS or type(offset) is not int:
            return
        end = offset + utf8_length(response.data or "")
        self.positions[slot] = ENDED if response.keys.get("IS_SPECIAL") is True else end

    def _remember(self, call: Call, response: Response) -> None:
        slot = self.slot(call.keys)
        if not succeeded(OPERATIONS[call.op], response.code):
            if slot and call.was is not None:
                self.positions.setdefault(slot, call.was)
        elif call.op == "inf_access_request":
            self.stok = response.keys.get("STOK")
            self.username = call.keys.get("USERNAME")
        elif call.op == "inf_destroy_session":
            gone = call.keys.get("STOK")
            self.stok = None if gone == self.stok else self.stok
            self.positions = {key: at for key, at in self.positions.items() if key[0] != gone}
        elif slot and call.op == "exec_execute_input":
            self.positions[slot] = 0
        elif slot:
            self.positions.pop(slot, None)
