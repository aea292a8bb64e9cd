"""`python -m infd_repl` is `infc`."""

from __future__ import annotations

from infd_repl.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
