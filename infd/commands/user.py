"""`infd user …`: users of a running daemon over the wire, else those in the state folder.

Every action is made of the protocol's operations, so that both ways do and refuse the same.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from infd.accounts.user import Flag
from infd.failures import UsageError
from infd.machine import usable_cores
from infd.reach import add_options, reach
from infd.wire import Answer, Operations
from infd_protocol.errors import InfdError
from infd_protocol.operations import OPERATIONS, SAMPLING, Key
from infd_protocol.values import Kind

LIMITS = {
    # option: (key, what a new user gets without it, the operation that changes it)
    "acclimit": ("ACCLIMIT", 16, "model_access_limit"),
    "ctxlength": ("CTXLENGTH", 8192, "maximum_context_length"),
    "batch_set": ("BATCH_SET", 512, "batch_size"),
    "max_proc_threads": ("MAX_PROC_THREADS", None, "max_processor_thread_count"),
    "proc_threads": ("PROC_THREADS", None, "processor_thread_count"),
}

DEFAULTS = {"MAX_PROC_THREADS": "the machine's cores", "PROC_THREADS": "as --max-proc-threads"}
"""What a new user gets where that is no constant, for the help."""


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("user", help="list, create and change users")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, what: str, does: Any) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = actions.add_parser(name, help=what, description=what)
        add_options(added)
        added.add_argument("--json", action="store_true", help="as JSON")
        added.set_defaults(run=run, does=does)
        if name != "list":
            added.add_argument("name", metavar="NAME", help="the user's name")
        return added

    action("list", "List the users.", _list)
    action("show", "Show what is stored of a user, but for the access token.", _show)
    create = action("create", "Create a user; prints its access token, this once.", _create)
    _add_settings(create, new=True)
    create.add_argument("--static", action="store_true", help="changed by superusers only")
    action("delete", "Delete a user and end its sessions.", _delete)
    action("token", "Make a new access token for a user and print it, this once.", _token)
    _add_settings(action("modify", "Change a user's settings.", _modify), new=False)
    for name, mode in (("grant", "add"), ("revoke", "remove")):
        what = f"{'Let' if mode == 'add' else 'Do not let'} a user use models."
        granted = action(name, what, _accept)
        granted.add_argument("models", metavar="MODEL", nargs="+")
        granted.set_defaults(mode=mode)


def _add_settings(parser: argparse.ArgumentParser, *, new: bool) -> None:
    """The options of `create` (new: their help says what holds without them) and `modify`."""
    keys = OPERATIONS["inf_create_new_user"].by_name
    for option, (key, default, _) in LIMITS.items():
        without = f" (without it: {default or DEFAULTS[key]})" if new else ""
        parser.add_argument(f"--{option.replace('_', '-')}", type=int, metavar="N",
                            help=f"{keys[key].doc}{without}")  # fmt: skip
    parser.add_argument("--super", action=argparse.BooleanOptionalAction, help="a superuser")
    replaced = "" if new else ", in place of what it had"
    parser.add_argument(
        "--flags", metavar="A,B", type=_names,
        help=f"authority flags{replaced}; '' for none. There are {', '.join(Flag)}",
    )  # fmt: skip
    parser.add_argument(
        "--model",
        "--models",
        dest="models",
        metavar="A,B",
        action="extend",
        type=_names,
        help=f"its models{replaced} (may be given several times); '' for none; one whose name has "
        "a comma: infd user grant",
    )
    prompt = parser.add_mutually_exclusive_group()
    prompt.add_argument("--system-prompt", metavar="TEXT", help="its system prompt; '' for none")
    prompt.add_argument(
        "--system-prompt-file", dest="system_prompt", metavar="FILE", type=_text_of,
        help="the same, read from a file (- is standard input); an end of line at its end is not "
        "part of it",
    )  # fmt: skip
    parser.add_argument(
        "--sampling", metavar="KEY=VALUE", nargs="*", type=_sampling,
        help=f"its sampling set{replaced}{'' if new else '; no KEY=VALUE: the set is removed'}. "
        f"The keys are {', '.join(key.name for key in SAMPLING)}",
    )  # fmt: skip


def _names(text: str) -> list[str]:
    return [name for name in text.split(",") if name]


def _text_of(file: str) -> str:
    try:
        data = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        return data.decode().removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise argparse.ArgumentTypeError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise argparse.ArgumentTypeError(f"{file}: is not UTF-8 text") from None


def _sampling(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    key: Key | None = next((key for key in SAMPLING if key.name == name.upper()), None)
    if key is None or not equals:
        raise argparse.ArgumentTypeError(f"{text!r} is not KEY=VALUE with a sampling key")
    try:
        if key.kind is Kind.BOOL:
            return key.name, {"true": True, "1": True, "false": False, "0": False}[value.lower()]
        return key.name, float(value) if key.kind is Kind.F32 else int(value)
    except (KeyError, ValueError):
        raise argparse.ArgumentTypeError(f"{value!r} is no value for {key.name}") from None


def run(given: argparse.Namespace) -> int:
    with reach(given, offline=True) as daemon:
        answer = given.does(daemon, given)
    if given.json:
        print(json.dumps(answer))
    elif answer:
        print(answer if isinstance(answer, str) else _as_text(answer))
    return 0


def _list(daemon: Operations, given: argparse.Namespace) -> Any:
    names = daemon.call("inf_get_users").keys["USERNAME"]
    return [_shown(daemon.call("inf_get_user", USERNAME=name)) for name in names]


def _show(daemon: Operations, given: argparse.Namespace) -> Any:
    return _shown(daemon.call("inf_get_user", USERNAME=given.name))


def _create(daemon: Operations, given: argparse.Namespace) -> Any:
    keys: dict[str, Any] = {"USERNAME": given.name, "AUTHFLAGS": given.flags or []}
    for option, (key, default, _) in LIMITS.items():
        chosen = getattr(given, option)
        keys[key] = chosen if chosen is not None else default
    cores = usable_cores()
    if keys["MAX_PROC_THREADS"] is None:
        keys["MAX_PROC_THREADS"] = max(cores, keys["PROC_THREADS"] or 1)
    if keys["PROC_THREADS"] is None:
        keys["PROC_THREADS"] = keys["MAX_PROC_THREADS"]
    if given.super:
        keys["ISSUPER"] = 1
    if given.static:
        keys["ISSTATIC"] = 1
    keys |= dict(given.sampling or ())
    answer = daemon.call("inf_create_new_user", given.system_prompt, **keys)
    if given.models:
        try:
            daemon.call("inf_modify_user_accept_models", USERNAME=given.name, MODEL=given.models)
        except Exception:
            # All or nothing: the token of a user half made would be lost.
            _delete(daemon, given)
            raise
    return _told_token(given, answer)


def _delete(daemon: Operations, given: argparse.Namespace) -> Any:
    daemon.call("inf_delete_user", USERNAME=given.name, ACCTOK=daemon.token)


def _token(daemon: Operations, given: argparse.Namespace) -> Any:
    answer = daemon.call("inf_modify_user_access_token", USERNAME=given.name, ACCTOK=daemon.token)
    return _told_token(given, answer)


def _modify(daemon: Operations, given: argparse.Namespace) -> Any:
    changes = list(_changes(daemon, given))
    if not changes:
        raise UsageError("nothing to change; infd user modify --help lists what there is")
    done: list[str] = []
    for operation, data, keys in changes:
        try:
            daemon.call(operation, data, USERNAME=given.name, **keys)
        except InfdError as error:
            if done:
                error.detail += f" Before that was done: {', '.join(done)}."
            raise
        done.append(operation)
    return _show(daemon, given) if given.json else None


def _changes(
    daemon: Operations, given: argparse.Namespace
) -> Iterator[tuple[str, str | None, dict[str, Any]]]:
    """The operations of a modify. Limits first: a longer list of models may need a higher one."""
    for option, (key, _, what) in LIMITS.items():
        value = getattr(given, option)
        if value is not None:
            yield f"inf_modify_user_{what}", None, {key: value}
    if given.models is not None:
        yield "inf_modify_user_accept_models", None, {"MODEL": given.models}
    if given.system_prompt is not None:
        yield "inf_modify_user_system_prompt", given.system_prompt, {}
    if given.sampling is not None:
        yield "inf_modify_user_sampling_set", None, dict(given.sampling)
    confirmed = {"ACCTOK": daemon.token}
    if given.flags is not None:
        yield "inf_modify_user_set_authority_flags", None, {"AUTHFLAGS": given.flags, **confirmed}
    if given.super is not None:
        what = "make" if given.super else "unmake"
        yield f"inf_modify_user_{what}_superuser", None, confirmed


def _accept(daemon: Operations, given: argparse.Namespace) -> Any:
    answer = daemon.call(
        "inf_modify_user_accept_models",
        USERNAME=given.name, MODEL=given.models, MODE=given.mode,
    )  # fmt: skip
    models = list(answer.keys["MODEL"])
    return models if given.json else f"{given.name} may use: {', '.join(models) or 'no model'}"


def _told_token(given: argparse.Namespace, answer: Answer) -> Any:
    token = answer.keys["ACCTOK"]
    return {"username": given.name, "acctok": token} if given.json else token


def _shown(answer: Answer) -> dict[str, Any]:
    shown = {key.lower(): value for key, value in answer.keys.items()}
    return shown | {"system_prompt": answer.data or ""}


def _as_text(answer: Any) -> str:
    if isinstance(answer, dict):
        return "\n".join(f"{key}: {_worded(value)}" for key, value in answer.items())
    return "\n".join(
        f"{user['username']}  {'superuser' if user['issuper'] else _worded(user['model'])}"
        for user in answer
    )


def _worded(value: Any) -> str:
    return (", ".join(value) or "none") if isinstance(value, list) else str(value)
