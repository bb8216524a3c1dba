"""Every kind of target trains on real scans: the loss falls, and what the score says can be trusted."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import recipes, workflow
from aegui.data.dataset import TrainingData, prepare
from aegui.data.draw import Batch, case, cases, draw_batch, patch_size, shown, training_order, validation_members
from aegui.data.pairs import Pair
from aegui.events import finish
from aegui.imaging import Series
from aegui.measure import psnr
from aegui.models.networks import Outputs
from aegui.models.slicenet import SliceNet
from aegui.models.zoo import Model, load_model
from aegui.recipes import Recipe
from aegui.training import optimisation
from aegui.training.consistency import extra_term, picked
from aegui.training.losses import Context
from aegui.training.objective import Objective
from aegui.training.step import to_device, train_step
from aegui.training.validation import doubt, run_case, score, score_filter, validate

CPU = torch.device("cpu")
STEPS = 20
KINDS = {
    "noise2noise": "{kind: noise2noise}",
    "noise2void": "{kind: noise2void, spots: 10}",
    "noise2void, rows": "{kind: noise2void, hide: row, spots: 10}",
    "noise2self": "{kind: noise2self}",
    "neighbor2neighbor": "{kind: neighbor2neighbor}",
    "slices": "{kind: slices, distance: 4}",
    "distillation": "{kind: distillation, teacher: general-small}",
    "paired": "{kind: paired}",
}


@pytest.fixture(scope="module")
def bold(shared: Path) -> tuple[Series, ...]:
    """Three repeats of a real scan, 35 slices of 80²."""
    return tuple(finish(workflow.scan([shared / "mr_bold_repeats"])).series[:3])


@pytest.fixture(scope="module")
def water(shared: Path) -> tuple[Series, ...]:
    """A phantom at a tenth of the dose, 10 slices of 256²."""
    found = finish(workflow.scan([shared / "ct_phantom_dose" / "dose_010"])).series
    return tuple(series for series in found if series.slices == 10)


def read(recipe: Recipe, model: Model, series: tuple[Series, ...], cache: Path) -> TrainingData:
    slices = tuple((i, i) for i in range(series[0].slices))
    kind = "repeat" if recipe.targets.kind == "noise2noise" else "clean"
    pairs = tuple(Pair(a, b, slices, "geometry", True, "again", kind) for a, b in pairwise(series))  # type: ignore[arg-type]
    reading = prepare(
        recipe, model.card, model.net.channels, series, pairs if recipe.targets.pairs else (), {}, (), cache
    )
    while True:
        try:
            next(reading)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def drained(generator):  # type: ignore[no-untyped-def]
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def recipe_for(targets: str) -> Recipe:
    return recipes.load("denoise").with_set(
        [
            f"targets={targets}",
            "losses=[{kind: mse}]",
            "groups.rest.learning_rate=2e-3",
            "run.batch_size=8",
            "run.patch_size=48",
            "run.validation_slices=3",
        ]
    )


@pytest.mark.parametrize("kind", [*KINDS, "recorrupted"])
def test_a_few_steps_lower_the_loss_on_validation_slices_of_a_real_scan(
    kind: str, bold: tuple[Series, ...], water: tuple[Series, ...], tmp_path: Path
) -> None:
    # The head's slices have too few flat areas to measure their noise in.
    recipe = recipe_for(KINDS.get(kind, f"{{kind: {kind}}}"))
    model = load_model("classic-small", "random", 0)
    data = read(recipe, model, water if kind == "recorrupted" else bold, tmp_path)
    try:
        net = model.net
        objective = Objective(recipe.losses, Context(deepcopy(net), CPU))
        optimiser, _ = optimisation.build(recipe, net, STEPS)
        before = drained(validate(net, data, recipe, objective, CPU))
        net.train()
        for step, members in enumerate(training_order(data, recipe, 1, STEPS), 1):
            train_step(
                net,
                objective,
                optimiser,
                draw_batch(data, recipe, members, patch_size(data, recipe), 1, step),
                CPU,
                recipe,
            )
        after = drained(validate(net, data, recipe, objective, CPU))
    finally:
        data.close()
    assert after.terms["loss"] < 0.9 * before.terms["loss"]
    assert after.psnr > before.psnr


def test_a_student_comes_closer_to_its_teacher(bold: tuple[Series, ...], tmp_path: Path) -> None:
    recipe = recipe_for(KINDS["distillation"])
    model = load_model("classic-small", "random", 0)
    data = read(recipe, model, bold[:1], tmp_path)
    try:
        net = model.net
        optimiser, _ = optimisation.build(recipe, net, STEPS)
        objective = Objective(recipe.losses, Context(deepcopy(net), CPU))

        def distance() -> float:
            found = [shown(data, recipe, member) for member in data.split.validation[:4]]
            return float(np.mean([(run_case(net.eval(), c, CPU)[0] - c.clean) ** 2 for c in found]))

        assert not np.array_equal(data.clean[0], data.noisy[0])
        before = distance()
        for step, members in enumerate(training_order(data, recipe, 1, STEPS), 1):
            train_step(
                net.train(), objective, optimiser, draw_batch(data, recipe, members, (48, 48), 1, step), CPU, recipe
            )
        assert distance() < 0.8 * before
    finally:
        data.close()


# ---------------------------------------------------------------- the score at held-out pixels


def test_only_held_out_pixels_count(bold: tuple[Series, ...], tmp_path: Path) -> None:
    recipe = recipe_for(KINDS["noise2void"])
    model = load_model("classic-small", "random", 0)
    data = read(recipe, model, bold[:1], tmp_path)
    try:
        assert data.targets.score == "held-out pixels" and any("hidden" in warning for warning in data.warnings)
        c = case(data, recipe, data.split.validation[0])
        assert c.mask is not None
        right = np.where(c.mask, c.clean, 0).astype(np.float32)
        assert score(c, right)[0] == float("inf") and score(c, right)[1] == pytest.approx(1)
        restored, reference = (c.item.scale.restore(x)[0] for x in (c.noisy, c.clean))
        assert score(c, c.noisy)[0] == pytest.approx(psnr(restored, reference, c.item.range.value, c.mask), rel=1e-6)
    finally:
        data.close()


def test_the_input_a_filter_and_the_model_are_scored_on_the_same_hidden_pixels(
    bold: tuple[Series, ...], tmp_path: Path
) -> None:
    recipe = recipe_for(KINDS["noise2void"])
    model = load_model("general-small")
    data = read(recipe, model, bold[:1], tmp_path)
    seen: list[np.ndarray] = []

    def keep(image: np.ndarray) -> np.ndarray:
        seen.append(image)
        return image

    try:
        untouched = drained(score_filter(None, data, recipe, ""))
        assert drained(score_filter(keep, data, recipe, "")) == untouched
        expected = [c.noisy[0] for m in validation_members(data, recipe) for c in cases(data, recipe, m)]
        assert len(seen) == len(expected) > len(validation_members(data, recipe))
        for one, two in zip(seen, expected, strict=True):
            np.testing.assert_array_equal(one, two)
    finally:
        data.close()


# ---------------------------------------------------------------- the consistency of Neighbor2Neighbor


class _Net(torch.nn.Module):
    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = torch.nn.Parameter(torch.tensor(factor))

    def outputs(self, x: torch.Tensor, level: torch.Tensor | None = None) -> Outputs:
        return Outputs(self.factor * x, None, x)


def _batch(bold: tuple[Series, ...], cache: Path) -> tuple[Recipe, Batch]:
    recipe = recipe_for("{kind: neighbor2neighbor, gamma: 3}")
    data = read(recipe, load_model("classic-small", "random", 0), bold[:1], cache)
    try:
        return recipe, draw_batch(data, recipe, training_order(data, recipe, 1, 1)[0], patch_size(data, recipe), 1, 1)
    finally:
        data.close()


def test_the_consistency_term_is_the_formula_and_stops_the_gradient_of_the_whole(
    bold: tuple[Series, ...], tmp_path: Path
) -> None:
    recipe, batch = _batch(bold, tmp_path)
    on = to_device(batch, CPU)
    assert on.whole is not None and on.picks is not None
    torch.testing.assert_close(picked(on.whole, on.picks[:, 0]), on.noisy)
    torch.testing.assert_close(picked(on.whole, on.picks[:, 1]), on.clean)

    identity = SliceNet(_Net(1.0), 1, 1)
    zero = extra_term(recipe, identity, on, identity.outputs(on.noisy, on.level))
    assert zero is not None and float(zero.detach()) == pytest.approx(0, abs=1e-12)

    half = SliceNet(_Net(0.5), 1, 1)
    term = extra_term(recipe, half, on, half.outputs(on.noisy, on.level))
    assert term is not None
    first, second = batch.noisy.astype(np.float64), batch.clean.astype(np.float64)
    inside = 0.5 * first - second - (0.5 * first - 0.5 * second)
    assert float(term.detach()) == pytest.approx(3 * np.mean(inside**2), rel=1e-5)
    term.backward()
    # Only f(g₁y) has a gradient: d/df of γ·mean((f·a − …)²) is 2γ·mean(inside·a).
    assert float(half.net.factor.grad) == pytest.approx(6 * np.mean(inside * first), rel=1e-4)  # type: ignore[union-attr,arg-type]


def test_a_recorrupted_scan_itself_shall_give_what_its_noisier_copies_give_on_average(
    water: tuple[Series, ...], tmp_path: Path
) -> None:
    recipe = recipe_for("{kind: recorrupted, added: 2}")
    data = read(recipe, load_model("classic-small", "random", 0), water, tmp_path)
    try:
        batch = draw_batch(data, recipe, training_order(data, recipe, 1, 1)[0], patch_size(data, recipe), 1, 1)
    finally:
        data.close()
    on, half = to_device(batch, CPU), SliceNet(_Net(0.5), 1, 1)
    term = extra_term(recipe, half, on, half.outputs(on.noisy, on.level))
    assert term is not None
    scan = (batch.noisy + 4 * batch.clean).astype(np.float64) / 5
    inside = 0.5 * scan - 0.5 * batch.noisy
    assert float(term.detach()) == pytest.approx(np.mean(inside**2), rel=1e-4)
    term.backward()
    # Only f(y) has a gradient.
    assert float(half.net.factor.grad) == pytest.approx(2 * np.mean(inside * scan), rel=1e-3)  # type: ignore[union-attr,arg-type]


def test_a_blind_spot_network_learns_to_give_the_same_when_nothing_is_hidden(
    bold: tuple[Series, ...], tmp_path: Path
) -> None:
    recipe = recipe_for("{kind: noise2void, hide: square, reach: 1, spots: 20, unhidden: 2, keep: 3}")
    data = read(recipe, load_model("classic-small", "random", 0), bold[:1], tmp_path)
    try:
        order = training_order(data, recipe, 1, 60)
        batches = [draw_batch(data, recipe, members, (48, 48), 1, k) for k, members in enumerate(order)]
    finally:
        data.close()
    on, half = to_device(batches[0], CPU), SliceNet(_Net(0.5), 1, 1)
    term = extra_term(recipe, half, on, half.outputs(on.noisy, on.level))
    assert term is not None and batches[0].mask is not None
    own, guess = batches[0].clean[batches[0].mask], 0.5 * batches[0].noisy[batches[0].mask]
    error = (own - guess).astype(np.float64)
    limit = 3 * np.sort(np.abs(error))[(error.size - 1) // 2] / 0.6745
    safe = np.where(error == 0, 1, error)
    detail = np.where(np.abs(error) > limit, error - limit**2 / safe, 0)
    assert 0 < np.count_nonzero(detail) < error.size
    assert float(term.detach()) == pytest.approx(2 * np.mean(np.abs(0.5 * own - guess - detail)), rel=1e-5)

    def distance(weight: float) -> float:
        net = load_model("classic-small", "random", 0).net.train()
        part = recipe.with_set([f"targets.unhidden={weight}"])
        optimiser, _ = optimisation.build(part, net, len(batches))
        objective = Objective(part.losses, Context(deepcopy(net), CPU))
        for batch in batches:
            train_step(net, objective, optimiser, batch, CPU, part)
        with torch.no_grad():
            difference = net.outputs(on.clean).image - net.outputs(on.noisy).image
        assert on.mask is not None
        return float((difference[on.mask] ** 2).mean())

    assert distance(5.0) < 0.9 * distance(0.0)


def test_other_targets_and_no_weight_have_no_extra_term(bold: tuple[Series, ...], tmp_path: Path) -> None:
    recipe, batch = _batch(bold, tmp_path)
    on, net = to_device(batch, CPU), SliceNet(_Net(0.5), 1, 1)
    found = net.outputs(on.noisy, on.level)
    assert extra_term(recipe.with_set(["targets.gamma=0"]), net, on, found) is None
    assert extra_term(recipes.load("denoise"), net, replace(on, whole=None, picks=None), found) is None


def test_detail_that_a_blind_spot_cannot_guess_is_told(bold: tuple[Series, ...], tmp_path: Path) -> None:
    recipe = recipe_for("{kind: noise2void, spots: 10}")
    data = read(recipe, load_model("classic-small", "random", 0), bold[:1], tmp_path)
    try:
        items = [data.items[member] for member in validation_members(data, recipe)]
        as_noisy = float(np.mean([20 * np.log10(i.range.value / (i.level * i.scale.span)) for i in items]))
        assert doubt(data, recipe, as_noisy) == ""
        assert "10.0 times worse than the noise" in doubt(data, recipe, as_noisy - 20)
    finally:
        data.close()
    others = recipe_for(KINDS["neighbor2neighbor"])
    data = read(others, load_model("classic-small", "random", 0), bold[:1], tmp_path)
    data.close()
    assert doubt(data, others, 0.0) == ""
