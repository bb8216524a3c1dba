"""What targets add to the loss besides the terms of the recipe: the consistency of Neighbor2Neighbor."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aegui.models.networks import Outputs
from aegui.models.slicenet import SliceNet
from aegui.recipes import Recipe
from aegui.recipes.targets import Neighbor2Neighbor

if TYPE_CHECKING:
    from aegui.training.step import OnDevice


def picked(whole: Tensor, picks: Tensor) -> Tensor:
    """(N, c, 2H, 2W) → (N, c, H, W): of each 2×2 block the pixel 2·row + column that picks (N, H, W) name."""
    count, channels, rows, columns = whole.shape
    corners = torch.nn.functional.pixel_unshuffle(whole, 2).reshape(count, channels, 4, rows // 2, columns // 2)
    where = picks[:, None, None].expand(-1, channels, -1, -1, -1)
    return corners.gather(2, where)[:, :, 0]


def extra_term(recipe: Recipe, net: SliceNet, on: OnDevice, found: Outputs) -> Tensor | None:
    """γ·mean((f(g₁y) − g₂y − (g₁f(y) − g₂f(y)))²), the last bracket without gradient (Huang et al. 2021)."""
    targets = recipe.targets
    if not isinstance(targets, Neighbor2Neighbor) or not targets.gamma or on.whole is None or on.picks is None:
        return None
    training = net.training
    # No statistics may be counted twice, and nothing dropped.
    net.eval()
    try:
        with torch.no_grad():
            whole = net.outputs(on.whole, on.level).image.float()
    finally:
        net.train(training)
    first, second = (picked(whole, on.picks[:, k]) for k in (0, 1))
    return targets.gamma * ((found.image.float() - on.clean - (first - second)) ** 2).mean()
