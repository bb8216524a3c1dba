"""Every term trains on real CT: its loss falls, and what it is for shows on slices that were not trained on."""

from __future__ import annotations

import copy
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from aegui.data.draw import Batch
from aegui.models.slicenet import SliceNet
from aegui.recipes import Recipe, load
from aegui.recipes.losses import (
    L1,
    MSE,
    SSIM,
    Adversarial,
    BinaryCrossEntropy,
    Charbonnier,
    Contrastive,
    CrossEntropy,
    Edges,
    Fourier,
    Huber,
    KullbackLeibler,
    LogarithmicError,
    LossTerm,
    MultiScaleSSIM,
    Perceptual,
    Sparsity,
    TotalVariation,
)
from aegui.training.losses import Context
from aegui.training.objective import Objective
from aegui.training.step import train_step
from tests.training.looks import CPU, image, real_ct, seen, start, term, value

LOW, SPAN = -1024.0, 2048.0  # of classic-small on CT
NOISE = 39.0  # HU, 25 of 255


@pytest.fixture(scope="module")
def slices(shared: Path) -> Tensor:
    """Six patches of abdominal CT, 0 … 1 for classic-small: four to train on, two to judge with."""
    return (400 * real_ct(shared, 64, 6) - LOW) / SPAN


def noised(clean: Tensor, seed: int) -> Tensor:
    return clean + torch.randn(clean.shape, generator=torch.Generator().manual_seed(seed)) * NOISE / SPAN


def trained(
    losses: list[LossTerm],
    clean: Tensor,
    model: str = "classic-small",
    steps: int = 12,
    rate: float = 1e-4,
    labels: tuple[int, ...] = (-1, -1, -1, -1),
    recipe: Recipe | None = None,
    noisy: Tensor | None = None,
) -> tuple[SliceNet, list[dict[str, float]]]:
    """The network after some steps on the first four, and the terms at each, with the same noise every time."""
    torch.manual_seed(0)
    net = copy.deepcopy(start(model)).train()
    if max(labels) >= 0:
        net.net.attach_head(max(labels) + 1)  # type: ignore[operator]
    objective = Objective(losses, Context(copy.deepcopy(net), CPU, (2, 2)))
    optimiser = torch.optim.Adam(net.parameters(), lr=rate)
    batch = Batch(
        (noised(clean[:4], 0) if noisy is None else noisy).numpy(),
        clean[:4].numpy(),
        np.full(4, NOISE / SPAN, np.float32),
        np.asarray(labels),
        np.tile(np.asarray([LOW, SPAN], np.float32), (4, 1)),
    )
    step = partial(train_step, net, objective, optimiser, batch, CPU, recipe or load("denoise"))
    return net.eval(), [step().terms for _ in range(steps)]


def denoised(net: SliceNet, noisy: Tensor) -> Tensor:
    with torch.inference_mode():
        return net(noisy, torch.full((len(noisy),), NOISE / SPAN))


FALLING: list[LossTerm] = [
    MSE(),
    L1(),
    Huber(delta=0.01),
    Charbonnier(),
    LogarithmicError(),
    LogarithmicError(of="squared"),
    BinaryCrossEntropy(),
    SSIM(),
    MultiScaleSSIM(scales=2),
    Edges(),
    Fourier(),
    Fourier(compare="radial"),
    Perceptual(),
    TotalVariation(),
    TotalVariation(form="isotropic", reduction="sum"),
    Sparsity(),
    MSE(window="abdomen"),
    SSIM(window="mediastinum"),
    Perceptual(window="abdomen"),
]


@pytest.mark.parametrize("part", FALLING, ids=lambda part: f"{part.name}-{getattr(part, 'compare', '')}")
def test_the_loss_of_each_term_falls_on_real_ct(part: LossTerm, slices: Tensor) -> None:
    _, values = trained([part], slices, steps=30, rate=2e-5)
    assert values[-1][part.name] < values[0][part.name]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_classes_are_learnt_from_the_latent(precision: str, slices: Tensor) -> None:
    recipe = load("denoise").with_set([f"run.precision={precision}"])
    losses = [MSE(), CrossEntropy(class_weights="balanced", label_smoothing=0.1), Contrastive()]
    darker = slices * torch.tensor([1.0, 0.6, 1.0, 0.6, 1.0, 1.0]).reshape(-1, 1, 1, 1)
    _, values = trained(losses, darker, labels=(0, 1, 0, 1), recipe=recipe, rate=3e-3, steps=20)
    assert values[-1]["ce"] < values[0]["ce"] and values[-1]["supcon"] < values[0]["supcon"]


def test_a_variational_network_learns_picture_and_spread(slices: Tensor) -> None:
    _, values = trained([MSE(), KullbackLeibler(weight=1)], slices, "monai-autoencoder-kl", 15, 3e-3)
    assert values[-1]["mse"] < 0.5 * values[0]["mse"] and values[-1]["kl"] < values[0]["kl"]


def test_an_adversarial_run_is_the_same_every_time(slices: Tensor) -> None:
    losses = [MSE(), Adversarial(weight=0.01)]
    (one, values), (two, again) = (trained(losses, slices, steps=6) for _ in range(2))
    assert values == again
    assert all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), two.state_dict().values(), strict=True))
    assert values[0]["adversarial"] != values[-1]["adversarial"]


# ---------------------------------------------------------------- what terms are for


def judged(part: LossTerm, losses: list[LossTerm], slices: Tensor) -> float:
    net, _ = trained(losses, slices, steps=40, rate=1e-3)
    return value(part, denoised(net, noised(slices[4:], 1)), slices[4:])


@pytest.mark.parametrize(
    ("part", "weight"),
    [(SSIM(), 1.0), (Fourier(compare="radial"), 0.002)],
    ids=["ssim", "nps"],
)
def test_a_term_gets_new_slices_closer_in_its_own_way_than_squares_alone(
    part: LossTerm, weight: float, slices: Tensor
) -> None:
    with_it = judged(part, [MSE(), part.model_copy(update={"weight": weight})], slices)
    assert with_it < 0.98 * judged(part, [MSE()], slices)


def test_a_window_gets_its_own_contrast_better_than_all_values(slices: Tensor) -> None:
    def error(losses: list[LossTerm]) -> float:
        net, _ = trained(losses, slices, steps=40, rate=1e-3)
        shown = seen(denoised(net, noised(slices[4:], 1)), slices[4:], scale=(LOW, SPAN))
        return float(term(L1(window="abdomen"))(shown))

    assert error([MSE(weight=0.03, window="abdomen")]) < 0.98 * error([MSE()])


def test_edges_make_a_blurred_edge_steeper_than_squares_alone() -> None:
    clean = image(4, 48)
    blurred = torch.nn.functional.avg_pool2d(torch.nn.functional.pad(clean, (2,) * 4, mode="replicate"), 5, 1)

    def steepest(losses: list[LossTerm]) -> float:
        net, _ = trained(losses, clean, steps=60, rate=1e-3, noisy=blurred)
        return float(denoised(net, blurred).diff(dim=-1).abs().amax(dim=(1, 2, 3)).mean())

    plain = steepest([MSE()])
    with_edges = steepest([MSE(), Edges(weight=3)])
    assert 1.03 * plain < with_edges < float(clean.diff(dim=-1).abs().max())
