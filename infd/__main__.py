"""`python -m infd` is the command `infd`."""

from __future__ import annotations

import sys

from infd.cli import main

if __name__ == "__main__":
    sys.exit(main())
