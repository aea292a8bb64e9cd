"""Reading a TOML file for people: what is wrong with one is told in a line, with what to do."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

OWNER = "run it as the user who owns"
"""What to do about a file or folder that this user may not read; the beginning of a clause."""


def read_toml(file: Path) -> dict[str, Any]:
    """The file's tables. Raises ValueError with what is wrong, to stand behind the file's name."""
    text = ""
    try:
        text = file.read_bytes().decode()
        return tomllib.loads(text)
    except OSError as error:
        hint = f"; {OWNER} the file" if isinstance(error, PermissionError) else ""
        raise ValueError(f"{error.strerror or error}{hint}") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ValueError(_broken(str(error), text)) from None


def _broken(said: str, text: str) -> str:
    """What the TOML reader said, with the line that it stumbled over."""
    lines = text.splitlines() or [""]
    found = re.search(r"at line (\d+)", said)
    number = min(int(found[1]), len(lines)) if found else len(lines)
    line = lines[number - 1].strip()
    if "overwrite" in said or "twice" in said:
        return f"line {number} names what was named before, keep one of them: {line}"
    return f"{said}: {line}" if line else said
