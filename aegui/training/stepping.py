"""One step of any optimiser: pull towards the start, clip, move."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from aegui.recipes.run import Regularisation


def trained(optimiser: torch.optim.Optimizer) -> list[nn.Parameter]:
    """The optimiser's parameters that have a gradient."""
    return [p for group in optimiser.param_groups for p in group["params"] if p.grad is not None]


@torch.no_grad()
def pull_to_start(optimiser: torch.optim.Optimizer) -> float:
    """Add the gradient of ½·l2_sp·‖w − w₀‖² (Li et al. 2018) and return the sum of these penalties."""
    penalty = 0.0
    for group in optimiser.param_groups:
        if "start" not in group:
            continue
        for parameter, start in zip(group["params"], group["start"], strict=True):
            if parameter.grad is None:
                continue
            away = parameter - start.to(parameter.device)
            parameter.grad.add_(away, alpha=group["l2_sp"])
            penalty += 0.5 * group["l2_sp"] * float(away.square().sum())
    return penalty


def clip_gradients(parameters: Sequence[nn.Parameter], part: Regularisation) -> tuple[float, bool]:
    """Limit the gradients as the recipe says; returns their norm before, and whether any was above the limit."""
    # None has one where a loss does not reach what moves, such as a head before the weight of its term rises from 0.
    reached = [parameter for parameter in parameters if parameter.grad is not None]
    gradients = [parameter.grad for parameter in reached if parameter.grad is not None]
    norm = nn.utils.get_total_norm(gradients)
    if part.gradient_clip is None or not reached:
        return float(norm), False
    if part.clip_by == "value":
        largest = nn.utils.get_total_norm(gradients, norm_type=float("inf"))
        nn.utils.clip_grad_value_(reached, part.gradient_clip)
        return float(norm), float(largest) > part.gradient_clip
    nn.utils.clip_grads_with_norm_(reached, part.gradient_clip, norm)
    return float(norm), float(norm) > part.gradient_clip


def take_step(
    optimiser: torch.optim.Optimizer, backward: Callable[[], Tensor], part: Regularisation
) -> tuple[float, bool]:
    """One step; returns the gradients' norm before clipping, and whether any was clipped.

    backward(): gives gradients and returns the loss. L-BFGS calls it several times, which must then compute the same
    function; its line search needs true gradients, so they are not clipped.
    """
    norms: list[tuple[float, bool]] = []
    searches = isinstance(optimiser, torch.optim.LBFGS)

    def evaluate() -> float:
        optimiser.zero_grad(set_to_none=True)
        loss = float(backward().detach()) + pull_to_start(optimiser)
        moving = trained(optimiser)
        if searches:
            for parameter in moving:
                assert parameter.grad is not None
                # torch's L-BFGS strings the gradients together, which those in channels-last layout resist.
                parameter.grad = parameter.grad.contiguous()
        norms.append(clip_gradients(moving, Regularisation() if searches else part))
        return loss

    if searches:
        optimiser.step(evaluate)
    else:
        evaluate()
        optimiser.step()
    return norms[0]
