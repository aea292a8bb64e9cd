"""Reading a reply by byte offsets, sans I/O: whole and never doubled, whatever happens.

A `Reading` is the call behind a stream: exec_next with STREAM=1 and OFFSET. It knows how many
bytes of the reply it handed on. Text that comes again is cut; where text is missing (another
reader of the same context was served in between) it asks again from where it stands; after a
lost connection it goes on from there. Offsets count UTF-8 bytes; the daemon never splits a
character, so neither does a cut.
"""

from __future__ import annotations

from typing import Any

from infd_client.calls import Call, utf8_length
from infd_protocol import codes
from infd_protocol.connection import Response


class Reading(Call):
    """The call of a stream. `deliver` gets what is to be handed on."""

    __slots__ = ("position",)

    def __init__(self, keys: dict[str, Any], offset: int) -> None:
        super().__init__("exec_next", {**keys, "STREAM": True, "OFFSET": offset}, None, True)
        self.position = offset

    def deliver(self, piece: str, response: Response) -> None:
        """A piece that was not delivered before, with the response that brought it."""
        raise NotImplementedError

    def again(self) -> None:
        self.keys["OFFSET"] = self.position

    def answer(self, response: Response) -> bool:
        piece = response.data or ""
        if response.code == codes.EXEC_SUCCESS:
            offset = response.keys.get("OFFSET", self.position)
            if offset > self.position:
                self.again()
                return True
            if offset < self.position:
                piece = piece.encode()[self.position - offset :].decode("utf-8", "replace")
            self.position += utf8_length(piece)
        self.deliver(piece, response)
        return False
