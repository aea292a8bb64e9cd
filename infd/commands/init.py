"""`infd init`: make the state folder, its first superuser and a commented configuration."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

from infd import config
from infd.config import FILE_NAME
from infd.failures import CommandError
from infd.reach import ADMIN


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "init",
        help="make the state folder and the first superuser",
        description="Make the state folder with its first superuser, whose access token is shown "
        "this once, and an infd.toml that explains every key.",
    )
    parser.add_argument("--state", metavar="DIR", help="the state folder")
    parser.add_argument(
        "--admin", metavar="NAME", default=ADMIN, help=f"the first superuser ({ADMIN})"
    )
    parser.add_argument("--json", action="store_true", help="print the user and token as JSON")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    from infd.accounts import offline
    from infd.accounts.store import StoreError

    state = Path(given.state).expanduser() if given.state else config.default_state()
    try:
        token = offline.init(state, given.admin)
        _write_sample(state / FILE_NAME)
        (state / "models").mkdir(exist_ok=True)
    except StoreError as error:
        raise CommandError(str(error)) from None
    except OSError as error:
        raise CommandError(f"{error.filename}: {error.strerror}") from None
    if given.json:
        print(json.dumps({"username": given.admin, "acctok": token}))
        return 0
    print(f"The state folder is {state}; its {FILE_NAME} explains what can be set.")
    print(f"The superuser is {given.admin}. Its access token, shown this once:")
    print(token)
    if given.admin != ADMIN:
        print(
            f"infd model and infd user log in as {ADMIN} unless told otherwise: set "
            f"INFD_USER={given.admin}, or give them --user {given.admin}."
        )
    print(f"Put models (*.gguf) into {state / 'models'} and start: infd serve --state {state}")
    return 0


def _write_sample(file: Path) -> None:
    """The commented sample, unless there is a configuration already; owned as the folder is."""
    try:
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    with open(descriptor, "w") as stream:
        stream.write(config.sample())
        if os.geteuid() == 0:
            owner = file.parent.stat()
            os.fchown(stream.fileno(), owner.st_uid, owner.st_gid)
