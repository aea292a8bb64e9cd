"""Contexts as the daemon's loop sees them: messages, history, the reply and its readers."""

from __future__ import annotations
