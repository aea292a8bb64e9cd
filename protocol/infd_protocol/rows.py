"""What a row of the operations table is: an operation, its keys, and how a request is checked.

How a row is read:
- `takes`: the in keys. Every operation with `session` takes STOK first.
- `codes`: what it may answer beside what any operation may (`Operation.may_answer`).
- `flag`: the authority flag that the caller needs, SUPERUSER, or nothing.
- `ordered`: later requests of the same connection wait until it is answered, because its
  effect comes only when it is on disk. All others take effect up to their first wait.
- `reads`: it changes nothing, so a client may repeat it by itself after a lost connection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from infd_protocol import codes as response_codes
from infd_protocol.errors import InfInvalidParams
from infd_protocol.values import CHECKS, Kind, Range, to_f32

SUPERUSER = "SUPERUSER"
"""In place of a flag: only superusers may."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a request or a response; `ext` marks what the seed does not have."""

    name: str
    kind: Kind
    doc: str = ""
    optional: bool = False
    ext: bool = False
    range: Range | None = None
    choices: tuple[str, ...] = ()

    def check(self, value: Any) -> Any:
        """The value in canonical form. Raises InfInvalidParams, naming the key."""
        try:
            value = CHECKS[self.kind](value)
            if self.range is not None and to_f32(value) not in self.range:
                raise ValueError(f"must be {self.range}")
            if self.choices:
                value = value.lower()
                if value not in self.choices:
                    raise ValueError(f"must be one of {', '.join(self.choices)}")
        except ValueError as error:
            raise InfInvalidParams(f"{self.name} {error}.") from None
        return value


STOK = Key("STOK", Kind.STR, "the session token")


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. See the head of this module for how to read a row."""

    name: str
    doc: str
    takes: tuple[Key, ...] = ()
    gives: tuple[Key, ...] = ()
    codes: tuple[int, ...] = ()
    flag: str | None = None
    data_in: str = ""
    data_out: str = ""
    data_required: bool = False
    session: bool = True
    streaming: bool = False
    ordered: bool = False
    reads: bool = False
    ext: bool = False
    since: int = 1
    aliases: tuple[str, ...] = ()
    success: frozenset[int] = frozenset({response_codes.INF_SUCCESS})
    by_name: Mapping[str, Key] = field(init=False, repr=False, compare=False)
    required: tuple[str, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.session:
            object.__setattr__(self, "takes", (STOK, *self.takes))
        object.__setattr__(self, "by_name", {key.name: key for key in self.takes})
        object.__setattr__(
            self, "required", tuple(key.name for key in self.takes if not key.optional)
        )

    @property
    def may_answer(self) -> frozenset[int]:
        """Every code that this operation may answer."""
        common = {
            response_codes.PKT_OVERLOADED,
            response_codes.PKT_INTERNAL_ERROR,
            response_codes.INF_INVALID_PARAMS,
        }
        if self.session:
            common.add(response_codes.INF_SESSION_TOKEN_MISMATCH)
        if self.flag:
            common.add(response_codes.INF_AUTHORIZATION_FAILED)
        return self.success.union(self.codes, common)

    def parse(self, keys: Mapping[str, Any]) -> dict[str, Any]:
        """The keys of a request, checked and canonical; nil counts as absent.

        Raises InfInvalidParams: for unknown keys with UNKNOWN, the list of their names.
        """
        known = self.by_name
        parsed: dict[str, Any] = {}
        unknown: list[str] = []
        for name, value in keys.items():
            key = known.get(name)
            if key is None:
                unknown.append(name)
            elif value is not None:
                parsed[name] = key.check(value)
        if unknown:
            names = ", ".join(unknown)
            raise InfInvalidParams(f"{self.name} takes no key {names}.", UNKNOWN=unknown)
        if len(parsed) < len(known):
            for name in self.required:
                if name not in parsed:
                    raise InfInvalidParams(f"{self.name} needs the key {name}.")
        return parsed

    def parse_data(self, data: str | bytes | None) -> str | None:
        """The payload as text, or None. Raises InfInvalidParams."""
        if isinstance(data, bytes):
            try:
                data = data.decode()
            except UnicodeDecodeError:
                raise InfInvalidParams("The data is not valid UTF-8.") from None
        if data and not self.data_in:
            raise InfInvalidParams(f"{self.name} takes no data.")
        if self.data_required and not data:
            raise InfInvalidParams(f"{self.name} needs data: {self.data_in}.")
        return data
