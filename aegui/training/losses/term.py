"""What a loss term sees, and what it is built from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import singledispatch
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from aegui.imaging import WINDOWS
from aegui.models.networks import Outputs
from aegui.models.slicenet import SliceNet
from aegui.recipes.losses import ImageLoss, LossTerm


@dataclass(frozen=True)
class Seen:
    """One step's results. output, target, noisy: (N, c, H, W) float32, normalised; of slices seen together noisy is the
    middle one.

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


@runtime_checkable
class Learner(Protocol):
    """A term with a network of its own, which learns after each step of the main one."""

    def __call__(self, seen: Seen) -> Tensor:
        """The term's value."""

    def learn(self, seen: Seen) -> float:
        """One step of its own network; its loss."""

    def state_dict(self) -> dict[str, Any]:
        """Weights and optimiser."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""


@runtime_checkable
class Comparison(Protocol):
    """A term that compares slices with each other: in validation, which sees one at a time, it has one value of all."""

    def __call__(self, seen: Seen) -> Tensor:
        """The term's value of a batch."""

    def among(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Of all slices. latents: (N, features), pooled. labels: (N,), −1 unknown."""


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


def compared(part: ImageLoss, seen: Seen) -> tuple[Tensor, Tensor]:
    """(output, target) as the term looks at them: normalised, or 0 … 1 over its CT window."""
    if part.window == "full":
        return seen.output, seen.target
    width, level = WINDOWS[part.window.capitalize()]
    low, span = (seen.scale[:, column].reshape(-1, 1, 1, 1).float() for column in (0, 1))

    def shown(image: Tensor) -> Tensor:
        return ((image * span + low - (level - width / 2)) / width).clamp(0, 1)

    return shown(seen.output), shown(seen.target)


def pooled(found: Outputs) -> Tensor:
    """The mean latent of each slice, (N, features) float32."""
    return found.latent.float().mean(dim=(-2, -1))


def nothing(seen: Seen) -> Tensor:
    """What a term gives that cannot say anything about this batch."""
    return seen.output.new_zeros(())
