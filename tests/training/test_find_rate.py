"""The learning-rate search: what it suggests trains, and far above it does not."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aegui import recipes, workflow
from aegui.errors import UserError
from aegui.events import Event, RatePoint, Step, finish
from aegui.training import find_rate as module
from aegui.training.find_rate import Curve, FoundRate, rates_between, suggest, sweep
from aegui.workflow.rate import find_rate


class Bowl:
    """A quadratic with curvatures from 1 to `steepest` that gradient descent solves below the rate 2 ÷ steepest."""

    def __init__(self, steepest: float = 50.0, noise: float = 0.0) -> None:
        self.curvature = torch.linspace(1, steepest, 20)
        self.at = torch.ones(20)
        self.noise, self.rng = noise, np.random.default_rng(0)

    def loss(self) -> float:
        return float(0.5 * (self.curvature * self.at.square()).sum()) * (1 + self.noise * self.rng.normal())

    def step(self, rate: float) -> float:
        loss = self.loss()
        self.at = self.at - rate * self.curvature * self.at
        return loss


def found(bowl: Bowl) -> tuple[Curve, float | None]:
    search = sweep(lambda _step, rate: bowl.step(rate), bowl.loss(), rates_between())
    while True:
        try:
            next(search)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]


def trained(rate: float, steps: int = 60) -> float:
    bowl = Bowl()
    before = bowl.loss()
    for _ in range(steps):
        bowl.step(rate)
    return bowl.loss() / before


@pytest.mark.parametrize("noise", [0.0, 0.02])
def test_the_suggestion_for_a_bowl_solves_it_and_far_above_it_diverges(noise: float) -> None:
    curve, diverged = found(Bowl(noise=noise))
    rate, how = suggest(curve)
    assert rate is not None and diverged is not None and "steepest" in how
    assert trained(rate) < 0.1
    assert trained(rate / 100) > 0.5
    assert not all(trained(rate * times) < 1 for times in (10, 100))
    assert not trained(rate * 100) < 1e3
    assert rate < 2 / 50 < diverged


def test_the_search_ends_soon_after_the_loss_has_left_its_bounds() -> None:
    curve, diverged = found(Bowl())
    assert diverged is not None and len(curve.points) < len(rates_between())
    assert all(math.isfinite(loss) for _, loss, _ in curve.points)


def test_the_smoothed_loss_does_not_lean_towards_zero_at_its_beginning() -> None:
    curve = Curve(7.0)
    for rate in rates_between(steps=10):
        assert curve.add(rate, 7.0)
    assert [smoothed for _, _, smoothed in curve.points] == pytest.approx([7.0] * 10)
    curve.add(1.0, 8.0)
    memory = module.MEMORY
    weight = 1 - memory**11
    assert curve.points[-1][2] == pytest.approx((7.0 * memory * (1 - memory**10) + 8.0 * (1 - memory)) / weight)


def test_a_loss_that_is_no_number_ends_the_search() -> None:
    losses = iter([1.0, 0.9, float("nan")])
    events = []
    search = sweep(lambda _step, _rate: next(losses), 1.0, rates_between())
    with pytest.raises(StopIteration) as end:
        while True:
            events.append(next(search))
    assert len(events) == 2 and end.value.value[1] == pytest.approx(rates_between()[2])


def test_where_no_rate_helps_none_is_suggested() -> None:
    rng = np.random.default_rng(1)
    flat, rising = Curve(1.0), Curve(1.0)
    for number, rate in enumerate(rates_between()):
        flat.add(rate, 1 + 0.05 * rng.normal())
        rising.add(rate, 1 + 1e-4 * 1.15**number)
    assert suggest(flat)[0] is None and suggest(rising)[0] is None
    assert "does not fall" in suggest(flat)[1]


def test_where_the_descent_is_steepest_at_its_end_the_valley_is_taken() -> None:
    curve = Curve(10.0)
    for number, rate in enumerate(rates_between(steps=40)):
        # It falls faster and faster until the rates end.
        curve.add(rate, 10 - 6 * (number / 39) ** 6)
    rate, how = suggest(curve)
    assert rate is not None and "valley" in how
    assert 1e-6 < rate < 10 / module.MARGIN + 1e-9


# ---------------------------------------------------------------- on slices


def job_on(series: tuple[object, ...], tmp_path: Path, *settings: str) -> workflow.TrainJob:
    recipe = recipes.load("denoise").with_set(
        ["run.batch_size=4", "run.patch_size=32", "losses.tv.weight=0.0", *settings]
    )
    return workflow.TrainJob(
        "classic-small",
        recipe,
        series,
        tmp_path / "run",
        init="random",
        device="cpu",  # type: ignore[arg-type]
    )


@pytest.fixture
def job(tmp_path: Path) -> workflow.TrainJob:
    y, x = np.mgrid[:48, :48] / 48
    for case in range(3):
        folder = tmp_path / "scans" / f"case{case}"
        folder.mkdir(parents=True)
        np.save(folder / "volume.npy", np.asarray([200 + 100 * np.sin(5 * x + case + k) * y for k in range(3)]))
    return job_on(finish(workflow.scan([tmp_path / "scans"])).series, tmp_path)


def search(job: workflow.TrainJob) -> tuple[list[Event], FoundRate]:
    events = list(find_rate(job))
    return events, events[-1].result  # type: ignore[attr-defined]


def losses(job: workflow.TrainJob, rate: float, run: Path, steps: int = 30) -> list[float]:
    recipe = job.recipe.with_set([f"groups.rest.learning_rate={rate}", "run.epochs=1", f"run.steps_per_epoch={steps}"])
    events = list(workflow.train(replace(job, recipe=recipe, run=run)))
    return [event.loss for event in events if isinstance(event, Step)]


def trains_at_the_suggestion(job: workflow.TrainJob, tmp_path: Path) -> None:
    events, result = search(job)
    assert result.suggestion is not None, result.words
    points = [event for event in events if isinstance(event, RatePoint)]
    assert [(p.rate, p.loss, p.smoothed) for p in points] == list(result.points)
    at, low, high = (
        float(np.mean(losses(job, result.suggestion * times, tmp_path / name)[-8:]))
        for times, name in ((1, "at"), (1 / 50, "low"), (100, "high"))
    )
    assert at < 0.8 * low and at < 0.8 * high, (result.words, at, low, high)


def test_the_suggestion_trains_generated_slices_fast(job: workflow.TrainJob, tmp_path: Path) -> None:
    trains_at_the_suggestion(job, tmp_path)


def test_the_suggestion_trains_real_slices_fast(shared: Path, tmp_path: Path) -> None:
    series = finish(workflow.scan([shared / "mr_bold_repeats"])).series[:3]
    trains_at_the_suggestion(job_on(series, tmp_path, "run.batch_size=8"), tmp_path)


def test_groups_keep_their_proportions(job: workflow.TrainJob) -> None:
    by = (
        "groups=[{match: encoder, learning_rate: 1.0e-5, layer_decay: 0.5}, {match: decoder, learning_rate: 1.0e-4},"
        " {match: rest, learning_rate: 1.0e-3}]"
    )
    _, result = search(replace(job, recipe=job.recipe.with_set([by])))
    assert result.suggestion is not None
    assert result.rates == pytest.approx({"encoder": result.suggestion / 10, "decoder": result.suggestion}, rel=0.06)


def test_the_search_leaves_no_trace(job: workflow.TrainJob) -> None:
    state = torch.random.get_rng_state()
    before = np.random.get_state()[1].tolist()  # type: ignore[index]
    one, two = search(job)[1], search(job)[1]
    assert one == two
    assert not job.run.exists()
    assert torch.equal(torch.random.get_rng_state(), state)
    assert np.random.get_state()[1].tolist() == before  # type: ignore[index]


def test_a_search_that_is_given_up_removes_its_folder(
    job: workflow.TrainJob, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "temporary"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    events = find_rate(job)
    for event in events:
        if isinstance(event, RatePoint):
            assert list(place.glob("aegui-rate-*"))
            break
    events.close()  # type: ignore[attr-defined]
    assert not list(place.iterdir()) and not job.run.exists()


def test_the_untouched_network_drops_what_the_trained_one_does(job: workflow.TrainJob) -> None:
    dropping = replace(job, recipe=job.recipe.with_set(["regularisation.dropout=0.5"]))
    _, result = search(dropping)
    rates, losses_ = zip(*[(rate, loss) for rate, loss, _ in result.points[:5]], strict=True)
    assert max(rates) < 1e-5  # too low to change the network
    assert max(losses_) - min(losses_) < 1e-3 * losses_[0]


def test_lbfgs_has_nothing_to_search(job: workflow.TrainJob) -> None:
    with pytest.raises(UserError, match="finds the length of its steps itself"):
        search(replace(job, recipe=job.recipe.with_set(["optimiser={kind: lbfgs}"])))
