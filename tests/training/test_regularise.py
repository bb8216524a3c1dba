"""Batch norm choices and dropout on the latent."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor

from aegui.models.slicenet import SliceNet
from aegui.models.zoo import load_model
from aegui.recipes.run import Regularisation
from aegui.training.regularise import regularise
from tests.training.small import Small, classic, loss_of, normed, recipe, residual, slices


def state(net: SliceNet) -> dict[str, Tensor]:
    return copy.deepcopy(net.net.state_dict())


def moved(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    names = {name for name in before if not torch.equal(before[name], after[name])}
    return {name.removeprefix("encoder.") for name in names if name.startswith("encoder.1.")}


STATISTICS = {"1.running_mean", "1.running_var", "1.num_batches_tracked"}
AFFINE = {"1.weight", "1.bias"}


@pytest.mark.parametrize(
    ("choice", "expected"),
    [("train", STATISTICS | AFFINE), ("statistics", AFFINE), ("freeze", set()), ("recalibrate", STATISTICS | AFFINE)],
)
def test_a_batch_norm_choice_freezes_what_it_says(choice: str, expected: set[str]) -> None:
    net = normed()
    part = recipe(f"regularisation.batch_norm={choice}")
    regulariser = regularise(net, part.regularisation, 0)
    run = Small(net, part)
    before = state(net)
    noisy, _ = slices()
    list(regulariser.recalibrate([(noisy, torch.zeros(4))]))
    run.run(0, 3)
    assert moved(before, state(net)) == expected


def test_recalibrated_statistics_are_those_of_the_scans_and_stay() -> None:
    net = normed()
    part = recipe("regularisation.batch_norm=recalibrate")
    regulariser = regularise(net, part.regularisation, 0)
    noisy, _ = slices(8)
    parts = noisy.split(4)
    list(regulariser.recalibrate([(part, torch.zeros(4)) for part in parts]))
    first = net.net.encoder[0]  # type: ignore[index]
    with torch.no_grad():
        expected = torch.stack([first(part).mean(dim=(0, 2, 3)) for part in parts]).mean(dim=0)
    measured = net.net.encoder[1].running_mean.clone()  # type: ignore[index]
    torch.testing.assert_close(measured, expected)
    Small(net, part).run(0, 3)
    assert torch.equal(net.net.encoder[1].running_mean, measured)  # type: ignore[index]


def test_a_choice_outlasts_a_change_between_training_and_validation() -> None:
    net = normed()
    regularise(net, Regularisation(batch_norm="statistics"), 0)
    before = state(net)
    for _ in range(3):
        net.train()
        loss_of(net)
        net.eval()
        loss_of(net)
    after = state(net)
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_taking_the_hooks_off_gives_the_network_back() -> None:
    net = normed()
    regulariser = regularise(net, Regularisation(batch_norm="statistics", dropout=0.9), 0)
    regulariser.remove()
    before = state(net)
    net.train()
    one, two = loss_of(net), loss_of(net)
    assert torch.equal(one, two)
    assert moved(before, state(net)) == STATISTICS


@pytest.mark.parametrize("choice", ["train", "statistics", "freeze", "recalibrate"])
def test_models_without_batch_norm_are_not_affected(choice: str) -> None:
    ours, plain = residual(), residual()
    part = recipe(f"regularisation.batch_norm={choice}")
    list(regularise(ours, part.regularisation, 0).recalibrate(iter(lambda: pytest.fail("nothing is read"), None)))
    assert Small(ours, part).run(0, 3) == Small(plain, recipe()).run(0, 3)


# ---------------------------------------------------------------- dropout


def latent(net: SliceNet, side: int = 64) -> Tensor:
    torch.manual_seed(0)
    with torch.no_grad():
        return net.outputs(torch.rand(4, 1, side, side), torch.full((4,), 0.1)).latent


@pytest.mark.parametrize("ref", ["general-small", "classic-small", "monai-autoencoder", "monai-autoencoder-kl"])
@pytest.mark.parametrize("kind", ["spatial", "element"])
def test_dropout_takes_its_share_of_every_models_latent(ref: str, kind: str) -> None:
    net = load_model(ref, "random").net
    whole = latent(net.eval())
    regularise(net, Regularisation(dropout=0.3, dropout_kind=kind), 1)  # type: ignore[arg-type]
    assert torch.equal(latent(net.eval()), whole)
    found = latent(net.train())
    kept = found != 0
    torch.testing.assert_close(found[kept], (whole / 0.7)[kept])
    # ReLU makes zeros of its own: the share is looked at where the latent had something.
    something = whole != 0
    shares = torch.stack([1 - kept[n, k][something[n, k]].float().mean() for n, k in something.any(3).any(2).nonzero()])
    assert 0.15 < float(shares.mean()) < 0.45
    assert bool(((shares == 0) | (shares == 1)).all()) == (kind == "spatial")


def test_dropout_depends_on_seed_epoch_and_step_alone() -> None:
    def drawn(seed: int, epoch: int, step: int) -> Tensor:
        net = classic()
        regulariser = regularise(net, Regularisation(dropout=0.5), seed)
        regulariser.begin_step(epoch, step)
        return latent(net.train()) != 0

    assert torch.equal(drawn(1, 2, 3), drawn(1, 2, 3))
    assert all(not torch.equal(drawn(1, 2, 3), drawn(*other)) for other in ((2, 2, 3), (1, 3, 3), (1, 2, 4)))


def test_dropout_keeps_the_mean_of_the_latent() -> None:
    net = classic()
    whole = latent(net.eval()).mean()
    regulariser = regularise(net, Regularisation(dropout=0.5), 1)
    net.train()
    means = []
    for step in range(200):
        regulariser.begin_step(1, step)
        means.append(latent(net, 16).mean())
    regulariser.remove()
    torch.testing.assert_close(torch.stack(means).mean(), latent(net, 16).mean(), rtol=0.05, atol=0)
    assert whole > 0


def test_dropout_is_not_part_of_the_state() -> None:
    net = classic()
    names = list(net.state_dict())
    regularise(net, Regularisation(dropout=0.5), 1)
    assert list(net.state_dict()) == names


def test_lbfgs_finds_the_same_function_within_a_step_under_dropout() -> None:
    net = classic()
    part = recipe("optimiser={kind: lbfgs}", "regularisation.dropout=0.3", groups="[{match: rest, learning_rate: 1.0}]")
    regulariser = regularise(net, part.regularisation, 0)
    regulariser.begin_step(1, 1)
    run = Small(net, part)
    losses = run.run(0, 1)
    assert losses[-1] < losses[0]
    net.train()
    assert torch.equal(loss_of(net), loss_of(net))
