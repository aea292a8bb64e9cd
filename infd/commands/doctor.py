"""`infd doctor`: look whether infd can work well here, and say what to do if not."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any


def register(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "doctor",
        help="look whether infd can work well here",
        description="Look at Python, the build of llama.cpp (by decoding with it), memory, the "
        "state folder and the port. Exit status 1 when something is bad.",
    )
    parser.add_argument("--state", metavar="DIR", help="the state folder")
    parser.add_argument("--config", metavar="FILE", type=Path, help="the configuration")
    parser.add_argument("--json", action="store_true", help="as JSON")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    from infd import config, doctor

    findings = []
    for finding in doctor.examine(config.load(given.config, state=given.state)):
        findings.append(finding)
        if not given.json:
            print(f"{finding.level:4}  {finding.text}", flush=True)
    bad = any(finding.level == "bad" for finding in findings)
    rebuild = any(finding.build for finding in findings)
    if given.json:
        rows = [{"level": finding.level, "text": finding.text} for finding in findings]
        told = {"reinstall": doctor.REINSTALL} if rebuild else {}
        print(json.dumps({"ok": not bad, "findings": rows, **told}))
    elif rebuild:
        print("To build llama.cpp anew (4 to 5 minutes on two cores):")
        print(f"  {doctor.REINSTALL}")
    return int(bad)
