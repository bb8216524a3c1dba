"""Terms that compare single pixels, and total variation."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor, nn

from aegui.recipes.losses import L1, MSE, CrossEntropy, TotalVariation
from aegui.training.losses.term import Context, Seen, Term, build_term


def total_variation(image: Tensor, reduction: str = "mean") -> Tensor:
    """Anisotropic total variation of (N, c, H, W) (Rudin et al. 1992): Σ|∂x| + Σ|∂y|, or the sum of both means."""
    down = (image[..., 1:, :] - image[..., :-1, :]).abs()
    right = (image[..., :, 1:] - image[..., :, :-1]).abs()
    return down.sum() + right.sum() if reduction == "sum" else down.mean() + right.mean()


def _at_mask(compare: Callable[[Tensor, Tensor], Tensor]) -> Term:
    """The mean over the pixels at which the target counts."""

    def term(seen: Seen) -> Tensor:
        if seen.mask is None:
            return compare(seen.output, seen.target)
        where = seen.mask.expand_as(seen.output)
        return compare(seen.output[where], seen.target[where])

    return term


@build_term.register
def _(part: MSE, context: Context) -> Term:
    return _at_mask(nn.functional.mse_loss)


@build_term.register
def _(part: L1, context: Context) -> Term:
    return _at_mask(nn.functional.l1_loss)


@build_term.register
def _(part: TotalVariation, context: Context) -> Term:
    return lambda seen: total_variation(seen.output, part.reduction)


@build_term.register
def _(part: CrossEntropy, context: Context) -> Term:
    def term(seen: Seen) -> Tensor:
        logits = seen.found.logits
        # A batch without any label has no classification term; the mean over nothing would be NaN.
        if logits is None or not bool((seen.labels >= 0).any()):
            return seen.output.new_zeros(())
        return nn.functional.cross_entropy(logits.float(), seen.labels, ignore_index=-1)

    return term
