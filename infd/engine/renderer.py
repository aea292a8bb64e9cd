"""Chat templates, rendered: the Jinja environment, and the helper process that runs it.

A template is a program from a model file, so it runs sandboxed and in a process of its own,
which its parent (templates.py) kills when it takes too long and which cannot take more than
`MEMORY_LIMIT` of memory. `python -m infd.engine.renderer` reads requests from standard input and
writes answers to standard output, each a 4-byte big-endian length and JSON:
first {"template", "bos", "eos"} (answered when it can serve), then [[role, text], ...] each;
answers {"ok": text} or {"error": words}. It ends with its input. This file imports neither
llama.cpp nor asyncio.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, BinaryIO

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

# The contract's limit on what a template may give (section 9).
OUTPUT_LIMIT = 16 * 1024 * 1024
# The interpreter with jinja2 maps some 40 MB; a 16 MiB text held a dozen times fits the rest.
MEMORY_LIMIT = 512 * 1024 * 1024
_LENGTH = struct.Struct(">I")

Message = tuple[str, str]
Render = Callable[[Sequence[Message]], str]


class _GenerationTag(Extension):
    """{% generation %} … {% endgeneration %} marks what a model is trained on; here only text."""

    tags = {"generation"}  # noqa: RUF012 - Jinja's interface

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


class _Refused(Exception):
    """The template called raise_exception, or gave too much."""


def _raise_exception(message: object) -> None:
    raise _Refused(str(message))


def _strftime_now(form: str) -> str:
    return datetime.now().strftime(form)


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # Unlike Jinja's own filter this one does not escape for HTML: models were trained without.
    return json.dumps(
        value,
        ensure_ascii=ensure_ascii,
        indent=indent,
        separators=separators,
        sort_keys=sort_keys,
    )


def compile_template(source: str, bos: str, eos: str) -> Render:
    """A function from messages to the prompt's text. Raises ValueError with the words to show.

    The environment is the one that chat templates are written for (Hugging Face's): sandboxed,
    blocks trimmed, loop controls, the generation tag, raise_exception, strftime_now, a tojson that
    escapes nothing.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True,
        lstrip_blocks=True,
        extensions=[loopcontrols, _GenerationTag],
    )
    environment.filters["tojson"] = _tojson
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    try:
        template = environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise ValueError(f"line {error.lineno}: {error.message}") from None
    except Exception as error:
        raise ValueError(_words(error)) from None

    def render(messages: Sequence[Message]) -> str:
        shown: list[Mapping[str, str]] = [{"role": r, "content": t} for r, t in messages]
        parts: list[str] = []
        size = 0
        try:
            for part in template.generate(
                messages=shown,
                add_generation_prompt=True,
                bos_token=bos,
                eos_token=eos,
                tools=None,
                documents=None,
            ):
                size += len(part)
                if size > OUTPUT_LIMIT:
                    raise _Refused(f"it gives more than {OUTPUT_LIMIT // 2**20} MiB of text")
                parts.append(part)
        except Exception as error:
            raise ValueError(_words(error)) from None
        text = "".join(parts)
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise ValueError("it gives text that is no valid Unicode") from None
        return text

    return render


def _words(error: Exception) -> str:
    """An error of a template in one line: its own words where it has some."""
    said = " ".join(str(error).split())
    if isinstance(error, MemoryError):
        return "it needs too much memory"
    if isinstance(error, RecursionError):
        return "it calls itself too deeply"
    if isinstance(error, (_Refused, jinja2.TemplateError)):
        return said or type(error).__name__
    return f"{type(error).__name__}: {said}"


def read_frame(file: BinaryIO) -> Any:
    """One request or answer; EOFError at the end of the pipe."""
    head = file.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    (size,) = _LENGTH.unpack(head)
    body = file.read(size)
    if len(body) < size:
        raise EOFError
    return json.loads(body)


def frame(value: Any) -> bytes:
    """A request or an answer as it goes through the pipe."""
    body = json.dumps(value, ensure_ascii=True).encode("ascii")
    return _LENGTH.pack(len(body)) + body


def main() -> None:
    """Serve one template until standard input ends."""
    import resource
    import signal

    # A terminal's Ctrl-C reaches the whole group; the daemon decides when this one ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    source, sink = sys.stdin.buffer, sys.stdout.buffer
    render: Render | None = None
    refused = ""
    try:
        setup = read_frame(source)
        try:
            render = compile_template(setup["template"], setup["bos"], setup["eos"])
        except ValueError as error:
            refused = str(error)
        sink.write(frame({"ok": ""}))
        sink.flush()
        while True:
            messages = [(role, text) for role, text in read_frame(source)]
            answer = {"error": refused}
            if render is not None:
                try:
                    answer = {"ok": render(messages)}
                except ValueError as error:
                    answer = {"error": str(error)}
            sink.write(frame(answer))
            sink.flush()
    except (EOFError, BrokenPipeError):
        return


if __name__ == "__main__":
    main()
