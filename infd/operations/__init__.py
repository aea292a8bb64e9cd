"""The handlers, a file a family. Importing this package registers all of them."""

from __future__ import annotations

from infd import dispatch
from infd.operations import (
    access,
    contexts,
    execution,
    models,
    stats,
    tokens,
    user_changes,
    users,
)

__all__ = [
    "access", "contexts", "execution", "models", "stats", "tokens", "user_changes", "users",
]  # fmt: skip

dispatch.require_complete()
