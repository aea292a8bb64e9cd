"""The msgpack codec: the only importer of msgpack.

Decoding is strict: exactly one value, containers nested 8 deep at most, 65,536 of them at most
(256 before a session is named), maps of 256 entries at most, valid UTF-8 in every str, no ext
types. Two kinds of failure are told apart: `Malformed` (not such a value: nothing can be said of
the peer's next byte, so the connection ends) and `Misshapen` (a value, but no request or response:
it may be answered by its seq).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import msgpack

from infd_protocol.values import UINT32_MAX

MAX_DEPTH = 8
MAX_MAP = 256
MAX_CONTAINERS = 65536
"""Arrays and maps of one value. A frame of 16 MiB may spell 16 million of one byte each, which
take 12 seconds and 1.2 GiB to make."""
FIRST_CONTAINERS = 256
"""Those of a request of somebody who has named no session: none of them needs more."""
MAX_VALUES = 2**18
"""Values in all arrays of a request, more than the tokens of nearly any context: 15 million, which
a frame can spell, would hold up everybody else for seconds."""

_WALKED = frozenset({list, dict, msgpack.Timestamp})
_LONG = 64
"""Longer arrays are looked through in C: millions of numbers would hold up everybody else."""


class Malformed(ValueError):
    """Not one well-formed value within bounds."""


class Crowded(Malformed):
    """There are too many values in its arrays."""

    def __init__(self) -> None:
        super().__init__(f"there are more than {MAX_VALUES} values in its arrays")


class Misshapen(ValueError):
    """A value that is no request or response; `seq` is its sequence number, or 0."""

    def __init__(self, reason: str, seq: int = 0) -> None:
        super().__init__(reason)
        self.seq = seq


def _no_ext(code: int, data: bytes) -> NoReturn:
    raise Malformed("ext types are not used in this protocol")


def _counter(most_containers: int, most_values: int | None) -> Callable[[Any], Any]:
    """A hook that refuses one container, or one value in arrays, too many."""
    left, room = most_containers, most_values

    def count(container: Any) -> Any:
        nonlocal left, room
        left -= 1
        if left < 0:
            raise Malformed(f"there are more than {most_containers} arrays and maps")
        if room is not None and type(container) is list:
            room -= len(container)
            if room < 0:
                raise Crowded
        return container

    return count


_packer = msgpack.Packer(use_bin_type=True, autoreset=True)


def encode(value: Any) -> bytes:
    """The msgpack form. Raises TypeError or ValueError for what has none."""
    packed: bytes = _packer.pack(value)
    return packed


def decode(
    body: bytes | bytearray | memoryview,
    *,
    most_values: int | None = None,
    most_containers: int = MAX_CONTAINERS,
) -> Any:
    """The one value in `body`. Raises Malformed. `most_values`: how many may be in its arrays."""
    # Each takes a byte at least: only a longer value can hold too many.
    hook = _counter(most_containers, most_values) if len(body) > most_containers else None
    most = -1 if most_values is None else most_values
    try:
        value = msgpack.unpackb(
            body, raw=False, strict_map_key=False, max_map_len=MAX_MAP, ext_hook=_no_ext,
            list_hook=hook, object_hook=hook, max_array_len=most,
        )  # fmt: skip
    except Malformed:
        raise
    except (ValueError, TypeError, msgpack.UnpackException, RecursionError) as error:
        if "max_array_len" in str(error) and _claimed(error) <= len(body):
            raise Crowded from None
        raise Malformed(_reason(error)) from None
    kind = type(value)
    if kind in _WALKED:
        _check(value, kind, 1)
    return value


def _claimed(error: Exception) -> int:
    """How many values a refused array is to have, by msgpack's words."""
    return int(str(error).partition(" ")[0])


def _reason(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return "a str is not valid UTF-8"
    if isinstance(error, msgpack.ExtraData):
        return "bytes follow the value"
    if isinstance(error, TypeError):
        return "a map's key is itself a container"
    if "max_map_len" in str(error):
        return f"a map has more than {MAX_MAP} entries"
    return "not one msgpack value"


def _check(value: Any, kind: type, depth: int) -> None:
    """Raises Malformed when containers nest deeper than MAX_DEPTH, and for timestamps, the one
    ext type that msgpack makes into an object without asking; `value` stands at `depth`."""
    if kind is msgpack.Timestamp:
        _no_ext(-1, b"")
    if depth > MAX_DEPTH:
        raise Malformed(f"containers are nested more than {MAX_DEPTH} deep")
    if kind is dict:
        for key in value:
            if type(key) is msgpack.Timestamp:
                _no_ext(-1, b"")
        value = value.values()
    elif len(value) > _LONG and _WALKED.isdisjoint(map(type, value)):
        return
    for item in value:
        kind = type(item)
        if kind in _WALKED:
            _check(item, kind, depth + 1)


def is_seq(value: Any) -> bool:
    return type(value) is int and 0 <= value <= UINT32_MAX


def decode_request(
    body: bytes | bytearray | memoryview, *, most_containers: int = MAX_CONTAINERS
) -> tuple[int, str, dict[str, Any], Any]:
    """`(seq, op, keys, data)`. Raises Malformed or Misshapen."""
    try:
        value = decode(body, most_values=MAX_VALUES, most_containers=most_containers)
    except Crowded as error:
        raise Misshapen(str(error), peek_seq(bytes(body[:6]))) from None
    seq, op, keys, data = _four(value, "request")
    if type(op) is not str:
        raise Misshapen("the operation's name is not a str", seq)
    if seq == 0:
        raise Misshapen("seq 0 is the server's; a request counts from 1")
    return seq, op, keys, data


def decode_response(body: bytes | bytearray | memoryview) -> tuple[int, int, dict[str, Any], Any]:
    """`(seq, code, keys, data)`. Raises Malformed or Misshapen."""
    seq, code, keys, data = _four(decode(body), "response")
    if type(code) is not int or not 0 <= code <= 0xFFFF:
        raise Misshapen("the code is no uint16", seq)
    return seq, code, keys, data


def _four(value: Any, what: str) -> tuple[int, Any, dict[str, Any], Any]:
    if type(value) is not list:
        raise Misshapen(f"a {what} is an array of four")
    if len(value) != 4:
        seq = value[0] if value and is_seq(value[0]) else 0
        raise Misshapen(f"a {what} is an array of four, not of {len(value)}", seq)
    seq, head, keys, data = value
    if not is_seq(seq):
        raise Misshapen("seq is no uint32")
    if type(keys) is not dict:
        raise Misshapen("the keys are no map", seq)
    for name in keys:
        if type(name) is not str:
            raise Misshapen("a key's name is not a str", seq)
    if data is not None and type(data) is not str and type(data) is not bytes:
        raise Misshapen("the data is neither str nor nil", seq)
    return seq, head, keys, data


def peek_seq(head: bytes | bytearray) -> int:
    """The seq of a request of which only the first bytes are known, or 0 if it is not legible.

    Format source: the msgpack specification, "int format family" and "array format family".
    """
    if len(head) < 6 or head[0] != 0x94:
        return 0
    first = head[1]
    if first <= 0x7F:
        return first
    width = {0xCC: 1, 0xCD: 2, 0xCE: 4}.get(first)
    return int.from_bytes(head[2 : 2 + width], "big") if width else 0
