"""What a loss term sees, and what it is built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch

import torch
from torch import Tensor

from aegui.models.networks import Outputs
from aegui.models.slicenet import SliceNet
from aegui.recipes.losses import LossTerm


@dataclass(frozen=True)
class Seen:
    """One step's results. output, target, noisy: (N, c, H, W) float32, normalised.

    found: everything the network computed. labels: (N,), −1 unknown. scale: (N, 2), low and span of the real units.
    mask: (N, 1, H, W) bool, pixels at which the target counts; None: all.
    """

    output: Tensor
    target: Tensor
    noisy: Tensor
    found: Outputs
    labels: Tensor
    scale: Tensor
    mask: Tensor | None = None


Term = Callable[[Seen], Tensor]


@dataclass(frozen=True)
class Context:
    """What terms are built for. start: the network as it was before training. counts: training slices by class."""

    start: SliceNet
    device: torch.device
    counts: tuple[int, ...] = ()


@singledispatch
def build_term(part: LossTerm, context: Context) -> Term:
    """The torch function of a loss term."""
    raise TypeError(f"no builder for {type(part).__name__}")
