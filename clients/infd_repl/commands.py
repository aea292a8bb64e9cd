"""The `/` commands of the REPL: short ones for people, and one for every operation."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infd_client import InfdError, codes
from infd_protocol.operations import OPERATIONS, SAMPLING, Key, resolve
from infd_repl import words
from infd_repl.calling import find, find_code
from infd_repl.keyvalues import parse_value, parse_words

if TYPE_CHECKING:
    from infd_repl.repl import Repl

SETTINGS: dict[str, Key] = {key.name: key for key in SAMPLING} | {
    key.name: key
    for key in OPERATIONS["exec_execute_input"].takes
    if key.name in ("SEED", "MAX_TOKENS", "STOP")
}
"""What /set sets: the keys of exec_execute_input that shape a run."""


class Quit(Exception):
    """The person wants to leave."""


@dataclass(frozen=True, slots=True)
class Command:
    """A short command: how it is used, what it does, and what else its own help says."""

    usage: str
    doc: str
    run: Callable[[Repl, str], None]
    more: str = ""


def run(repl: Repl, line: str) -> None:
    """Run a line that begins with `/`. Raises ValueError for one that is none."""
    name, _, rest = line[1:].strip().partition(" ")
    command = COMMANDS.get(name)
    if command is not None:
        command.run(repl, rest.strip())
        return
    if resolve(name) is None and not name.startswith(("inf_", "exec_")):
        raise ValueError(f"There is no command /{name}; /help lists them.")
    operate(repl, name, rest)


def operate(repl: Repl, name: str, rest: str) -> None:
    """An operation with KEY=VALUE words; CTXID is the context in use when it is left out."""
    row = find(name, "/help")
    keys, data = parse_words(row, words.split(rest))
    if "CTXID" in row.required and "CTXID" not in keys:
        keys["CTXID"] = repl.talk.chat.ctxid
    if row.streaming and keys.pop("STREAM", False):
        stream = repl.talk.client.stream(keys["CTXID"], offset=keys.get("OFFSET", 0))
        repl.show(stream)
        return
    result = repl.talk.client.call(row.name, keys, data)
    repl.view.result(row, result)
    if row.name == "inf_destroy_session":
        repl.talk.drop_all()
    elif row.name == "inf_destroy_context" and keys.get("CTXID") in repl.talk.chats:
        repl.talk.forget(keys["CTXID"])
    elif row.name == "inf_modify_user_access_token" and keys["USERNAME"] == repl.talk.username:
        repl.talk.token = result.keys["ACCTOK"]
    repl.talk.refresh()


def _help(repl: Repl, rest: str) -> None:
    name = rest.lstrip("/")
    if name in COMMANDS:
        command = COMMANDS[name]
        repl.view.line(f"/{command.usage}: {command.doc}")
        if command.more:
            repl.view.notice(command.more)
    elif name and (code := find_code(name)):
        repl.view.code(code)
    elif name:
        repl.view.operation(find(name, "/help"))
    else:
        repl.view.table(
            ("operation", ""), [(f"/{row.name}", row.doc) for row in OPERATIONS.values()]
        )
        repl.view.line("")
        # Last, because the top of a long list scrolls away.
        repl.view.table(
            ("command", ""), [(f"/{each.usage}", each.doc) for each in COMMANDS.values()]
        )
        repl.view.notice(
            "Enter sends; Esc-Enter or a backslash at the end goes on in a new line. Ctrl-C "
            "stops a reply, Ctrl-D leaves, Ctrl-Z suspends. A message that begins with / is "
            "written //. /help set says how several texts are written."
        )


def _model(repl: Repl, rest: str) -> None:
    if rest:
        repl.talk.begin(rest)
        repl.tell_context()
    else:
        repl.view.line(f"The model is {repl.talk.model}; /model NAME changes it.")


def _models(repl: Repl, rest: str) -> None:
    rows: list[tuple[object, ...]] = []
    for name in repl.talk.refresh_names():
        try:
            info = repl.talk.client.inf_get_model_info(model=name)
        except InfdError as error:
            rows.append((name, error.detail, "", ""))
            continue
        state = "loaded" if info.loaded else "not loaded"
        rows.append((name, state, info.training_context or "", info.budget_free))
    repl.view.table(("model", "", "training context", "free tokens"), rows)


def _context(repl: Repl, rest: str) -> None:
    what, _, more = rest.partition(" ")
    talk = repl.talk
    if what == "new":
        talk.begin(size=_number(more, "SIZE") if more else None)
        repl.tell_context()
    elif what == "drop" and not more.strip():
        yours = ", ".join(map(str, talk.chats))
        raise ValueError(
            f"Which one? /context drop ID frees one of yours here: {yours}."
            if yours else "There is no context to drop here."
        )  # fmt: skip
    elif what == "drop":
        talk.drop(_number(more, "ID"))
        repl.view.notice(f"Context {more} is gone.")
    elif what and what != "list":
        talk.use(_number(what, "ID"))
        repl.tell_context()
    else:
        rows = [
            ("*" if chat.ctxid == talk.current else "", ctxid, chat.model, chat.ctxsize)
            for ctxid, chat in talk.chats.items()
        ]
        repl.view.table(("", "context", "model", "tokens"), rows)


def _number(text: str, what: str) -> int:
    if not text.strip().isdecimal():
        raise ValueError(f"{what} must be a number, not {text!r}.")
    return int(text)


def _clear(repl: Repl, rest: str) -> None:
    repl.talk.chat.clear()
    repl.talk.refresh()
    repl.view.notice("The conversation begins anew.")


def _regenerate(repl: Repl, rest: str) -> None:
    repl.show(repl.talk.chat.regenerate())


def _edit(repl: Repl, rest: str) -> None:
    if not repl.talk.last:
        raise ValueError("Nothing was sent yet.")
    text = rest or repl.edited(repl.talk.last)
    if not text.strip():
        repl.view.notice("The message stays as it was.")
        return
    stream = repl.talk.chat.edit_last(text)
    repl.talk.remember(text)
    repl.show(stream)


def _system(repl: Repl, rest: str) -> None:
    if not rest:
        if repl.talk.system:
            repl.view.line(f"System message: {repl.talk.system}")
            repl.view.notice("/system TEXT changes it, /system - removes it.")
        else:
            repl.view.line("There is no system message; /system TEXT sets one.")
        return
    repl.talk.system = None if rest == "-" else rest
    old = repl.talk.chat
    repl.talk.begin(size=old.ctxsize)
    if old.ctxid is not None:
        repl.talk.drop(old.ctxid)
    repl.view.notice("Set; the conversation begins anew, in a new context.")


def _set(repl: Repl, rest: str) -> None:
    sampling = repl.talk.sampling
    for word in words.split(rest):
        name, equals, text = word.partition("=")
        key = SETTINGS.get(name.upper())
        if key is None or not equals:
            known = ", ".join(each.lower() for each in SETTINGS)
            raise ValueError(f"/set takes NAME=VALUE with one of {known}, not {word!r}.")
        if text:
            sampling[name.lower()] = key.check(parse_value(key, text))
        else:
            sampling.pop(name.lower(), None)
    for chat in repl.talk.chats.values():
        chat.sampling = dict(sampling)
    told = ", ".join(f"{name}={_typed(value)}" for name, value in sampling.items())
    repl.view.line(told or "Nothing is set; /set temp=0.7 sets, /set temp= unsets.")


def _typed(value: object) -> str:
    """The value as /set takes it."""
    return json.dumps(value, ensure_ascii=False)


def _status(repl: Repl, rest: str) -> None:
    client, chat = repl.talk.client, repl.talk.chat
    assert chat.ctxid is not None
    status = client.inf_get_context_status(ctxid=chat.ctxid)
    repl.view.pairs(
        [
            ("daemon", client.address),
            ("user", repl.talk.username),
            ("model", status.model),
            ("context", chat.ctxid),
            ("state", codes.BY_NUMBER[status.code].sentence),
            ("tokens", f"{status.tokens_used} of {status.ctxsize}"),
        ]
    )


def _stop(repl: Repl, rest: str) -> None:
    chat = repl.talk.chat
    chat.stop()
    assert chat.ctxid is not None
    repl.talk.client.exec_stop(ctxid=chat.ctxid)  # also a run that this chat did not start
    repl.view.notice("Nothing runs in this context now.")
    repl.talk.refresh()


def _messages(repl: Repl, rest: str) -> None:
    ctxid = repl.talk.chat.ctxid
    assert ctxid is not None
    listed = repl.talk.client.exec_get_messages(ctxid=ctxid)
    rows = zip(listed.msgid, listed.role, listed.in_history, listed.text, strict=True)
    repl.view.table(("id", "role", "in history", "text"), list(rows))


def _quit(repl: Repl, rest: str) -> None:
    raise Quit


COMMANDS: dict[str, Command] = {
    "help": Command("help [NAME]", "list commands and operations, explain one or a code", _help),
    "model": Command("model [NAME]", "talk to another model, in a new context", _model),
    "models": Command("models", "list the models that you may use", _models),
    "context": Command(
        "context [new [SIZE] | ID | drop ID]", "list contexts, make, switch to or free one",
        _context,
    ),
    "clear": Command("clear", "forget the conversation, keep the context", _clear),
    "regenerate": Command("regenerate", "answer the last message again", _regenerate),
    "edit": Command(
        "edit [TEXT]", "change the last message and answer it", _edit,
        "Without TEXT the last message is there to be changed: Enter sends it, Ctrl-C leaves it "
        "as it was.",
    ),
    "system": Command("system [TEXT | -]", "show, set or remove the system message", _system),
    "set": Command(
        "set [NAME=VALUE …]", "sampling, seed, max_tokens, stop; NAME= unsets", _set,
        'Several texts: stop=a,b or, as JSON, stop=["a", "b, c"]. In both \\n is a newline; quotes '
        "keep blanks together: stop='a b'.",
    ),
    "status": Command("status", "show daemon, user, model and context", _status),
    "stop": Command("stop", "end the run of this context", _stop),
    "messages": Command("messages", "list the messages of this context", _messages),
    "quit": Command("quit", "leave (also Ctrl-D)", _quit),
}  # fmt: skip
