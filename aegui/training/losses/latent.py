"""Terms of what the network found besides the image: classes and latent features."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aegui.errors import UserError
from aegui.recipes.losses import Contrastive, CrossEntropy, KullbackLeibler, Sparsity
from aegui.training.losses.term import Context, Seen, Term, build_term, nothing


@build_term.register
def _(part: CrossEntropy, context: Context) -> Term:
    weights = None
    if part.class_weights == "balanced" and context.counts:
        counts = torch.tensor(context.counts, dtype=torch.float32, device=context.device).clamp_min(1)
        weights = sum(context.counts) / (len(context.counts) * counts)

    def term(seen: Seen) -> Tensor:
        logits = seen.found.logits
        # A batch without any label has no classification term; the mean over nothing would be NaN.
        if logits is None or not bool((seen.labels >= 0).any()):
            return nothing(seen)
        return nn.functional.cross_entropy(
            logits.float(), seen.labels, weights, ignore_index=-1, label_smoothing=part.label_smoothing
        )

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


@build_term.register
def _(part: Contrastive, context: Context) -> Term:
    def term(seen: Seen) -> Tensor:
        pooled = seen.found.latent.float().mean(dim=(-2, -1))
        value = supervised_contrast(pooled, seen.labels, part.temperature)
        return nothing(seen) if value is None else value

    return term


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
