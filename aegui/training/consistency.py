"""What targets add to the loss besides the terms of the recipe."""

from __future__ import annotations

import math
from functools import singledispatch
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aegui.models.networks import Outputs
from aegui.models.slicenet import SliceNet
from aegui.recipes import Recipe
from aegui.recipes.targets import BlindSpot, Neighbor2Neighbor, Recorrupted, Target

if TYPE_CHECKING:
    from aegui.training.step import OnDevice


def picked(whole: Tensor, picks: Tensor) -> Tensor:
    """(N, c, 2H, 2W) → (N, c, H, W): of each 2×2 block the pixel 2·row + column that picks (N, H, W) name."""
    count, channels, rows, columns = whole.shape
    corners = torch.nn.functional.pixel_unshuffle(whole, 2).reshape(count, channels, 4, rows // 2, columns // 2)
    where = picks[:, None, None].expand(-1, channels, -1, -1, -1)
    return corners.gather(2, where)[:, :, 0]


def extra_term(recipe: Recipe, net: SliceNet, on: OnDevice, found: Outputs) -> Tensor | None:
    """What the recipe's targets add to the loss of a step; None: nothing. found: outputs for on.noisy."""
    return _extra(recipe.targets, net, on, found.image.float())


@singledispatch
def _extra(part: Target, net: SliceNet, on: OnDevice, result: Tensor) -> Tensor | None:
    return None


@_extra.register(Neighbor2Neighbor)
def _(part: Neighbor2Neighbor, net: SliceNet, on: OnDevice, result: Tensor) -> Tensor | None:
    """γ·mean((f(g₁y) − g₂y − (g₁f(y) − g₂f(y)))²), the last bracket without gradient (Huang et al. 2021)."""
    if not part.gamma or on.whole is None or on.picks is None:
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
    return part.gamma * ((result - on.clean - (first - second)) ** 2).mean()


@_extra.register(BlindSpot)
def _(part: BlindSpot, net: SliceNet, on: OnDevice, result: Tensor) -> Tensor | None:
    """w·mean over spots of |f(y) − (g + kept(y − g))|, g = f(y with the spots hidden), without gradient.

    A network can see where pixels were replaced and guess only there; used on scans in which nothing is hidden, it
    would leave their noise. (The invariance of Noise2Same, Xie et al. 2020, in one direction.) What no guess can
    know, such as the exact place of a sharp edge, is no noise and is kept.
    """
    if not part.unhidden or on.mask is None:
        return None
    spots = on.mask.expand_as(result)
    seen = net.outputs(on.clean, on.level).image.float()
    guess = result[spots].detach()
    return part.unhidden * (seen[spots] - guess - kept(on.clean[spots] - guess, part.keep)).abs().mean()


@_extra.register(Recorrupted)
def _(part: Recorrupted, net: SliceNet, on: OnDevice, result: Tensor) -> Tensor | None:
    """mean((f(y) − f(y + a·n))²), the last without gradient, so that f(y) becomes the mean of f(y + a·n) over n.

    Pang et al. take that mean when the model is used. y = (input + a²·target)/(1 + a²) is the scan itself, less noisy
    than anything the network is trained on otherwise.
    """
    more = 1 + part.added**2
    seen = net.outputs((on.noisy + part.added**2 * on.clean) / more, on.level / math.sqrt(more)).image.float()
    return ((seen - result.detach()) ** 2).mean()


def kept(error: Tensor, times: float) -> Tensor:
    """What of y − guess is detail: r·max(0, 1 − (t/r)²) (Breiman's garrote), t = `times` robust SDs of all errors."""
    limit = times * error.abs().median() / 0.6745
    return error * (1 - (limit / error.abs().clamp_min(1e-12)) ** 2).clamp_min(0)
