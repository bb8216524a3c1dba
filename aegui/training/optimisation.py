"""A recipe's groups, optimiser and schedule, as the loop steers them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.optim.lr_scheduler import LambdaLR

from aegui.errors import UserError
from aegui.models import lora
from aegui.models.slicenet import SliceNet
from aegui.recipes import Recipe
from aegui.recipes.optimisers import LoRA
from aegui.recipes.schedules import Plateau, ScheduleBase, factor
from aegui.training.groups import torch_groups
from aegui.training.optimisers import build_optimiser, weight_decay


class PlateauDrops:
    """The drops of a plateau schedule so far, as a factor of the learning rate.

    Equals torch's ReduceLROnPlateau with threshold 0 and a patience that is one less: there, the epoch after the
    patience drops the rate; here, the last one of it.
    """

    def __init__(self, part: Plateau) -> None:
        self.part = part
        self.factor = 1.0
        self.best = -float("inf")
        self.waited = 0

    def after_epoch(self, score: float) -> None:
        """score: higher is better; what is no number counts as no gain."""
        if score > self.best:
            self.best, self.waited = score, 0
            return
        self.waited += 1
        if self.waited >= self.part.patience:
            self.factor, self.waited = max(self.factor * self.part.drop, self.part.final), 0

    def state_dict(self) -> dict[str, float]:
        """For resuming."""
        return {"factor": self.factor, "best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, float]) -> None:
        """As it stood."""
        self.factor, self.best, self.waited = state["factor"], state["best"], int(state["waited"])


class Schedule:
    """What changes while a run goes on: learning rates by step and score, frozen groups by epoch."""

    def __init__(self, optimiser: torch.optim.Optimizer, part: ScheduleBase, steps: int, steps_per_epoch: int) -> None:
        self._optimiser = optimiser
        self._drops = PlateauDrops(part) if isinstance(part, Plateau) else None
        shape = factor(part, steps, steps_per_epoch)
        self._at = shape if self._drops is None else self._dropped(shape, self._drops)
        self._lambda = LambdaLR(optimiser, self._at)

    @staticmethod
    def _dropped(shape: Any, drops: PlateauDrops) -> Any:
        return lambda step: shape(step) * drops.factor

    def begin_epoch(self, epoch: int) -> tuple[str, ...]:
        """Freeze what waits for a later epoch; returns the groups that are unfrozen with this one. epoch: from 1."""
        unfrozen: dict[str, None] = {}
        for group in self._optimiser.param_groups:
            waits = epoch < group["unfreeze_epoch"]
            if not waits and group["unfreeze_epoch"] == epoch > 1:
                unfrozen[group["name"]] = None
            for parameter in group["params"]:
                parameter.requires_grad_(not waits)
                if waits:
                    parameter.grad = None
        return tuple(unfrozen)

    def step(self) -> None:
        """One optimiser step has passed."""
        self._lambda.step()

    def after_epoch(self, score: float) -> None:
        """One epoch has passed; a plateau may lower the rates of the next steps. score: higher is better."""
        if self._drops is not None:
            self._drops.after_epoch(score)
            self._refresh()

    def _refresh(self) -> None:
        for group, base in zip(self._optimiser.param_groups, self._lambda.base_lrs, strict=True):
            group["lr"] = base * self._at(self._lambda.last_epoch)

    def state_dict(self) -> dict[str, Any]:
        """For resuming; the rates themselves are in the optimiser's state."""
        return {
            "steps": self._lambda.state_dict(),
            "drops": None if self._drops is None else self._drops.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """As it stood."""
        self._lambda.load_state_dict(state["steps"])
        if self._drops is not None:
            self._drops.load_state_dict(state["drops"])


def build(
    recipe: Recipe, net: SliceNet, steps_per_epoch: int, *, steps: int | None = None, fresh_head: bool = False
) -> tuple[torch.optim.Optimizer, Schedule]:
    """Optimiser and schedule for the network, on which adapters are put where the recipe asks for them.

    steps: of the run, where not its epochs say so. fresh_head: its head is new, so there is no start to pull it to.
    Each torch group bears the `name` of its recipe group.
    """
    if isinstance(recipe.adaptation, LoRA):
        lora.attach(net, recipe.adaptation, recipe.run.seed)
    optimiser = build_optimiser(
        recipe.optimiser, torch_groups(net, recipe, *weight_decay(recipe.optimiser), fresh_head)
    )
    schedule = Schedule(optimiser, recipe.schedule, steps or recipe.run.epochs * steps_per_epoch, steps_per_epoch)
    schedule.begin_epoch(1)
    if not any(parameter.requires_grad for group in optimiser.param_groups for parameter in group["params"]):
        first = min(group["unfreeze_epoch"] for group in optimiser.param_groups)
        raise UserError(f"Nothing is trained before epoch {first}.", "Let at least one group train from the start.")
    return optimiser, schedule


def _named(optimiser: torch.optim.Optimizer) -> Iterator[tuple[str, float]]:
    for group in optimiser.param_groups:
        for name in group.get("names", [group["name"]]):
            yield name, float(group["lr"])


def rates(optimiser: torch.optim.Optimizer) -> dict[str, float]:
    """Learning rate by recipe group: that of its fastest layer."""
    found: dict[str, float] = {}
    for name, rate in _named(optimiser):
        found.setdefault(name, rate)
    return found


def names(optimiser: torch.optim.Optimizer) -> list[str]:
    """Recipe groups that train, in order."""
    return list(rates(optimiser))
