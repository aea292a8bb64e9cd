"""`infd model …`: list, describe, load and unload models of a running daemon."""

from __future__ import annotations

import argparse
import json
from typing import Any

from infd.engine.options import MIN_CTXSIZE
from infd.reach import add_options, reach
from infd.wire import Answer, Operations
from infd_protocol.errors import InfModelNameMismatch, InfUnableToOpenModelFile


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("model", help="list, load and unload models")
    actions = parser.add_subparsers(metavar="ACTION", required=True)

    def action(name: str, what: str, does: Any) -> argparse.ArgumentParser:
        added: argparse.ArgumentParser = actions.add_parser(name, help=what, description=what)
        add_options(added)
        added.add_argument("--json", action="store_true", help="as JSON")
        added.set_defaults(run=run, does=does)
        return added

    action("list", "List the models that there are, and which are loaded.", _list)
    action("info", "Describe a model.", _info).add_argument("name", metavar="NAME")
    load = action("load", "Load a model, or change the budget of a loaded one.", _load)
    load.add_argument("name", metavar="NAME")
    load.add_argument(
        "ctxsize", metavar="CTXSIZE", type=int,
        help=f"tokens that all its contexts may have together; at least {MIN_CTXSIZE}",
    )  # fmt: skip
    unload = action("unload", "End a model's contexts and free its memory.", _unload)
    unload.add_argument("name", metavar="NAME")


def run(given: argparse.Namespace) -> int:
    with reach(given, offline=False) as daemon:
        answer = given.does(daemon, given)
    print(json.dumps(answer) if given.json else _as_text(answer))
    return 0


def _ask(daemon: Operations, operation: str, name: str, **keys: Any) -> Answer:
    """Carry out an operation on the model of this name."""
    try:
        return daemon.call(operation, MODEL=name, **keys)
    except InfModelNameMismatch as error:
        # The daemon's words name an operation of the wire; `reach` adds the command.
        error.detail = f"There is no model {name!r}."
        raise


def _list(daemon: Operations, given: argparse.Namespace) -> Any:
    names = daemon.call("inf_get_program_models").keys["MODELS"]
    return [_info(daemon, argparse.Namespace(name=name)) for name in names]


def _info(daemon: Operations, given: argparse.Namespace) -> Any:
    try:
        keys = _ask(daemon, "inf_get_model_info", given.name).keys
    except InfUnableToOpenModelFile as error:
        return {"name": given.name, "problem": error.detail}
    return {"name": given.name} | {key.lower(): value for key, value in keys.items()}


def _load(daemon: Operations, given: argparse.Namespace) -> Any:
    _ask(daemon, "inf_load_model", given.name, CTXSIZE=given.ctxsize)
    return _now(daemon, given)


def _unload(daemon: Operations, given: argparse.Namespace) -> Any:
    _ask(daemon, "inf_unload_model", given.name)
    return _now(daemon, given)


def _now(daemon: Operations, given: argparse.Namespace) -> Any:
    """What a person sees of the change: the model's line of the list."""
    model = _info(daemon, given)
    return model if given.json else [model]


def _as_text(answer: Any) -> str:
    if isinstance(answer, dict):
        return "\n".join(f"{key}: {value}" for key, value in answer.items())
    return "\n".join(_line(model) for model in answer) or "no models"


def _line(model: dict[str, Any]) -> str:
    if "problem" in model:
        return f"{model['name']}  {model['problem']}"
    state = "not loaded"
    if model["loaded"]:
        used, free = model["budget_used"], model["budget_free"]
        state = f"loaded, {used} of {used + free} tokens in {model['contexts']} contexts"
    elif "progress" in model:
        state = f"loading, {model['progress']:.0%}"
    return f"{model['name']}  {model.get('architecture', '')}  {state}"
