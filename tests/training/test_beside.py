"""Models that see the slices beside the one they denoise are trained."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import workflow
from aegui.data.dataset import TrainingData, prepare
from aegui.data.draw import draw_batch
from aegui.data.pairs import Pair
from aegui.events import Epoch, Preview, Step, finish
from aegui.models import bundle
from aegui.models.zoo import load_model
from aegui.recipes import Recipe
from aegui.training.losses import Context
from aegui.training.objective import Objective
from aegui.training.step import Forward, to_device
from tests.training.runs import assert_same_weights, of, run
from tests.twohalf import SIDE, card, network, recipe, saved, volumes

NOISE = "targets={kind: synthetic, corruptions: [{kind: gaussian, low: 25, high: 25}]}"
CPU = torch.device("cpu")


def job(folder: Path, *changes: str, neighbours: int = 1) -> workflow.TrainJob:
    scans = volumes(folder / "scans", 4, noise=0.0)
    return workflow.TrainJob(
        str(saved(folder, neighbours)),
        recipe(NOISE, "groups.rest.learning_rate=3e-3", *changes),
        scans,
        folder / "run",
        init="random",
        device="cpu",
    )


def test_a_run_learns_and_its_model_sees_the_slices_beside(tmp_path: Path) -> None:
    one = job(tmp_path, "run.epochs=12")
    events, result = run(one)
    losses = [step.loss for step in of(events, Step)]
    assert np.mean(losses[-6:]) < 0.75 * losses[0]
    last = of(events, Epoch)[-1]
    assert last.psnr > result.baselines["input"]["psnr"] + 1
    loaded = load_model(result.bundle)
    assert loaded.card.neighbours == 1 and bundle.self_test(result.bundle) < 1e-5
    preview = of(events, Preview)[-1]
    assert preview.noisy.shape == preview.output.shape == preview.reference.shape == (SIDE, SIDE)
    assert np.abs(preview.noisy - preview.reference).mean() > np.abs(preview.output - preview.reference).mean()
    x = torch.rand(1, 3, 32, 32, requires_grad=True)
    loaded.net(x, torch.tensor([0.1])).square().sum().backward()
    assert x.grad is not None and all(float(plane.abs().sum()) > 0 for plane in x.grad[0])


def test_a_run_that_was_stopped_goes_on_to_the_bit(tmp_path: Path) -> None:
    whole = job(tmp_path, "run.epochs=3", "augmentation.dose=30")
    _, straight = run(replace(whole, run=tmp_path / "straight"))
    work = workflow.train(replace(whole, run=tmp_path / "parts"))
    for event in work:
        if isinstance(event, Step) and event.epoch == 2:
            work.close()  # type: ignore[attr-defined]
            break
    _, parts = run(replace(whole, run=tmp_path / "parts", resume=True))
    assert_same_weights(straight.bundle, parts.bundle)


@pytest.mark.parametrize(
    "change",
    [
        "regularisation.mixup=0.4",
        "losses=[{kind: mse}, {kind: perceptual, weight: 0.1}, {kind: sparsity, weight: 0.01}, {kind: adversarial}]",
        "augmentation.scale=20",
        "run.accumulate=2",
        "adaptation={kind: lora, rank: 2}",
    ],
)
def test_what_a_recipe_may_ask_for_works_with_neighbours(change: str, tmp_path: Path) -> None:
    one = replace(job(tmp_path, change, "run.epochs=1"), init="pretrained")
    assert not [p.message for p in workflow.check(one) if p.blocking]
    _, result = run(one)
    assert np.isfinite(result.scores["psnr"])


@pytest.mark.parametrize("kind", ["paired", "noise2noise"])
def test_pairs_and_repeats_train(kind: str, tmp_path: Path) -> None:
    noisy, other = volumes(tmp_path / "a", 2), volumes(tmp_path / "b", 2, noise=0.0)
    every = tuple((i, i) for i in range(noisy[0].slices))
    pairs = tuple(
        Pair(a, b, every, "order", True, "", "clean" if kind == "paired" else "repeat")
        for a, b in zip(noisy, other, strict=True)
    )
    one = replace(job(tmp_path, f"targets={{kind: {kind}}}"), noisy=noisy, pairs=pairs)
    _, result = run(one)
    assert np.isfinite(result.scores["psnr"])


def test_the_rate_finder_and_the_forecast_try_it(tmp_path: Path) -> None:
    one = job(tmp_path)
    assert finish(workflow.find_rate(one)).points
    forecast = finish(workflow.forecast(one))
    assert forecast.memory_bytes > 0 and forecast.step_seconds > 0
    assert finish(workflow.forecast(replace(one, noisy=()))).step_seconds > 0


def _read(plan: Recipe, folder: Path) -> TrainingData:
    reading = prepare(plan, card(), 1, volumes(folder / "scans", 4, noise=0.0), (), {}, (), folder / "cache")
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def test_losses_are_told_of_the_middle_slice_alone(tmp_path: Path) -> None:
    plan = recipe(NOISE)
    data = _read(plan, tmp_path)
    batch = draw_batch(data, plan, np.asarray(data.split.train[:2]), (32, 32), 1, 1)
    net = network()
    forward = Forward(net, Objective(plan.losses, Context(net, CPU), 1.0), plan, to_device(batch, CPU), 0.0)
    forward()
    assert forward.seen is not None
    assert forward.seen.output.shape == forward.seen.target.shape == forward.seen.noisy.shape == (2, 1, 32, 32)
    np.testing.assert_array_equal(forward.seen.noisy.numpy(), batch.noisy[:, 1:2])
    data.close()


def test_training_finds_use_for_neighbours_that_had_none(tmp_path: Path) -> None:
    """Begun as a network that looks at the slice alone."""
    plan = recipe(NOISE, "run.batch_size=8")
    data = _read(plan, tmp_path)
    net = network()
    stem = net.net.encoder.stem.weight  # type: ignore[union-attr,union-attr]
    others = [k for k in range(12) if not 4 <= k < 8]
    with torch.no_grad():
        stem[:, others] = 0  # type: ignore[index]
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    x, level = torch.rand(1, 3, 16, 16), torch.tensor([0.1])
    assert torch.equal(net(x, level), net(x[:, 1:2], level))
    for step in range(3):
        on = to_device(draw_batch(data, plan, np.asarray(data.split.train[:8]), (32, 32), 1, step), CPU)
        optimiser.zero_grad()
        torch.nn.functional.mse_loss(net(on.noisy, on.level), on.clean).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
    assert float(stem[:, others].detach().abs().max()) > 1e-3  # type: ignore[index]
    data.close()
