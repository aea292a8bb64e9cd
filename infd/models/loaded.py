"""A model that can serve: its weights, its renderer, its budget, and where its contexts compute.

On the loop's thread.
"""

from __future__ import annotations

from infd.engine.batch import Batch
from infd.engine.model import Model
from infd.engine.scheduler import Scheduler
from infd.engine.templates import Renderer
from infd.models.budget import Budget, Reservation


class LoadedModel:
    """A model that can serve. `renderer` makes prompts by the model's chat template; `batch` is
    where its contexts are in the batched placement."""

    def __init__(
        self,
        name: str,
        model: Model,
        renderer: Renderer,
        budget: Budget,
        scheduler: Scheduler,
    ) -> None:
        """`scheduler`: who gives its contexts their turns."""
        self.name = name
        self.model = model
        self.renderer = renderer
        self.scheduler = scheduler
        self.batch: Batch | None = None
        if model.options.placement == "batched":
            self.batch = Batch(model, scheduler, name, budget=lambda: budget.size)
        self._budget = budget

    @property
    def budget(self) -> int:
        """Tokens that live contexts may have together."""
        return self._budget.size

    @property
    def used(self) -> int:
        """Tokens that live contexts have together."""
        return self._budget.used

    @property
    def contexts(self) -> int:
        """Live contexts, those being made or freed included."""
        return self._budget.contexts

    def reserve(self, ctxsize: int, *, user: str, user_is_super: bool, sharers: int) -> Reservation:
        """Take tokens of the budget for a context; see `Budget.reserve`."""
        return self._budget.reserve(
            ctxsize, user=user, user_is_super=user_is_super, sharers=sharers
        )

    def resize(self, ctxsize: int) -> None:
        """Set the budget. Raises InfInvalidParams below what is in use."""
        self._budget.resize(ctxsize)

    async def idle(self) -> None:
        """Wait until every reservation is released."""
        await self._budget.idle()
