"""`infc`, and `python -m infd_repl`: also while it is being loaded, Ctrl-C ends it in silence."""

from __future__ import annotations


def main() -> int:
    """Run the command; gives the exit status."""
    try:
        from infd_repl import cli

        return cli.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
