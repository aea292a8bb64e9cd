"""infd: a daemon that serves language models over one TCP protocol."""

from __future__ import annotations

__version__ = "0.1.0"
