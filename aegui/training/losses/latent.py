"""Terms of what the network found besides the image: classes and latent features."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from aegui.errors import UserError
from aegui.recipes.losses import Contrastive, CrossEntropy, KullbackLeibler, Sparsity
from aegui.training.losses.term import Context, Seen, Term, build_term, nothing, pooled


@build_term.register
def _(part: CrossEntropy, context: Context) -> Term:
    weights = None
    if part.class_weights == "balanced" and context.counts:
        counts = torch.tensor(context.counts, dtype=torch.float32, device=context.device).clamp_min(1)
        # 1 on average over the training slices, also where these lack a class that others have.
        weights = sum(context.counts) / (max(1, sum(n > 0 for n in context.counts)) * counts)

    def term(seen: Seen) -> Tensor:
        logits, known = seen.found.logits, seen.labels >= 0
        # A batch without any label has no classification term; the mean over nothing would be NaN.
        if logits is None or not bool(known.any()):
            return nothing(seen)
        logits, labels = logits[known].float(), seen.labels[known]
        if weights is None:
            return cross_entropy(logits, labels, label_smoothing=part.label_smoothing)
        # Not divided by the sum of the weights, as torch does: they would cancel out where a batch is of one class.
        losses = cross_entropy(logits, labels, reduction="none", label_smoothing=part.label_smoothing)
        return (weights[labels] * losses).mean()

    return term


def supervised_contrast(features: Tensor, labels: Tensor, temperature: float) -> Tensor | None:
    """Supervised contrastive loss of (N, F) (Khosla et al. 2020, L_out) over those with a partner of their class.

    Unknown labels (−1) are left out altogether: they could be of any class. None: nobody has a partner.
    """
    known = labels >= 0
    features, labels = nn.functional.normalize(features[known], dim=1, eps=1e-6), labels[known]
    self = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    partners = (labels[:, None] == labels[None, :]) & ~self
    anchors = partners.any(dim=1)
    if not bool(anchors.any()):
        return None
    likeness = (features @ features.T / temperature).masked_fill(self, -torch.inf)
    # What is masked is −∞ there and must not meet the 0 of its own mask.
    chance = likeness.log_softmax(dim=1).masked_fill(~partners, 0)
    return -(chance.sum(dim=1)[anchors] / partners.sum(dim=1)[anchors]).mean()


class Contrast:
    """Supervised contrast of pooled latents; 0 where nobody has a partner."""

    def __init__(self, temperature: float) -> None:
        self._temperature = temperature

    def __call__(self, seen: Seen) -> Tensor:
        """Of a batch."""
        return self.among(pooled(seen.found), seen.labels)

    def among(self, latents: Tensor, labels: Tensor) -> Tensor:
        """Of slices that came one by one."""
        value = supervised_contrast(latents, labels, self._temperature)
        return latents.new_zeros(()) if value is None else value


@build_term.register
def _(part: Contrastive, context: Context) -> Term:
    return Contrast(part.temperature)


@build_term.register
def _(part: KullbackLeibler, context: Context) -> Term:
    if not context.start.variational:
        raise UserError(
            "“Latent spread (KL)” needs a variational model.", "Choose one, such as monai-autoencoder-kl, or remove it."
        )

    def term(seen: Seen) -> Tensor:
        assert seen.found.moments is not None
        mean, spread = (moment.float() for moment in seen.found.moments)
        return -0.5 * (1 + spread - mean.square() - spread.exp()).mean()

    return term


@build_term.register
def _(part: Sparsity, context: Context) -> Term:
    return lambda seen: seen.found.latent.float().abs().mean()
