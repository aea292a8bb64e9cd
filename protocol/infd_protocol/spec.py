"""The generated sections of SPEC.md: `python -m infd_protocol.spec [--check] [SPEC.md]`.

Each section stands between `<!-- generated: NAME -->` and `<!-- end: NAME -->` and is written
whole from the tables. `--check` writes nothing and exits with 1 when a section differs.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

from infd_protocol import PROTOCOL_VERSION, codec, codes, frames, values
from infd_protocol.operations import OPERATIONS, SUPERUSER, Key, Operation
from infd_protocol.values import Kind

PATH = Path(__file__).parent.parent / "SPEC.md"

_KINDS: dict[Kind, str] = {
    Kind.STR: "a str of valid UTF-8",
    Kind.UINT32: "an integer from 0 to 4294967295; no boolean, no float",
    Kind.F32: "a float or an integer, finite as a 32-bit float",
    Kind.BOOL: "true or false, or the integers 1 or 0",
    Kind.BIT: "the integer 1 or 0; true and false are refused",
    Kind.STR_LIST: "an array of str",
    Kind.UINT32_LIST: "an array of uint32",
    Kind.BOOL_LIST: "an array of bool",
    Kind.ID: "a uint32, or the same as a decimal str of at most 10 digits",
    Kind.ID_LIST: "an array of id",
    Kind.USERNAME: "a str: 1 to 64 of ASCII letters, digits, `.` `_` `-` `@`",
    Kind.NEW_ACCTOK: f"a str of {values.ACCTOK_MIN_BYTES} to {values.ACCTOK_MAX_BYTES} bytes",
    Kind.MAP: "a map",
    Kind.MAP_LIST: "an array of maps",
}


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


def _limits() -> str:
    return _table(
        ("limit", "value"),
        (
            ("protocol version", str(PROTOCOL_VERSION)),
            ("frame before a session is named", f"{frames.UNAUTHENTICATED_FRAME} bytes"),
            ("frame afterwards (`max_frame`, told by inf_hello)", f"{frames.MAX_FRAME} bytes"),
            ("frame that is read past and answered", f"under {frames.SKIP_FACTOR} × `max_frame`"),
            ("time for a begun frame", f"{frames.FRAME_SECONDS:g} s"),
            ("unanswered requests of one connection", str(frames.MAX_IN_FLIGHT)),
            ("their bytes together", f"{frames.HELD_FACTOR} × `max_frame`"),
            ("containers nested, the outer array counted", str(codec.MAX_DEPTH)),
            ("arrays and maps of a frame before a session is named", str(codec.FIRST_CONTAINERS)),
            ("arrays and maps of one frame afterwards", str(codec.MAX_CONTAINERS)),
            ("entries of one map", str(codec.MAX_MAP)),
            ("values in all arrays of a request", str(codec.MAX_VALUES)),
            ("tokens that inf_tokenize tells, else 2016", str(codec.MAX_VALUES)),
        ),
    )


def _types() -> str:
    return _table(("type", "what is taken"), ((f"`{kind}`", _KINDS[kind]) for kind in Kind))


def _codes() -> str:
    return _table(
        ("code", "name", "meaning", "success", "retry", "ext"),
        (
            (
                str(row.number),
                row.name,
                row.sentence,
                "" if row.refuses else "yes",
                "yes" if row.retryable else "",
                "ext" if row.ext else "",
            )
            for row in codes.ROWS
        ),
    )


def _overview() -> str:
    return _table(
        ("operation", "what it does", "who", "ext"),
        (
            (f"[`{row.name}`](#{row.name})", row.doc, _who(row), "ext" if row.ext else "")
            for row in OPERATIONS.values()
        ),
    )


def _who(row: Operation) -> str:
    if not row.session:
        return "anybody"
    if row.flag == SUPERUSER:
        return "superusers"
    return f"`{row.flag}`" if row.flag else "any session"


def _key(key: Key) -> str:
    marks = " ?" if key.optional else ""
    notes = [key.doc]
    if key.range:
        notes.append(str(key.range))
    if key.ext:
        notes.append("ext")
    return f"- `{key.name}{marks} <{key.kind}>`: {'; '.join(notes)}"


def _operation(row: Operation) -> str:
    lines = [f"### {row.name}", "", row.doc]
    facts = []
    if row.aliases:
        facts.append("also taken as " + ", ".join(f"`{name}`" for name in row.aliases))
    if row.flag:
        facts.append("needs " + ("a superuser" if row.flag == SUPERUSER else f"`{row.flag}`"))
    if row.reads:
        facts.append("changes nothing, so it may be repeated")
    if row.ext:
        facts.append("ext")
    if facts:
        sentence = "; ".join(facts)
        lines[-1] += f" {sentence[0].upper()}{sentence[1:]}."
    for title, keys, data in (
        ("In", row.takes, row.data_in and row.data_in + (", required" * row.data_required)),
        ("Out", row.gives, row.data_out),
    ):
        lines += ["", f"{title}:" if keys or data else f"{title}: nothing.", ""]
        lines += [_key(key) for key in keys]
        if data:
            lines.append(f"- data: {data}")
        if lines[-1] == "":
            lines.pop()
    answers = ", ".join(f"{code} {codes.BY_NUMBER[code].name}" for code in sorted(row.may_answer))
    return "\n".join([*lines, "", f"Answers: {answers}."])


def _operations() -> str:
    return "\n\n".join(_operation(row) for row in OPERATIONS.values())


SECTIONS: dict[str, Callable[[], str]] = {
    "limits": _limits,
    "types": _types,
    "codes": _codes,
    "overview": _overview,
    "operations": _operations,
}


def marks(name: str) -> tuple[str, str]:
    """The lines before and after a section."""
    return f"<!-- generated: {name} -->", f"<!-- end: {name} -->"


def generated(text: str) -> str:
    """The document with every section written anew. Raises ValueError for missing marks."""
    for name, write in SECTIONS.items():
        start, end = marks(name)
        section = re.compile(re.escape(start) + r"\n.*?" + re.escape(end), re.DOTALL)
        if len(section.findall(text)) != 1:
            raise ValueError(f"the marks of section {name} must stand in it once")
        body = f"{start}\n{write()}\n{end}"
        text = section.sub(lambda _, body=body: body, text)  # type: ignore[misc]
    return text


def main(arguments: list[str] | None = None) -> int:
    """Write the sections, or with --check compare them. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m infd_protocol.spec", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; 1 if it differs")
    parser.add_argument("path", nargs="?", type=Path, default=PATH, help="default: %(default)s")
    options = parser.parse_args(arguments)
    try:
        before = options.path.read_text(encoding="utf-8")
        after = generated(before)
        if before != after and not options.check:
            options.path.write_text(after, encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"{options.path}: {error}", file=sys.stderr)
        return 2
    if options.check and before != after:
        print(f"{options.path}: its tables are not those of the code; run without --check",
              file=sys.stderr)  # fmt: skip
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
