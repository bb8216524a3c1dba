"""The weighted sum of a recipe's loss terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from aegui.recipes.losses import LossTerm, weight_at
from aegui.training.losses import Comparison, Context, Learner, Seen, build_term


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
        """(total, unweighted value by term), in float32. epoch: how many have passed, with fractions."""
        total: Tensor | None = None
        values: dict[str, float] = {}
        with torch.autocast(seen.output.device.type, enabled=False):
            for part, term in self._terms:
                weight = weight_at(part, epoch, self._epochs)
                with torch.set_grad_enabled(torch.is_grad_enabled() and weight != 0):
                    value = term(seen)
                values[part.name] = float(value.detach())
                if weight == 0:
                    continue
                # A term multiplied by 1 is left alone, so that the sum is bit for bit the plain formula.
                weighted = value if weight == 1 else weight * value
                total = weighted if total is None else total + weighted
            if total is None or (seen.output.requires_grad and not total.requires_grad):
                # No term says anything yet, or about this batch: a step goes nowhere, but it is one.
                total = (0.0 if total is None else total) + 0 * seen.output.sum()
        return total, values

    def among(self, latents: Tensor, labels: Tensor, epoch: float = 0.0) -> tuple[float, dict[str, float]]:
        """As a call, of the terms that compare slices with each other: of all slices that validation saw one by one.

        latents: (N, features), pooled. labels: (N,), −1 unknown.
        """
        terms = [(part, term) for part, term in self._terms if isinstance(term, Comparison)]
        values = {part.name: float(term.among(latents, labels)) for part, term in terms}
        return sum(weight_at(part, epoch, self._epochs) * values[part.name] for part, _ in terms), values

    def second(self, seen: Seen) -> dict[str, float]:
        """After a step of the main network: one of each network that terms have themselves; their losses by term.

        They learn from the first step on, also while the term's weight is still 0.
        """
        return {part.name: term.learn(seen) for part, term in self._terms if isinstance(term, Learner)}

    def state_dict(self) -> dict[str, Any]:
        """What terms have learnt, for a resumed run."""
        return {part.name: term.state_dict() for part, term in self._terms if isinstance(term, Learner)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from there."""
        for part, term in self._terms:
            if isinstance(term, Learner):
                term.load_state_dict(state[part.name])
