"""Mixup (Zhang et al. 2018): two patches and their targets in one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

if TYPE_CHECKING:
    from aegui.training.step import OnDevice


class Blend(NamedTuple):
    """share: of the patch itself; the rest is of the patch whose label stands in `labels`."""

    share: float
    labels: Tensor


def blended(on: OnDevice, alpha: float) -> tuple[OnDevice, Blend]:
    """The batch blended with itself in another order, by a share drawn from Beta(alpha, alpha) with torch's numbers.

    Labels stay those of the patch itself.
    """
    share = float(torch.distributions.Beta(alpha, alpha).sample())
    order = torch.randperm(len(on.noisy)).to(on.noisy.device)

    def mix(values: Tensor) -> Tensor:
        return share * values + (1 - share) * values[order]

    # Independent noise adds up by its variance.
    level = ((share * on.level) ** 2 + ((1 - share) * on.level[order]) ** 2).sqrt()
    level = torch.where(order == torch.arange(len(order), device=order.device), on.level, level)
    mixed = replace(on, noisy=mix(on.noisy), clean=mix(on.clean), level=level, scale=mix(on.scale))
    return mixed, Blend(share, on.label[order])
