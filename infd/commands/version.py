"""`infd version`: which infd, which llama.cpp."""

from __future__ import annotations

import argparse
import json
import platform
from importlib import metadata
from typing import Any

from infd import __version__
from infd_protocol import PROTOCOL_VERSION


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser("version", help="say which version this is")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    try:
        library = metadata.version("llama-cpp-python")
    except metadata.PackageNotFoundError:
        library = ""
    about = {
        "infd": __version__,
        "protocol": PROTOCOL_VERSION,
        "python": platform.python_version(),
        "llama-cpp-python": library,
    }
    if given.json:
        print(json.dumps(about))
    else:
        print(f"infd {__version__} (protocol {PROTOCOL_VERSION}, Python {about['python']}, "
              f"llama-cpp-python {library or 'not installed'})")  # fmt: skip
    return 0
