"""Muon (Jordan et al. 2024): steps along the nearest orthogonal matrix of the momentum.

torch's own takes matrices alone; here the weights of convolutions are matrices too, output channels by the rest.
Steps are scaled to the size of Adam's (Liu et al. 2025), so that the same learning rates fit. Weights with one
dimension, such as biases, are stepped by AdamW.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

# A quintic whose iterations bring every singular value from 0 … 1 near 1; the coefficients are the paper's.
QUINTIC = (3.4445, -4.7750, 2.0315)
ITERATIONS = 5
EPS = 1e-8
OF_ADAM = 0.2  # the usual RMS of a step of Adam, in learning rates


def orthogonal(matrices: Tensor) -> Tensor:
    """The nearest (semi-)orthogonal matrices, roughly: singular values of 0.7 to 1.2. (N, rows, columns), float32."""
    a, b, c = QUINTIC
    tall = matrices.shape[1] > matrices.shape[2]
    x = (matrices.mT if tall else matrices).bfloat16()
    x = x / x.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).float()


class Muon(torch.optim.Optimizer):
    """Muon for weights of two and more dimensions, AdamW for the others. betas: of AdamW."""

    def __init__(
        self,
        params: Any,
        lr: float = 1e-3,
        momentum: float = 0.95,
        weight_decay: float = 0.0,
        betas: tuple[float, float] = (0.9, 0.999),
    ) -> None:
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "betas": betas})

    @torch.no_grad()  # torch declares step() as overloads, which one signature cannot repeat
    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """One step; closure as in torch's optimisers."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            # Matrices of one shape go through the iterations together.
            alike: dict[tuple[int, int], list[tuple[Tensor, Tensor]]] = defaultdict(list)
            for weight in group["params"]:
                gradient = weight.grad
                if gradient is None:
                    continue
                weight.mul_(1 - group["lr"] * group["weight_decay"])
                if weight.ndim < 2:
                    self._adam(weight, gradient, group)
                    continue
                matrix = self._momentum(weight, gradient, group["momentum"]).flatten(1)
                alike[matrix.shape[0], matrix.shape[1]].append((weight, matrix))
            for (rows, columns), found in alike.items():
                length = group["lr"] * OF_ADAM * math.sqrt(max(rows, columns))
                steps = orthogonal(torch.stack([matrix for _, matrix in found]))
                for (weight, _), step in zip(found, steps, strict=True):
                    weight.sub_(step.view(weight.shape), alpha=length)
        return loss

    def _momentum(self, weight: Tensor, gradient: Tensor, kept: float) -> Tensor:
        """Nesterov's: where the momentum will be after the next step."""
        state = self.state[weight]
        if not state:
            state["momentum"] = torch.zeros_like(weight)
        momentum: Tensor = state["momentum"]
        momentum.lerp_(gradient, 1 - kept)
        return torch.lerp(gradient, momentum, kept)

    def _adam(self, weight: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[weight]
        if not state:
            state |= {"step": torch.zeros(()), "mean": torch.zeros_like(weight), "square": torch.zeros_like(weight)}
        first, second = group["betas"]
        state["step"] += 1
        count = float(state["step"])
        state["mean"].lerp_(gradient, 1 - first)
        state["square"].lerp_(gradient.square(), 1 - second)
        root = (state["square"] / (1 - second**count)).sqrt_().add_(EPS)
        weight.addcdiv_(state["mean"], root, value=-group["lr"] / (1 - first**count))
