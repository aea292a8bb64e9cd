"""Waiting for work that cannot be called back: a thread that writes or hashes."""

from __future__ import annotations

import asyncio
from typing import TypeVar

T = TypeVar("T")


async def to_the_end(future: asyncio.Future[T]) -> T:
    """The future's result, waited for even if the caller is cancelled meanwhile.

    A cancellation is raised only when the future is done, so that whoever holds a lock around
    this call holds it until the thread is through. The future itself is never cancelled.
    """
    cancelled: asyncio.CancelledError | None = None
    while not future.done():
        try:
            await asyncio.wait([future])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        if not future.cancelled():
            future.exception()  # seen, so that asyncio does not report it as forgotten
        raise cancelled
    return future.result()
