"""The founding recipes do what a plain torch loop of their formula does."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from aegui import recipes
from aegui.data.draw import Batch
from aegui.errors import UserError
from aegui.models.networks import ConvAutoencoder
from aegui.models.slicenet import SliceNet
from aegui.training import optimisation
from aegui.training.losses import Context, total_variation
from aegui.training.objective import Objective
from aegui.training.step import train_step

STEPS = 5
CPU = torch.device("cpu")


def network(classes: int = 0) -> SliceNet:
    torch.manual_seed(3)
    net = ConvAutoencoder(1, classes, "fixed" if classes else "none")
    return SliceNet(net, 1, 4)


def batches() -> list[Batch]:
    rng = np.random.default_rng(5)
    clean = rng.random((STEPS, 4, 1, 64, 64), dtype=np.float32)
    noisy = clean + rng.normal(0, 0.1, clean.shape).astype(np.float32)
    labels = rng.integers(0, 3, (STEPS, 4))
    scale = np.tile(np.asarray([0, 1], np.float32), (4, 1))
    return [Batch(n, c, np.zeros(4, np.float32), k, scale) for n, c, k in zip(noisy, clean, labels, strict=True)]


def run_ours(recipe: recipes.Recipe, net: SliceNet) -> list[float]:
    optimiser, schedule = optimisation.build(recipe, net, STEPS)
    objective = Objective(recipe.losses, Context(copy.deepcopy(net), CPU))
    losses = []
    for batch in batches():
        losses.append(train_step(net, objective, optimiser, batch, CPU, recipe).loss)
        schedule.step()
    return losses


def assert_same(ours: SliceNet, plain: nn.Module, our_losses: list[float], plain_losses: list[float]) -> None:
    np.testing.assert_allclose(our_losses, plain_losses, rtol=1e-6, atol=1e-6)
    for name, value in plain.state_dict().items():
        torch.testing.assert_close(ours.net.state_dict()[name], value, rtol=0, atol=1e-6)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_denoise_equals_mse_plus_total_variation_in_plain_torch(reduction: str) -> None:
    ours = network()
    plain = copy.deepcopy(ours.net)
    recipe = recipes.load("denoise").with_set([f"losses.tv.reduction={reduction}", "losses.tv.weight=0.1"])
    losses = run_ours(recipe, ours)

    optimiser = torch.optim.Adam(plain.parameters(), lr=1e-4)
    expected = []
    for batch in batches():
        noisy, clean = batch.noisy, batch.clean
        x, y = torch.from_numpy(noisy), torch.from_numpy(clean)
        out = plain(x)
        dy, dx = torch.abs(out[:, :, 1:] - out[:, :, :-1]), torch.abs(out[:, :, :, 1:] - out[:, :, :, :-1])
        tv = dy.sum() + dx.sum() if reduction == "sum" else dy.mean() + dx.mean()
        loss = nn.MSELoss()(out, y) + 0.1 * tv
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        expected.append(loss.item())
    assert_same(ours, plain, losses, expected)


def test_discriminative_equals_mse_plus_half_cross_entropy_in_plain_torch() -> None:
    ours = network(classes=3)
    plain = copy.deepcopy(ours.net)
    losses = run_ours(recipes.load("discriminative"), ours)

    optimiser = torch.optim.Adam(plain.parameters(), lr=1e-4)
    expected = []
    for batch in batches():
        noisy, clean, label = batch.noisy, batch.clean, batch.label
        out, logits = plain(torch.from_numpy(noisy))
        loss = nn.MSELoss()(out, torch.from_numpy(clean))
        loss = loss + 0.5 * nn.CrossEntropyLoss()(logits, torch.from_numpy(label))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        expected.append(loss.item())
    assert_same(ours, plain, losses, expected)


def test_layerwise_equals_three_rates_with_clipping_in_plain_torch() -> None:
    ours = network(classes=3)
    plain = copy.deepcopy(ours.net)
    recipe = recipes.load("layerwise").with_set(["losses.mse.weight=1000"])  # large enough that clipping bites
    losses = run_ours(recipe, ours)

    optimiser = torch.optim.Adam(
        [
            {"params": plain.encoder.parameters(), "lr": 1e-5},
            {"params": plain.decoder.parameters(), "lr": 1e-4},
            {"params": plain.classifier.parameters(), "lr": 1e-3},
        ]
    )
    expected, clipped = [], 0
    for batch in batches():
        noisy, clean = batch.noisy, batch.clean
        out, _logits = plain(torch.from_numpy(noisy))
        loss = 1000 * nn.MSELoss()(out, torch.from_numpy(clean))
        optimiser.zero_grad()
        loss.backward()
        norm = torch.nn.utils.clip_grad_norm_(plain.parameters(), max_norm=1.0)
        clipped += bool(norm > 1.0)
        optimiser.step()
        expected.append(loss.item())
    assert clipped == STEPS
    assert_same(ours, plain, losses, expected)


def test_layerwise_gives_each_part_its_own_rate() -> None:
    optimiser, _ = optimisation.build(recipes.load("layerwise"), network(classes=3), STEPS)
    assert optimisation.rates(optimiser) == {"encoder": 1e-5, "decoder": 1e-4, "rest": 1e-3}


def test_a_group_that_does_not_train_keeps_its_weights() -> None:
    net = network()
    before = copy.deepcopy(net.net.state_dict())
    run_ours(recipes.load("layerwise").with_set(["groups.encoder.train=false"]), net)
    after = net.net.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before if k.startswith("encoder"))
    assert not any(torch.equal(before[k], after[k]) for k in before if k.startswith("decoder") and "weight" in k)


def test_total_variation_of_a_step_edge_is_its_height_times_its_length() -> None:
    image = torch.zeros(1, 1, 8, 6)
    image[..., 3:] = 2.0
    assert total_variation(image, "sum").item() == pytest.approx(2.0 * 8)
    assert total_variation(image, "mean").item() == pytest.approx(2.0 * 8 / (8 * 5))


def test_a_loss_that_is_no_number_says_what_to_do_and_leaves_the_weights() -> None:
    net = network()
    recipe = recipes.load("denoise")
    optimiser, _ = optimisation.build(recipe, net, STEPS)
    before = copy.deepcopy(net.net.state_dict())
    broken = replace(batches()[0], clean=np.full((4, 1, 64, 64), np.nan, np.float32))
    with pytest.raises(UserError, match="no longer a number") as raised:
        train_step(net, Objective(recipe.losses, Context(copy.deepcopy(net), CPU)), optimiser, broken, CPU, recipe)
    assert "Lower the learning rates" in raised.value.hint
    assert all(torch.equal(before[name], value) for name, value in net.net.state_dict().items())
