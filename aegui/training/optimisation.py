"""Parameter groups, optimisers and schedules."""

from __future__ import annotations

from collections.abc import Iterable
from functools import singledispatch
from typing import Any

import torch
from torch import nn

from aegui.models.slicenet import SliceNet
from aegui.recipes import Recipe
from aegui.recipes.optimisers import Adam, AdamW, ParameterGroup
from aegui.recipes.schedules import factor
from aegui.spec import Spec


def assign(net: SliceNet, groups: Iterable[ParameterGroup]) -> dict[str, list[nn.Parameter]]:
    """Parameters by group name: the first group that matches takes a parameter; “rest” takes all others.

    Parameters of no group, and of groups that do not train, are frozen.
    """
    wanted = {group.match: group for group in groups}
    taken: dict[str, list[nn.Parameter]] = {match: [] for match in wanted}
    for name, parameter in net.named_parameters():
        part = net.part_of(name)
        match = part if part in wanted else "rest"
        trains = match in wanted and wanted[match].train
        parameter.requires_grad_(trains)
        if trains:
            taken[match].append(parameter)
    return {match: parameters for match, parameters in taken.items() if parameters}


@singledispatch
def build_optimiser(part: Spec, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    """The torch optimiser of a recipe part."""
    raise TypeError(f"no builder for {type(part).__name__}")


@build_optimiser.register
def _(part: Adam, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, weight_decay=part.weight_decay)


@build_optimiser.register
def _(part: AdamW, groups: list[dict[str, Any]]) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, weight_decay=part.weight_decay)


def build(
    recipe: Recipe, net: SliceNet, steps_per_epoch: int
) -> tuple[torch.optim.Optimizer, torch.optim.lr_scheduler.LambdaLR]:
    """Optimiser and schedule; each torch parameter group bears its `name`."""
    rates = {group.match: group.rate for group in recipe.groups}
    groups = [
        {"params": parameters, "lr": rates[match], "name": match}
        for match, parameters in assign(net, recipe.groups).items()
    ]
    optimiser = build_optimiser(recipe.optimiser, groups)
    schedule = factor(recipe.schedule, recipe.run.epochs * steps_per_epoch, steps_per_epoch)
    return optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, schedule)


def rates(optimiser: torch.optim.Optimizer) -> dict[str, float]:
    """Learning rate by group name."""
    return {group["name"]: float(group["lr"]) for group in optimiser.param_groups}
