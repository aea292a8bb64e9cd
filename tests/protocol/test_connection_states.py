"""Client and server joined: whatever is asked, answered and cut, both agree on what is open."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from infd_protocol import codec, codes, frames
from infd_protocol.connection import Connection, Refusal, Request, Response, Role, State

MAX_FRAME = 2000
IN_FLIGHT = 5
KEYS = st.dictionaries(st.sampled_from(["STREAM", "A", "B"]), st.integers(0, 2), max_size=2)


class Joined(RuleBasedStateMachine):
    """The wires are byte strings that any rule may deliver in part."""

    def __init__(self) -> None:
        super().__init__()
        self.client = Connection(Role.CLIENT, max_frame=MAX_FRAME, max_in_flight=2 * IN_FLIGHT)
        self.server = Connection(Role.SERVER, max_frame=MAX_FRAME, max_in_flight=IN_FLIGHT)
        self.to_server = b""
        self.to_client = b""
        self.asked: dict[int, tuple[str, dict[str, Any], str | None]] = {}
        self.queue: list[int] = []
        self.open_at_server: set[int] = set()
        self.expected: list[tuple[int, int, str | None]] = []

    @precondition(lambda self: self.client.in_flight < 2 * IN_FLIGHT)
    @rule(
        op=st.sampled_from(["exec_next", "inf_hello", "nonsense"]),
        keys=KEYS,
        data=st.none() | st.text(max_size=20),
    )
    def ask(self, op: str, keys: dict[str, Any], data: str | None) -> None:
        data = None if data is None else data.encode("utf-8", "ignore").decode()
        seq, wire = self.client.send_request(op, keys, data)
        assert seq not in self.asked
        self.asked[seq] = (op, keys, data)
        self.queue.append(seq)
        self.to_server += wire

    @rule(size=st.integers(1, 400))
    def deliver_to_server(self, size: int) -> None:
        self.server.receive(self.to_server[:size])
        self.to_server = self.to_server[size:]
        while (event := self.server.next_event()) is not None:
            if isinstance(event, Request):
                expected = self.queue.pop(0)
                assert event == Request(expected, *self.asked[expected])
                self.open_at_server.add(event.seq)
            else:
                assert isinstance(event, Refusal)
                assert not event.close
                self.to_client += event.wire
                self.expected.append((event.seq, event.code, None))
                if event.code == codes.PKT_OVERLOADED:
                    assert event.seq == self.queue.pop(0)
                    assert len(self.open_at_server) == IN_FLIGHT

    @precondition(lambda self: self.open_at_server)
    @rule(data=st.data(), code=st.sampled_from([3000, 3000, 2005]), special=st.booleans())
    def answer(self, data: st.DataObject, code: int, special: bool) -> None:
        seq = data.draw(st.sampled_from(sorted(self.open_at_server)))
        op, keys, _ = self.asked[seq]
        streamed = op == "exec_next" and bool(keys.get("STREAM"))
        last = not streamed or code != 3000 or special
        text = f"{seq}"
        out = {"IS_SPECIAL": True} if special else {}
        self.to_client += self.server.send_response(seq, code, out, text, last=last)
        self.expected.append((seq, code, text))
        if last:
            self.open_at_server.remove(seq)

    @rule(size=st.integers(1, 400))
    def deliver_to_client(self, size: int) -> None:
        self.client.receive(self.to_client[:size])
        self.to_client = self.to_client[size:]
        while (event := self.client.next_event()) is not None:
            assert isinstance(event, Response)
            assert (event.seq, event.code, event.data) == self.expected.pop(0)
            if event.seq and event.last:
                del self.asked[event.seq]

    @rule()
    def authenticate(self) -> None:
        self.server.authenticate()

    @precondition(lambda self: self.server.authenticated)
    @rule(excess=st.integers(1, 3 * MAX_FRAME - 1))
    def send_too_long(self, excess: int) -> None:
        """By a peer beside the client, as it were: with a seq that no request has."""
        head = b"\x94\x00"
        self.to_server += frames.frame(head + b"\0" * (MAX_FRAME + excess - len(head)))

    @rule(shape=st.sampled_from([[], "x", [0, "inf_hello", {}, None], {"A": 1}]))
    def send_misshapen(self, shape: Any) -> None:
        self.to_server += frames.frame(codec.encode(shape))

    @invariant()
    def both_agree(self) -> None:
        assert self.server.in_flight == len(self.open_at_server) <= IN_FLIGHT
        assert self.client.in_flight == len(self.asked)
        assert self.open_at_server <= set(self.asked)
        assert self.client.state is State.OPEN
        assert self.server.state is not State.CLOSED


TestJoined = Joined.TestCase
