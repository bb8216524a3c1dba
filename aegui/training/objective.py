"""The weighted sum of a recipe's loss terms."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aegui.recipes.losses import LossTerm, weight_at
from aegui.training.losses import Context, Seen, build_term


class Objective:
    """The weighted sum of loss terms, in normalised units. epochs: of the run, for weights that change."""

    def __init__(self, losses: Sequence[LossTerm], context: Context, epochs: float = 1.0) -> None:
        self._terms = [(part, build_term(part, context)) for part in losses]
        self._epochs = epochs

    @property
    def names(self) -> list[str]:
        """Term names, in order."""
        return [part.name for part, _ in self._terms]

    def __call__(self, seen: Seen, epoch: float = 0.0) -> tuple[Tensor, dict[str, float]]:
        """(total, unweighted value by term). epoch: how many have passed, with fractions."""
        total: Tensor | None = None
        values: dict[str, float] = {}
        for part, term in self._terms:
            value = term(seen)
            values[part.name] = float(value.detach())
            weight = weight_at(part, epoch, self._epochs)
            # A term multiplied by 1 is left alone, so that the sum is bit for bit the plain formula.
            weighted = value if weight == 1 else weight * value
            total = weighted if total is None else total + weighted
        assert total is not None
        return total, values


def no_labels(count: int, device: torch.device) -> Tensor:
    """Labels that say "unknown"."""
    return torch.full((count,), -1, dtype=torch.long, device=device)
