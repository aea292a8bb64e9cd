"""What a user's limits come to on this machine, for all of its contexts together.

Limits are stored as given and clamped here. One `Quota` a user is shared by all its contexts;
changing it binds them: threads from the next token on, the batch from the next prompt on.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from infd.accounts.user import User
from infd.engine.preparing import Preparing
from infd.engine.scheduler import Scheduler, Share
from infd.engine.worker import Limits

DEFAULT_BATCH = 512
"""BATCH_SET 0 reads as this."""


@dataclass(slots=True)
class Quota:
    """`share`: the scheduler's view of the user; `limits`: what each worker reads; `preparing`:
    the user's turns at preparing prompts."""

    share: Share
    limits: Limits
    preparing: Preparing = field(default_factory=Preparing)


class Quotas:
    """The quotas of all users that have had a context."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.cores = scheduler.cores
        self._scheduler = scheduler
        self._by_user: dict[str, Quota] = {}

    def of(self, user: User) -> Quota:
        """The user's quota, as its limits say now."""
        quota = self._by_user.get(user.username)
        if quota is None:
            quota = Quota(Share(user.username, 1), Limits(threads=1, batch=DEFAULT_BATCH))
            self._by_user[user.username] = quota
        together = max(1, min(user.max_proc_threads, self.cores))
        quota.share.max_threads = together
        quota.limits.threads = max(1, min(user.proc_threads, together, self._scheduler.widest))
        batch = user.batch_set or DEFAULT_BATCH
        quota.limits.batch = max(1, min(batch, user.ctxlength or batch))
        return quota

    def changed(self, user: User) -> None:
        """Bind a change of the user's limits."""
        if user.username in self._by_user:
            self.of(user)
            self._scheduler.changed()

    def processor_seconds(self, username: str) -> float:
        """Processor time that the user's contexts were charged for, as of the last settling."""
        quota = self._by_user.get(username)
        return 0.0 if quota is None else quota.share.used

    def forget(self, username: str) -> None:
        """The user was deleted."""
        self._by_user.pop(username, None)
