"""Loss terms as torch functions, and their weighted sum."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import singledispatch

import torch
from torch import Tensor, nn

from aegui.recipes.parts import L1, MSE, CrossEntropy, LossTerm, TotalVariation

# (output, target, logits, labels) → scalar
Term = Callable[[Tensor, Tensor, Tensor | None, Tensor], Tensor]


def total_variation(image: Tensor, reduction: str = "mean") -> Tensor:
    """Anisotropic total variation of (N, c, H, W) (Rudin et al. 1992): Σ|∂x| + Σ|∂y|, or the sum of both means."""
    down = (image[..., 1:, :] - image[..., :-1, :]).abs()
    right = (image[..., :, 1:] - image[..., :, :-1]).abs()
    return down.sum() + right.sum() if reduction == "sum" else down.mean() + right.mean()


@singledispatch
def build_term(part: LossTerm) -> Term:
    """The torch function of a loss term."""
    raise TypeError(f"no builder for {type(part).__name__}")


@build_term.register
def _(part: MSE) -> Term:
    return lambda output, target, logits, labels: nn.functional.mse_loss(output, target)


@build_term.register
def _(part: L1) -> Term:
    return lambda output, target, logits, labels: nn.functional.l1_loss(output, target)


@build_term.register
def _(part: TotalVariation) -> Term:
    return lambda output, target, logits, labels: total_variation(output, part.reduction)


@build_term.register
def _(part: CrossEntropy) -> Term:
    def term(output: Tensor, target: Tensor, logits: Tensor | None, labels: Tensor) -> Tensor:
        # A batch without any label has no classification term; the mean over nothing would be NaN.
        if logits is None or not bool((labels >= 0).any()):
            return output.new_zeros(())
        return nn.functional.cross_entropy(logits.float(), labels, ignore_index=-1)

    return term


class Objective:
    """The weighted sum of loss terms, in normalised units."""

    def __init__(self, losses: Sequence[LossTerm]) -> None:
        self._terms = [(part.kind, part.weight, build_term(part)) for part in losses]  # type: ignore[attr-defined]

    @property
    def names(self) -> list[str]:
        """Term names, in order."""
        return [name for name, _, _ in self._terms]

    def __call__(
        self, output: Tensor, target: Tensor, logits: Tensor | None, labels: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """(total, unweighted value by term)."""
        total: Tensor | None = None
        values: dict[str, float] = {}
        for name, weight, term in self._terms:
            value = term(output, target, logits, labels)
            values[name] = float(value.detach())
            # A term multiplied by 1 is left alone, so that the sum is bit for bit the plain formula.
            weighted = value if weight == 1 else weight * value
            total = weighted if total is None else total + weighted
        assert total is not None
        return total, values


def no_labels(count: int, device: torch.device) -> Tensor:
    """Labels that say "unknown"."""
    return torch.full((count,), -1, dtype=torch.long, device=device)
