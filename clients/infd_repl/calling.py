"""`infc call OP KEY=VALUE…`: any operation of the table, from a script.

STOK is filled in by a login of its own, whose session ends with the command; a script that
wants its session to go on opens one with inf_access_request and sets INFD_STOK. A token that
confirms an act (ACCTOK of inf_delete_user and the like) is the caller's own when left out.
Standard input is read only for `--data -`: what waits there unread is told of, not refused, for
it may be the caller's (a shell's `while read` loop).
Tokens are not taken from the command line, where other users see them: KEY=@FILE reads one.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

from infd_client import Client, Result, codes
from infd_protocol.operations import OPERATIONS, Operation, resolve
from infd_repl import access
from infd_repl.keyvalues import SECRET, parse_words, standard_input, unread_input


def find(name: str, listing: str = "`infc help`") -> Operation:
    """The operation of this name or alias. Raises ValueError, with the nearest names, or with
    `listing`, which is what lists them here."""
    row = resolve(name)
    if row is None:
        import difflib

        near = difflib.get_close_matches(name, OPERATIONS, 3)
        meant = f" Did you mean {', '.join(near)}?" if near else f" {listing} lists them."
        raise ValueError(f"There is no operation {name}.{meant}")
    return row


def find_code(name: str) -> codes.Code | None:
    """The code of this number or name, None if it looks like neither. Raises ValueError for one
    that looks like a code and is none."""
    row = codes.BY_NAME.get(name.upper())
    if name.isascii() and name.isdigit():
        row = codes.BY_NUMBER.get(int(name[:9]))
        if row is None:
            raise ValueError(f"There is no code {name}; the help on an operation lists its codes.")
    return row


def as_json(result: Result) -> str:
    """A result as one JSON object: code, name, keys, data."""
    row = codes.BY_NUMBER.get(result.code)
    shown = {
        "code": result.code,
        "name": row.name if row else None,
        "keys": result.keys,
        "data": result.data,
    }
    return json.dumps(shown, ensure_ascii=False)


def call(given: argparse.Namespace) -> int:
    """Run the command; the exit status."""
    row = find(given.op)
    for word in given.words:
        name, _, value = word.partition("=")
        if name.upper() in SECRET - {"STOK"} and not value.startswith("@"):
            raise ValueError(f"{name} on the command line is seen by others: use {name}=@FILE.")
    keys, data = parse_words(row, given.words)
    if given.data is not None:
        data = standard_input() if given.data == "-" else given.data
    if data is None and row.data_in and unread_input():
        print(f"infc: standard input is not read: --data - takes {row.data_in} from it",
              file=sys.stderr)  # fmt: skip
    with access.client_for(given) as client:
        return _call(client, given, row, keys, data)


def _call(
    client: Client, given: argparse.Namespace, row: Operation, keys: dict[str, Any],
    data: str | None,
) -> int:  # fmt: skip
    own = False
    token: str | None = None
    if row.session and "STOK" not in keys:
        if os.environ.get("INFD_STOK"):
            keys["STOK"] = os.environ["INFD_STOK"]
        else:
            _, token = access.log_in(client, given, ask=sys.stdin.isatty() and given.data != "-")
            own = row.name != "inf_destroy_session"
    if token is None:
        access.connect(client)
    if "ACCTOK" in row.required and "ACCTOK" not in keys:
        keys["ACCTOK"] = token or access.own_token(given)
    if row.name == "inf_access_request" and client.address.username:
        keys.setdefault("USERNAME", client.address.username)
    try:
        if row.streaming and keys.pop("STREAM", False):
            _stream(client, keys)
            return 0
        result = client.call(row.name, keys, data)
    finally:
        if own:
            access.leave(client)
    if given.json or not sys.stdout.isatty():
        print(as_json(result), flush=True)
    else:
        from infd_repl.view import View

        View().result(row, result)
    return 0


def _stream(client: Client, keys: dict[str, Any]) -> None:
    from infd_repl.plain import plain

    shown = plain if sys.stdout.isatty() else str
    stream = client.stream(keys["CTXID"], offset=keys.get("OFFSET", 0), stok=keys.get("STOK"))
    last = ""
    for piece in stream:
        print(shown(piece), end="", flush=True)
        last = piece
    if not last.endswith("\n"):
        print(flush=True)
