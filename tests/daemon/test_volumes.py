"""Bytes of requests, counted by user."""

from __future__ import annotations

from infd.volumes import MOST, Volumes


class Source:
    """A connection that is not read while its user has too much."""

    def __init__(self, volumes: Volumes, whose: str) -> None:
        self._volumes = volumes
        self._whose = whose
        self.read = True
        self.listen()

    def listen(self) -> None:
        self.read = not self._volumes.full(self._whose)
        if not self.read:
            self._volumes.stop(self._whose, self)


def test_who_has_too_much_is_read_again_when_there_is_room() -> None:
    volumes = Volumes()
    volumes.change("bob", MOST)
    assert Source(volumes, "bob").read
    volumes.change("bob", 1000)
    bob, gone, ada = (Source(volumes, name) for name in ("bob", "bob", "ada"))
    assert (bob.read, gone.read, ada.read) == (False, False, True)
    volumes.forget("bob", gone)
    volumes.change("ada", 5)
    volumes.change("ada", -5)
    volumes.change("bob", -999)
    assert not bob.read
    volumes.change("bob", -1)
    assert bob.read
    assert not gone.read
