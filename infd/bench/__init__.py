"""`infd bench`: what the daemon costs beside llama.cpp alone, measured on this machine.

The bench is a client like any other: it starts a throw-away daemon (throwaway.py), speaks to it
over the wire (wire.py, pipelining.py) and compares with llama.cpp's plain loop in a process of
its own (plain_side.py). What is compared, and why it is fair, stands in decoding.py, turns.py,
calls.py and footprint.py; report.py makes the table.
"""

from __future__ import annotations
