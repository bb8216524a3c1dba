"""Terms that compare single pixels, and total variation."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from aegui.recipes.losses import (
    L1,
    MSE,
    BinaryCrossEntropy,
    Charbonnier,
    Huber,
    ImageLoss,
    LogarithmicError,
    TotalVariation,
)
from aegui.training.losses.term import Context, Seen, Term, build_term, compared, nothing

# A sigmoid in float32 reaches 0 and 1; the logarithm's slope stays finite this close to them.
CERTAIN = 1e-6


def total_variation(image: Tensor, reduction: str = "mean", form: str = "anisotropic") -> Tensor:
    """Total variation of (N, c, H, W) (Rudin et al. 1992).

    Anisotropic: Σ|∂x| + Σ|∂y|, or the sum of both means. Isotropic: Σ√(∂x² + ∂y²) over the pixels, or its mean;
    differences across the last row and column are 0.
    """
    down = image[..., 1:, :] - image[..., :-1, :]
    right = image[..., :, 1:] - image[..., :, :-1]
    if form == "isotropic":
        both = torch.stack((nn.functional.pad(down, (0, 0, 0, 1)), nn.functional.pad(right, (0, 1))))
        # Unlike a square root, the norm has slope 0 where the image is flat.
        lengths: Tensor = torch.linalg.vector_norm(both, dim=0)
        return lengths.sum() if reduction == "sum" else lengths.mean()
    down, right = down.abs(), right.abs()
    return down.sum() + right.sum() if reduction == "sum" else down.mean() + right.mean()


def _at_mask(part: ImageLoss, compare: Callable[[Tensor, Tensor], Tensor]) -> Term:
    """The mean over the pixels at which the target counts."""

    def term(seen: Seen) -> Tensor:
        output, target = compared(part, seen)
        if seen.mask is None:
            return compare(output, target)
        where = seen.mask.expand_as(output)
        return compare(output[where], target[where]) if bool(where.any()) else nothing(seen)

    return term


@build_term.register
def _(part: MSE, context: Context) -> Term:
    return _at_mask(part, nn.functional.mse_loss)


@build_term.register
def _(part: L1, context: Context) -> Term:
    return _at_mask(part, nn.functional.l1_loss)


@build_term.register
def _(part: Huber, context: Context) -> Term:
    return _at_mask(part, partial(nn.functional.huber_loss, delta=part.delta))


@build_term.register
def _(part: Charbonnier, context: Context) -> Term:
    return _at_mask(part, lambda output, target: ((output - target).square() + part.epsilon**2).sqrt().mean())


@build_term.register
def _(part: LogarithmicError, context: Context) -> Term:
    """20·log10(1 + MAE / floor) or 10·log10(1 + MSE / floor²), dB, of each slice, and their mean.

    Far above the floor the slope of the squared one is that of −PSNR.
    """
    power = 1 if part.of == "absolute" else 2

    def term(seen: Seen) -> Tensor:
        output, target = compared(part, seen)
        errors = (output - target).abs() if power == 1 else (output - target).square()
        if seen.mask is None:
            means = errors.mean(dim=(1, 2, 3))
        else:
            where = seen.mask.expand_as(errors)
            counts = where.sum(dim=(1, 2, 3))
            means = torch.where(where, errors, 0.0).sum(dim=(1, 2, 3))[counts > 0] / counts[counts > 0]
            if not len(means):
                return nothing(seen)
        return 20 / power / math.log(10) * torch.log1p(means / part.floor**power).mean()

    return term


@build_term.register
def _(part: BinaryCrossEntropy, context: Context) -> Term:
    def term(seen: Seen) -> Tensor:
        output, target = compared(part, seen)
        return nn.functional.binary_cross_entropy(output.clamp(CERTAIN, 1 - CERTAIN), target.clamp(0, 1))

    return term


@build_term.register
def _(part: TotalVariation, context: Context) -> Term:
    return lambda seen: total_variation(seen.output, part.reduction, part.form)
