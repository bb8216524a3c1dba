"""Terms of classes and latent features agree with torch and with formulas written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from aegui.errors import UserError
from aegui.models.networks import ConvAutoencoder, Outputs
from aegui.models.slicenet import SliceNet
from aegui.recipes.losses import Contrastive, CrossEntropy, KullbackLeibler, Sparsity
from aegui.training.losses import Term
from aegui.training.losses.latent import supervised_contrast
from tests.training.looks import image, seen, start, term

PICTURE = image(6, 16)
LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
LATENT = torch.randn(6, 8, 4, 4, generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 0, 1, 2, 1, 0])
UNKNOWN = torch.tensor([0, -1, 1, 2, -1, 0])


def of(labels: Tensor = LABELS, latent: Tensor = LATENT, moments: tuple[Tensor, Tensor] | None = None):  # type: ignore[no-untyped-def]
    return seen(PICTURE, PICTURE, Outputs(PICTURE, LOGITS, latent, moments), labels)


def test_cross_entropy_is_torch_s_own_and_leaves_unknown_labels_out() -> None:
    assert float(term(CrossEntropy())(of())) == nn.functional.cross_entropy(LOGITS, LABELS).item()
    known = UNKNOWN >= 0
    expected = nn.functional.cross_entropy(LOGITS[known], UNKNOWN[known])
    assert float(term(CrossEntropy())(of(UNKNOWN))) == pytest.approx(expected.item())
    assert float(term(CrossEntropy())(of(torch.full((6,), -1)))) == 0


def test_balanced_classes_count_alike_however_rare_they_are() -> None:
    part, counts = CrossEntropy(class_weights="balanced"), (30, 20, 10)
    weights = torch.tensor([60 / (3 * n) for n in counts])
    chance = LOGITS.log_softmax(dim=1)[torch.arange(6), LABELS]
    expected = -(weights[LABELS] * chance).mean()
    assert float(term(part, counts=counts)(of())) == pytest.approx(float(expected), rel=1e-5)
    # A class that no training slice has must not divide by 0, nor take a share of the weight.
    lacking = term(part, counts=(30, 20, 0))
    assert math.isfinite(float(lacking(of())))
    first = torch.where(LABELS == 0, 0, -1)
    assert float(lacking(of(first))) == pytest.approx(50 / (2 * 30) * float(term(CrossEntropy())(of(first))), rel=1e-5)


def test_balanced_weights_are_1_on_average_and_count_in_batches_of_one_slice() -> None:
    counts, smooth = (3, 2, 1), 0.1
    balanced, equal = (
        term(CrossEntropy(class_weights=weights, label_smoothing=smooth), counts=counts)
        for weights in ("balanced", "none")
    )

    def alone(part: Term, i: int) -> float:
        return float(part(seen(PICTURE[i : i + 1], PICTURE[i : i + 1], one(i), LABELS[i : i + 1])))

    def one(i: int) -> Outputs:
        return Outputs(PICTURE[i : i + 1], LOGITS[i : i + 1], LATENT[i : i + 1])

    share = [alone(balanced, i) / alone(equal, i) for i in range(6)]
    assert share == pytest.approx([6 / (3 * counts[label]) for label in LABELS.tolist()], rel=1e-5)
    assert float(np.mean(share)) == pytest.approx(1)
    together = float(balanced(of()))
    assert together == pytest.approx(np.mean([alone(balanced, i) for i in range(6)]), rel=1e-5)
    # Those whose class is not known are left out, not counted as 0.
    known = [i for i in range(6) if UNKNOWN[i] >= 0]
    assert float(balanced(of(UNKNOWN))) == pytest.approx(np.mean([alone(balanced, i) for i in known]), rel=1e-5)


def test_label_smoothing_gives_the_others_their_share() -> None:
    chance = LOGITS.log_softmax(dim=1)
    wanted = torch.full((6, 3), 0.3 / 3)
    wanted[torch.arange(6), LABELS] += 0.7
    got = term(CrossEntropy(label_smoothing=0.3))(of())
    assert float(got) == pytest.approx(float(-(wanted * chance).sum(dim=1).mean()), rel=1e-5)


def contrast_by_hand(features: np.ndarray, labels: list[int], temperature: float) -> float:  # type: ignore[type-arg]
    known = [i for i, label in enumerate(labels) if label >= 0]
    unit = features / np.linalg.norm(features, axis=1, keepdims=True)
    losses = []
    for i in known:
        others = [a for a in known if a != i]
        partners = [p for p in others if labels[p] == labels[i]]
        total = sum(math.exp(unit[i] @ unit[a] / temperature) for a in others)
        if partners:
            chances = [math.log(math.exp(unit[i] @ unit[p] / temperature) / total) for p in partners]
            losses.append(-sum(chances) / len(partners))
    return float(np.mean(losses))


@pytest.mark.parametrize("labels", [LABELS, UNKNOWN])
def test_contrast_of_classes_equals_its_formula_without_the_unknown(labels: Tensor) -> None:
    expected = contrast_by_hand(LATENT.double().mean(dim=(2, 3)).numpy(), labels.tolist(), 0.2)
    assert float(term(Contrastive(temperature=0.2))(of(labels))) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("labels", [[0, 1, 2, -1, -1, -1], [-1] * 6, [3, -1, -1, -1, -1, -1]])
def test_a_batch_without_two_of_a_class_contrasts_nothing(labels: list[int]) -> None:
    assert float(term(Contrastive())(of(torch.tensor(labels)))) == 0


def test_contrast_is_lowest_when_classes_lie_apart_and_finite_when_features_are_dead() -> None:
    apart = torch.eye(3)[LABELS]
    assert supervised_contrast(apart, LABELS, 0.1) < supervised_contrast(apart.roll(1, 0), LABELS, 0.1)
    dead = torch.zeros(6, 8, requires_grad=True)
    loss = supervised_contrast(dead, LABELS, 0.1)
    assert loss is not None
    loss.backward()
    assert bool(torch.isfinite(loss)) and bool(torch.isfinite(dead.grad).all())


def test_the_latent_spread_equals_torch_s_divergence_from_a_normal_distribution() -> None:
    mean, spread = LATENT, LATENT.flip(0)
    there = torch.distributions.Normal(mean, (0.5 * spread).exp())
    expected = torch.distributions.kl_divergence(there, torch.distributions.Normal(0.0, 1.0)).mean()
    got = term(KullbackLeibler(), "monai-autoencoder-kl")(of(moments=(mean, spread)))
    assert float(got) == pytest.approx(float(expected), rel=1e-5)
    at_rest = torch.zeros_like(mean)
    assert float(term(KullbackLeibler(), "monai-autoencoder-kl")(of(moments=(at_rest, at_rest)))) == 0


def test_a_model_without_a_latent_spread_is_refused_in_plain_words() -> None:
    with pytest.raises(UserError, match="needs a variational model") as raised:
        term(KullbackLeibler(), "general-small")
    assert "monai-autoencoder-kl" in raised.value.hint


def test_sparsity_is_the_mean_absolute_latent() -> None:
    assert float(term(Sparsity())(of())) == pytest.approx(LATENT.abs().mean().item())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_latent_terms_compute_in_float32_whatever_the_network_gave(dtype: torch.dtype) -> None:
    found = Outputs(PICTURE, LOGITS.to(dtype), LATENT.to(dtype), (LATENT.to(dtype), LATENT.to(dtype)))
    shown = seen(PICTURE, PICTURE, found, LABELS)
    for part in (CrossEntropy(), Contrastive(), Sparsity(), KullbackLeibler()):
        value = term(part, "monai-autoencoder-kl")(shown)
        assert value.dtype == torch.float32 and bool(torch.isfinite(value))


@pytest.mark.parametrize("channels", [1, 3])
def test_latent_terms_take_grey_and_colour_slices_of_a_colour_network(channels: int) -> None:
    torch.manual_seed(0)
    net = SliceNet(ConvAutoencoder(3, 3, "pooled"), 3, 4)
    x = image(4, 20, channels)
    with torch.no_grad():
        found = net.outputs(x)
    shown = seen(found.image, x, found, torch.tensor([0, 0, 1, 2]))
    for part in (CrossEntropy(), Contrastive(), Sparsity()):
        assert float(term(part)(shown)) > 0
    assert start("monai-autoencoder-kl").variational and not net.variational
