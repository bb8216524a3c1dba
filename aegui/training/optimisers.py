"""torch's optimisers from recipe parts."""

from __future__ import annotations

from functools import singledispatch
from typing import Any

import torch

from aegui.errors import UserError
from aegui.recipes.optimisers import (
    LBFGS,
    SGD,
    Adagrad,
    Adam,
    AdamW,
    Muon,
    NAdam,
    OptimiserPart,
    RAdam,
    RMSprop,
)
from aegui.spec import Spec
from aegui.training import muon

Groups = list[dict[str, Any]]


def weight_decay(part: Spec) -> tuple[float, bool]:
    """(weight decay, whether normalisation layers and biases are spared)."""
    return (part.weight_decay, part.spare) if isinstance(part, OptimiserPart) else (0.0, False)


@singledispatch
def build_optimiser(part: Spec, groups: Groups) -> torch.optim.Optimizer:
    """The torch optimiser of a recipe part."""
    raise TypeError(f"no builder for {type(part).__name__}")


@build_optimiser.register
def _(part: Adam, groups: Groups) -> torch.optim.Optimizer:
    return torch.optim.Adam(groups, betas=(part.beta1, part.beta2), weight_decay=part.weight_decay)


@build_optimiser.register
def _(part: AdamW, groups: Groups) -> torch.optim.Optimizer:
    return torch.optim.AdamW(groups, betas=(part.beta1, part.beta2), weight_decay=part.weight_decay)


@build_optimiser.register
def _(part: RAdam, groups: Groups) -> torch.optim.Optimizer:
    return torch.optim.RAdam(groups, betas=(part.beta1, part.beta2), weight_decay=part.weight_decay)


@build_optimiser.register
def _(part: NAdam, groups: Groups) -> torch.optim.Optimizer:
    return torch.optim.NAdam(groups, betas=(part.beta1, part.beta2), weight_decay=part.weight_decay)


@build_optimiser.register
def _(part: SGD, groups: Groups) -> torch.optim.Optimizer:
    return torch.optim.SGD(
        groups, lr=1e-3, momentum=part.momentum, nesterov=part.nesterov, weight_decay=part.weight_decay
    )


@build_optimiser.register
def _(part: RMSprop, groups: Groups) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, alpha=part.smoothing, momentum=part.momentum, weight_decay=part.weight_decay)


@build_optimiser.register
def _(part: Adagrad, groups: Groups) -> torch.optim.Optimizer:
    return torch.optim.Adagrad(groups, weight_decay=part.weight_decay)


@build_optimiser.register
def _(part: Muon, groups: Groups) -> torch.optim.Optimizer:
    return muon.Muon(groups, momentum=part.momentum, weight_decay=part.weight_decay, betas=(part.beta1, part.beta2))


@build_optimiser.register
def _(part: LBFGS, groups: Groups) -> torch.optim.Optimizer:
    """torch's takes one group; those of the recipe must agree on the rate."""
    if len({group["lr"] for group in groups}) > 1 or any("start" in g or g["unfreeze_epoch"] > 1 for g in groups):
        raise UserError(*LBFGS_ONE_RATE)
    together = {**groups[0], "params": [p for group in groups for p in group["params"]]}
    together["names"] = list(dict.fromkeys(group["name"] for group in groups))
    # The line search finds the length of each step; the rate is where it begins.
    return torch.optim.LBFGS(
        [together],
        lr=together["lr"],
        max_iter=part.iterations,
        history_size=part.history,
        line_search_fn="strong_wolfe",
    )


LBFGS_ONE_RATE = (
    "L-BFGS trains all weights together, at one learning rate from one epoch on.",
    "Give all groups the same rate without layer decay, pull to the start and unfreezing, or choose another optimiser.",
)
