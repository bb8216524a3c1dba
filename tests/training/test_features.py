"""The picture of the latent space, and the figures that go with it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import recipes, workflow
from aegui.data.dataset import TrainingData, prepare
from aegui.events import Event, Features, finish
from aegui.measure import auc
from aegui.models.card import Card
from aegui.models.networks import ConvAutoencoder
from aegui.models.slicenet import SliceNet
from aegui.training import features
from aegui.training.features import FeatureSpace, Gathered, confusion_matrix, principal, turned
from aegui.training.losses import Context
from aegui.training.losses.latent import supervised_contrast
from aegui.training.objective import Objective
from aegui.training.validation import validate

CPU = torch.device("cpu")


def test_the_two_axes_are_those_that_spread_the_points_most() -> None:
    rng = np.random.default_rng(1)
    latents = rng.normal(0, [5, 0.1, 3, 0.1, 0.1], (60, 5)).astype(np.float32) + 7
    points = principal(latents)
    values, vectors = np.linalg.eigh(np.cov(latents.T))
    np.testing.assert_allclose(points.var(axis=0, ddof=1), values[::-1][:2], rtol=1e-4)
    centred = latents - latents.mean(axis=0)
    for axis in range(2):
        expected = centred @ vectors[:, -1 - axis]
        assert abs(np.corrcoef(points[:, axis], expected)[0, 1]) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_few_slices_still_have_two_coordinates(count: int) -> None:
    assert principal(np.eye(count, 4, dtype=np.float32)).shape == (count, 2)
    assert principal(np.ones((count, 1), dtype=np.float32)).shape == (count, 2)


def test_the_same_picture_turned_is_turned_back() -> None:
    rng = np.random.default_rng(2)
    before = rng.normal(0, [3, 1], (20, 2)).astype(np.float32)
    turn = np.asarray([[0.6, 0.8], [0.8, -0.6]])  # a mirror and a rotation
    np.testing.assert_allclose(turned((before @ turn).astype(np.float32), before - before.mean(axis=0)), before, atol=1)
    centred = before - before.mean(axis=0)
    np.testing.assert_allclose(turned((centred @ turn).astype(np.float32), centred), centred, atol=1e-5)


def test_the_area_under_the_curve_is_that_of_the_drawn_curve() -> None:
    rng = np.random.default_rng(3)
    true = rng.integers(0, 3, 80)
    scores = np.round(rng.random((80, 3)) + 0.4 * np.eye(3)[true], 1).astype(np.float32)  # rounding makes ties
    areas = []
    for k in range(3):
        steps = np.unique(scores[:, k])[::-1]
        hit = [0.0] + [float((scores[true == k, k] >= t).mean()) for t in steps]
        false = [0.0] + [float((scores[true != k, k] >= t).mean()) for t in steps]
        areas.append(np.trapezoid(hit, false))
    assert auc(scores, true) == pytest.approx(np.mean(areas), abs=1e-6)
    assert auc(np.ones((4, 2), np.float32), np.zeros(4, int)) is None
    # A class without slices takes no part.
    two = np.asarray([0, 1, 0, 1])
    assert auc(np.eye(3, dtype=np.float32)[two], two) == 1.0


def test_the_confusion_matrix_counts_true_classes_in_rows() -> None:
    found = confusion_matrix(np.asarray([0, 0, 1, 2]), np.asarray([0, 1, 1, 0]), 3)
    assert found.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]


def write_stripes(folder: Path) -> Path:
    """Two classes, striped along or across, three patients each."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:32, :32]
    for name, along in (("along", y), ("across", x)):
        for patient in range(3):
            target = folder / name / f"case{patient}"
            target.mkdir(parents=True)
            volume = 200 + 100 * np.sin(along * 1.3 + rng.random((4, 1, 1))) + rng.normal(0, 3, (4, 32, 32))
            np.save(target / "volume.npy", volume.astype(np.float32))
    return folder


@pytest.fixture
def striped(tmp_path: Path) -> workflow.TrainJob:
    series = finish(workflow.scan([write_stripes(tmp_path / "scans")])).series
    recipe = recipes.load("discriminative").with_set(["run.batch_size=4", "run.patch_size=32"])
    labels = {s.uid: s.files[0].parts[-3] for s in series}
    return workflow.TrainJob("classic-small", recipe, series, tmp_path / "run", labels=labels, device="cpu")


def read(job: workflow.TrainJob, cache: Path) -> TrainingData:
    data: TrainingData | None = None
    work = prepare(job.recipe, Card.load_known(_card()), 1, job.noisy, (), job.labels, (), cache)
    while data is None:
        try:
            next(work)
        except StopIteration as end:
            data = end.value
    return data


def _card() -> Path:
    from aegui import paths

    return paths.resource("models", "classic-small.yaml")


def run(generator) -> tuple[list[Event], object]:  # type: ignore[no-untyped-def]
    events = []
    while True:
        try:
            events.append(next(generator))
        except StopIteration as end:
            return events, end.value


def network() -> SliceNet:
    torch.manual_seed(0)
    return SliceNet(ConvAutoencoder(1, 2, "pooled"), 1, 4)


def look(job: workflow.TrainJob, data: TrainingData, net: SliceNet) -> Features:
    gathered = Gathered()
    objective = Objective(job.recipe.losses, Context(net, CPU))
    _, scores = run(validate(net, data, job.recipe, objective, CPU, gather=gathered.add))
    _, found = run(FeatureSpace(net, data, job.recipe, CPU).at(3, gathered))
    assert isinstance(found, Features)
    assert found.accuracy == scores.accuracy  # type: ignore[attr-defined]
    return found


def test_the_event_of_an_epoch_tells_of_validation_and_training_slices(
    striped: workflow.TrainJob, tmp_path: Path
) -> None:
    data = read(striped, tmp_path / "cache")
    net = network().train()
    found = look(striped, data, net)
    data.close()
    assert net.training
    assert found.epoch == 3 and found.method == "PCA" and found.classes == ("across", "along")
    assert found.points.shape == (len(found.labels), 2) and np.isfinite(found.points).all()
    held = found.validation.sum()
    assert 0 < held < len(found.labels)
    assert found.confusion.sum() == held
    assert found.confusion.sum(axis=1).tolist() == np.bincount(found.labels[found.validation], minlength=2).tolist()


def test_classes_that_the_network_sees_lie_apart(striped: workflow.TrainJob, tmp_path: Path) -> None:
    """A first layer that answers to stripes along, and to none across, must show as two clusters."""
    data = read(striped, tmp_path / "cache")
    net = network()
    with torch.no_grad():
        first = net.net.encoder[0]
        first.weight.zero_()
        first.bias.zero_()
        first.weight[0, 0] = torch.tensor([[-1.0, -2, -1], [0, 0, 0], [1, 2, 1]])
        first.weight[1, 0] = torch.tensor([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]])
    found = look(striped, data, net)
    data.close()
    ones, others = (found.points[found.labels == k] for k in (0, 1))
    apart = np.linalg.norm(ones.mean(axis=0) - others.mean(axis=0))
    assert apart > 4 * max(ones.std(axis=0).max(), others.std(axis=0).max())


def test_validation_contrasts_all_its_slices_with_each_other(striped: workflow.TrainJob, tmp_path: Path) -> None:
    recipe = striped.recipe.with_set(["losses=[{kind: mse}, {kind: supcon, weight: 0.5}]"])
    data = read(replace(striped, recipe=recipe), tmp_path / "cache")
    net, gathered = network(), Gathered()
    objective = Objective(recipe.losses, Context(net, CPU))
    _, scores = run(validate(net, data, recipe, objective, CPU, gather=gathered.add))
    data.close()
    latents, labels = torch.from_numpy(np.stack(gathered.latents)), torch.tensor(gathered.labels)
    expected = supervised_contrast(latents, labels, 0.1)
    terms = scores.terms  # type: ignore[attr-defined]
    assert expected is not None and terms["supcon"] == pytest.approx(float(expected), rel=1e-5) and expected > 0.1
    assert terms["loss"] == pytest.approx(terms["mse"] + 0.5 * terms["supcon"])


def test_a_recipe_that_only_shapes_the_latent_space_names_no_classes(
    striped: workflow.TrainJob, tmp_path: Path
) -> None:
    recipe = striped.recipe.with_set(["losses=[{kind: mse}, {kind: supcon}]"])
    job = replace(striped, recipe=recipe)
    data = read(job, tmp_path / "cache")
    gathered = Gathered()
    net = network()
    for label in (0, 1, -1):
        gathered.add(net.outputs(torch.rand(1, 1, 32, 32)), label)
    _, found = run(FeatureSpace(net, data, recipe, CPU).at(1, gathered))
    data.close()
    assert isinstance(found, Features)
    assert found.accuracy is None and found.auc is None and found.confusion.size == 0
    assert found.validation.sum() == 2  # the slice without a label is not shown


def test_what_is_looked_at_besides_is_bounded(
    striped: workflow.TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(features, "TRAIN_PIXELS", 5 * 32 * 32)
    data = read(striped, tmp_path / "cache")
    events, found = run(FeatureSpace(network(), data, striped.recipe, CPU).at(1, Gathered()))
    data.close()
    assert len(events) == 5 and len(found.labels) == 5  # type: ignore[attr-defined]
