"""`infd`, and `python -m infd`: also while it is being loaded, Ctrl-C ends it in silence."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the command; gives the exit status."""
    try:
        from infd import cli

        return cli.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
