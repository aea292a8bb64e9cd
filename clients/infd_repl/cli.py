"""The command line of `infc`.

    infc                        the REPL; a pipe on standard input: one message a line
    infc ask TEXT               one message; `-` is standard input
    infc chat --lines           one message a line, one reply a line
    infc call OP KEY=VALUE …    any operation
    infc help [OP | CODE]       the operations, or one of them, or a code
    infc --version              the version

Exit status: 0 done; 1 refused or failed, with one line on standard error; 2 misused; 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from infd_protocol.operations import OPERATIONS
from infd_repl import access
from infd_repl.arguments import Parser, Version
from infd_repl.problems import COMMAND, REPORTED, explain


def _talk_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--model", help="which model (else INFD_MODEL, else the only one)")
    parser.add_argument("--system", metavar="TEXT", help="a system message")
    parser.add_argument("--context", type=int, metavar="TOKENS", help="size of the context")
    parser.add_argument("--max-tokens", type=int, metavar="N", help="longest reply, in tokens")
    parser.add_argument("--temp", type=float, help="temperature; 0: always the likeliest token")
    parser.add_argument("--seed", type=int, metavar="N", help="of the random draws")


def parser() -> Parser:
    """The parser of the command line."""
    top = Parser(prog="infc", description="Talk to an infd daemon. Without a command: the REPL.")
    top.add_argument("--version", action=Version)
    access.add_arguments(top)
    _talk_options(top)
    top.set_defaults(run=_talk, lines=False, model=os.environ.get("INFD_MODEL"))
    # An option may stand before the command or after it: after it, what is not given must not
    # undo what stood before.
    after = argparse.SUPPRESS
    commands = top.add_subparsers(title="commands", metavar="COMMAND")

    ask = commands.add_parser(
        "ask", help="send one message, print the reply", argument_default=after
    )
    ask.add_argument("text", metavar="TEXT", help="the message; - reads standard input")
    access.add_arguments(ask)
    _talk_options(ask)
    ask.set_defaults(run=_ask)

    chat = commands.add_parser("chat", help="talk; --lines for pipes", argument_default=after)
    chat.add_argument("--lines", action="store_true", help="a message a line, a reply a line")
    access.add_arguments(chat)
    _talk_options(chat)
    chat.set_defaults(run=_talk)

    call = commands.add_parser(
        "call", help="carry out any operation", argument_default=after,
        description="Carry out any operation, in a session of its own that ends with the command: "
        "a context that inf_create_context makes is gone with it, and those of others cannot be "
        "reached. To go on from call to call, put the STOK that inf_access_request answers into "
        "INFD_STOK, and end that session with inf_destroy_session.",
    )  # fmt: skip
    call.add_argument("op", metavar="OP", help="its name; infc help lists them")
    call.add_argument("words", metavar="KEY=VALUE", nargs="*", default=[],
                      help="lists: a,b or JSON")  # fmt: skip
    call.add_argument("--data", metavar="TEXT", help="the payload; - reads standard input")
    call.add_argument("--json", action="store_true", help="print JSON (as into a pipe)")
    access.add_arguments(call)
    call.set_defaults(run=_call)
    top.set_defaults(words=[], data=None, json=False)

    explained = commands.add_parser("help", help="list the operations, explain one, or a code")
    explained.add_argument("op", metavar="OP|CODE", nargs="?",
                           help="an operation's name, a code's number or name")  # fmt: skip
    explained.set_defaults(run=_help)
    return top


def _ask(given: argparse.Namespace) -> int:
    from infd_repl import piped

    return piped.ask(given)


def _talk(given: argparse.Namespace) -> int:
    if given.lines or not (sys.stdin.isatty() and sys.stdout.isatty()):
        from infd_repl import piped

        return piped.lines(given)
    from infd_repl import repl

    return repl.start(given)


def _call(given: argparse.Namespace) -> int:
    from infd_repl import calling

    return calling.call(given)


def _help(given: argparse.Namespace) -> int:
    from infd_repl.calling import find, find_code

    if not given.op and not sys.stdout.isatty():
        # For grep: one line each, however long.
        width = max(map(len, OPERATIONS))
        for row in OPERATIONS.values():
            print(f"{row.name:{width}}  {row.doc}")
        return 0
    from infd_repl.view import View

    if given.op and (code := find_code(given.op)):
        View().code(code)
    elif given.op:
        View().operation(find(given.op))
    else:
        View().table(("operation", ""), [(row.name, row.doc) for row in OPERATIONS.values()])
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `infc`; the exit status."""
    given = parser().parse_args(arguments)
    try:
        status: int = given.run(given)
        sys.stdout.flush()
        return status
    except KeyboardInterrupt:
        print(file=sys.stderr)
        return 130
    except BrokenPipeError:
        # Whoever read us has enough; the interpreter must not try to flush again.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except ImportError as error:
        # In its folder, not by its name: what an index has under that name may be another.
        print(f"infc: {error.name} is missing: in infd's folder, pip install '.[repl]'",
              file=sys.stderr)  # fmt: skip
    except REPORTED as error:
        place = COMMAND if given.run in (_ask, _talk) else None
        print(f"infc: {explain(error, place)}", file=sys.stderr)
    except Exception as error:
        print(f"infc: unexpected {type(error).__name__}: {explain(error)}", file=sys.stderr)
    return 1
