"""The commands of `infd`: a file each, with `register(subparsers)`; `infd/cli.py` finds them.

A module imports what it needs to run only when it runs, so that `infd version` needs nothing.
"""
