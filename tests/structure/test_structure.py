"""How the sources hang together: who imports whom, how long a file may be, what it may say."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = {
    "infd": ROOT / "infd",
    "infd_protocol": ROOT / "protocol" / "infd_protocol",
    "infd_client": ROOT / "clients" / "infd_client",
    "infd_repl": ROOT / "clients" / "infd_repl",
}
MAY_IMPORT = {
    "infd_protocol": set[str](),
    "infd_client": {"infd_protocol"},
    "infd_repl": {"infd_protocol", "infd_client"},
    "infd": {"infd_protocol", "infd_repl"},
}
"""Beside itself. `infd demo` opens the REPL, so infd/commands alone may import infd_repl."""
ONLY_THERE = {
    "llama_cpp": r"infd/engine/",
    "msgpack": r"protocol/infd_protocol/codec\.py$",
    "uvloop": r"infd/",
    "torch": r"infd/demo/",
    "cryptography": r"infd/accounts/",
    "sqlite3": r"infd/accounts/",
}
"""Modules that only paths beginning so import."""
IMPURE = {"asyncio", "socket", "threading", "time", "os", "select", "subprocess", "random"}
MAX_LINES = 400
GENERATED = re.compile(r"clients/infd_client/_[a-z]\w*\.py$")

SOURCES = {
    path.relative_to(ROOT).as_posix(): path
    for folder in PACKAGES.values()
    for path in sorted(folder.rglob("*.py"))
}
TESTS = {path.relative_to(ROOT).as_posix(): path for path in sorted((ROOT / "tests").rglob("*.py"))}
each_source = pytest.mark.parametrize("name", list(SOURCES))
each_test = pytest.mark.parametrize("name", list(TESTS))


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def imports(path: Path) -> set[str]:
    """The dotted names of every module that the file imports, wherever in it."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            found.add(node.module or "")
    return found


def tops(path: Path) -> set[str]:
    return {name.partition(".")[0] for name in imports(path)}


def calls(path: Path) -> Iterator[tuple[str, ast.Call]]:
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), node


def package_of(name: str) -> str:
    return next(
        package for package, folder in PACKAGES.items() if (ROOT / name).is_relative_to(folder)
    )


def test_the_walk_sees_the_sources() -> None:
    assert {package_of(name) for name in SOURCES} == set(PACKAGES)
    assert "infd_protocol" in tops(SOURCES["infd/link.py"])


@each_source
def test_imports_go_one_way(name: str) -> None:
    package, imported = package_of(name), tops(SOURCES[name])
    allowed = {package, *MAY_IMPORT[package]}
    if package == "infd" and not name.startswith("infd/commands/"):
        allowed.discard("infd_repl")
    assert not imported & set(PACKAGES) - allowed
    for module, place in ONLY_THERE.items():
        assert module not in imported or re.match(place, name), f"{name} imports {module}"


@each_source
def test_borders_are_kept(name: str) -> None:
    imported = tops(SOURCES[name])
    if package_of(name) == "infd_protocol" and not name.endswith("/spec.py"):
        assert not imported & IMPURE
    if package_of(name) == "infd" and {"asyncio", "threading"} <= imported:
        assert name == "infd/engine/border.py"
    if name.startswith("infd/operations/"):
        sources = SOURCES[name]
        assert not imported & {"socket", "uvloop", "msgpack", "threading"}
        assert not imports(sources) & {"infd.link", "infd.server", "infd_protocol.frames"}


@each_source
def test_a_file_is_short_and_says_what_it_is(name: str) -> None:
    text = SOURCES[name].read_text(encoding="utf-8")
    if not GENERATED.search(name):
        assert len(text.splitlines()) <= MAX_LINES
    assert ast.get_docstring(tree(SOURCES[name])), f"{name} has no docstring"
    if not name.endswith("__init__.py"):
        assert "from __future__ import annotations" in text


@each_test
def test_tests_wait_for_conditions(name: str) -> None:
    assert len(TESTS[name].read_text(encoding="utf-8").splitlines()) <= MAX_LINES
    for called, node in calls(TESTS[name]):
        assert called not in {"time.sleep", "sleep"}, f"{name}:{node.lineno} sleeps"
        if called == "asyncio.sleep":
            assert ast.unparse(node.args[0]) == "0", f"{name}:{node.lineno} sleeps"
        if called.endswith(("mark.skip", "mark.skipif", "mark.xfail")):
            reasons = {keyword.arg for keyword in node.keywords}
            assert "reason" in reasons, f"{name}:{node.lineno} skips without a reason"


def test_test_names_are_unique() -> None:
    """Under importmode=importlib two files of one name in different folders hide each other."""
    names = [Path(name).name for name in TESTS if Path(name).name.startswith("test_")]
    assert len(names) == len(set(names))


FORBIDDEN = re.compile(r"/(?:root|home/\w+|Users/\w+)/|TODO|FIXME|XXX")


def texts() -> list[str]:
    """Every text file that git knows or would take up."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    binary = (".gguf", ".png", ".gif")
    return [name for name in listed.stdout.splitlines() if not name.endswith(binary)]


def test_no_file_names_a_machine() -> None:
    """Absolute paths of somebody's machine, and notes to oneself."""
    here = Path(__file__).relative_to(ROOT).as_posix()
    found = []
    for name in texts():
        path = ROOT / name
        if name == here or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            if FORBIDDEN.search(line):
                found.append(f"{name}:{number}: {line.strip()}")
    assert found == []


BLOCKED = """
import sys
for name in ("llama_cpp", "uvloop", "cryptography", "structlog", "jinja2", "infd",
             "prompt_toolkit", "rich"):
    sys.modules[name] = None
import {module}
assert not any(name.startswith("infd.") for name in sys.modules)
"""


@pytest.mark.parametrize("module", ["infd_client", "infd_protocol", "infd_protocol.table"])
def test_the_client_imports_alone(module: str) -> None:
    """Without llama.cpp, uvloop or anything else that only the daemon needs."""
    command = [sys.executable, "-W", "error", "-c", BLOCKED.format(module=module)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
