"""Every schedule is torch's own, step by step."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator

import pytest
import torch
from torch.optim import lr_scheduler as theirs
from torch.optim.lr_scheduler import LRScheduler

from aegui.recipes.schedules import (
    ConstantSchedule,
    CosineSchedule,
    Cyclical,
    OneCycle,
    Plateau,
    ScheduleBase,
    StepSchedule,
    WarmRestarts,
    factor,
)
from aegui.training.optimisation import Schedule

STEPS = 120
PER_EPOCH = 6
PEAK = 0.2

Maker = Callable[[torch.optim.Optimizer], LRScheduler]


def sgd() -> torch.optim.Optimizer:
    group = {"params": [torch.nn.Parameter(torch.zeros(1))], "lr": PEAK, "name": "rest", "unfreeze_epoch": 0}
    return torch.optim.SGD([group], lr=PEAK, momentum=0.9)


def rates(optimiser: torch.optim.Optimizer, step: Callable[[], None]) -> Iterator[float]:
    for _ in range(STEPS):
        yield optimiser.param_groups[0]["lr"]
        optimiser.step()
        step()


SCHEDULES: dict[str, tuple[ScheduleBase, Maker]] = {
    "constant": (ConstantSchedule(), lambda o: theirs.ConstantLR(o, factor=1.0)),
    "step": (StepSchedule(every=3, drop=0.4), lambda o: theirs.StepLR(o, 3 * PER_EPOCH, gamma=0.4)),
    "cosine": (CosineSchedule(final=0.05), lambda o: theirs.CosineAnnealingLR(o, STEPS, eta_min=0.05 * PEAK)),
    "restarts": (
        WarmRestarts(period=3, growth=2, final=0.02),
        lambda o: theirs.CosineAnnealingWarmRestarts(o, 3 * PER_EPOCH, T_mult=2, eta_min=0.02 * PEAK),
    ),
    "equal restarts": (
        WarmRestarts(period=4, growth=1, final=0.0),
        lambda o: theirs.CosineAnnealingWarmRestarts(o, 4 * PER_EPOCH, T_mult=1),
    ),
    "onecycle": (OneCycle(), lambda o: theirs.OneCycleLR(o, PEAK, total_steps=STEPS, cycle_momentum=False)),
    "another onecycle": (
        OneCycle(rise=0.15, start=0.1, final=0.001),
        lambda o: theirs.OneCycleLR(
            o, PEAK, total_steps=STEPS, pct_start=0.15, div_factor=10, final_div_factor=100, cycle_momentum=False
        ),
    ),
    "triangular": (
        Cyclical(period=4, low=0.1),
        lambda o: theirs.CyclicLR(o, 0.1 * PEAK, PEAK, 2 * PER_EPOCH, cycle_momentum=False),
    ),
    "halving": (
        Cyclical(period=4, low=0.1, form="halving"),
        lambda o: theirs.CyclicLR(o, 0.1 * PEAK, PEAK, 2 * PER_EPOCH, mode="triangular2", cycle_momentum=False),
    ),
    "exp_range": (
        Cyclical(period=4, low=0.1, form="exp_range", decay=0.8),
        lambda o: theirs.CyclicLR(
            o, 0.1 * PEAK, PEAK, 2 * PER_EPOCH, mode="exp_range", gamma=0.8 ** (1 / PER_EPOCH), cycle_momentum=False
        ),
    ),
    "warm-up": (
        ConstantSchedule(warmup=2),
        lambda o: theirs.LinearLR(o, start_factor=1 / (2 * PER_EPOCH + 1), total_iters=2 * PER_EPOCH),
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_schedule_equals_that_of_torch(name: str) -> None:
    part, make = SCHEDULES[name]
    ours, other = sgd(), sgd()
    schedule, reference = Schedule(ours, part, STEPS, PER_EPOCH), make(other)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*deprecat", category=UserWarning)
        expected = list(rates(other, reference.step))
    found = list(rates(ours, schedule.step))
    assert found == pytest.approx(expected, rel=1e-9, abs=1e-12)
    assert name in ("constant",) or len(set(found)) > 2


def test_a_warm_up_in_front_of_a_cosine_is_torchs_sequence_of_both() -> None:
    ours, other = sgd(), sgd()
    schedule = Schedule(ours, CosineSchedule(warmup=2, final=0.0), STEPS, PER_EPOCH)
    rise = 2 * PER_EPOCH
    reference = theirs.SequentialLR(
        other,
        [
            theirs.LinearLR(other, start_factor=1 / (rise + 1), total_iters=rise),
            theirs.CosineAnnealingLR(other, STEPS - rise),
        ],
        milestones=[rise],
    )
    with warnings.catch_warnings():
        # SequentialLR calls its parts with an epoch, of which torch itself warns.
        warnings.filterwarnings("ignore", message="The epoch parameter", category=UserWarning)
        expected = list(rates(other, reference.step))
    assert list(rates(ours, schedule.step)) == pytest.approx(expected, rel=1e-9, abs=1e-12)


def test_a_cyclical_rate_cycles() -> None:
    at = factor(Cyclical(period=2, low=0.25), 40, 5)
    peaks = [step for step in range(1, 39) if at(step - 1) < at(step) > at(step + 1)]
    assert peaks == [5, 15, 25, 35]
    assert at(0) == at(10) == pytest.approx(0.25) and at(5) == pytest.approx(1.0)


def test_peaks_that_halve_go_on_halving_in_runs_of_thousands_of_cycles() -> None:
    at = factor(Cyclical(period=2, low=0.25, form="halving"), 10_000, 1)
    assert at(1) == 1.0 and at(3) == pytest.approx(0.25 + 0.75 / 2)
    assert at(4001) == 0.25


def test_restarts_within_a_step_restart_at_every_step() -> None:
    at = factor(WarmRestarts(period=1e-5, growth=1, final=0.1), 100, 10)
    assert [at(step) for step in (0, 1, 50)] == [1.0, 1.0, 1.0]


@pytest.mark.parametrize("steps", [1, 2, 3, 7])
@pytest.mark.parametrize("name", SCHEDULES)
def test_the_shortest_runs_have_rates_between_nothing_and_the_peak(name: str, steps: int) -> None:
    at = factor(SCHEDULES[name][0], steps, 1)
    assert all(0 <= at(step) <= 1 for step in range(steps + 1))


@pytest.mark.parametrize("patience", [1, 3])
def test_a_plateau_drops_as_torchs_does(patience: int) -> None:
    scores = [30.0, 31.0, 30.9, 31.0, 30.5, 31.5, 31.4, float("nan"), 31.5, 31.2, 31.3, 31.4, 31.0, 31.1, 40.0, 39.0]
    scores += [39.0] * 12
    part = Plateau(patience=patience, drop=0.3, final=0.01)
    ours, other = sgd(), sgd()
    schedule = Schedule(ours, part, 1000, 2)
    reference = theirs.ReduceLROnPlateau(
        other, mode="max", factor=0.3, patience=patience - 1, threshold=0.0, min_lr=0.01 * PEAK, eps=0.0
    )
    found, expected = [], []
    for score in scores:
        for optimiser in (ours, other):
            optimiser.step()
        schedule.step()
        schedule.after_epoch(score)
        reference.step(score)
        found.append(ours.param_groups[0]["lr"])
        expected.append(other.param_groups[0]["lr"])
    assert found == pytest.approx(expected, rel=1e-12)
    assert found[0] == PEAK and found[-1] == pytest.approx(0.01 * PEAK)


def test_a_plateau_goes_on_where_it_stood() -> None:
    scores = [1.0, 1.0, 2.0, 1.0, 1.0, 1.0, 1.0, 3.0, 1.0, 1.0]
    part = Plateau(patience=2, drop=0.5, warmup=3)

    def run(cut: int | None) -> list[float]:
        optimiser = sgd()
        schedule = Schedule(optimiser, part, 100, 2)
        seen = []
        for number, score in enumerate(scores):
            if number == cut:
                state, weights = schedule.state_dict(), optimiser.state_dict()
                optimiser = sgd()
                schedule = Schedule(optimiser, part, 100, 2)
                optimiser.load_state_dict(weights)
                schedule.load_state_dict(state)
            optimiser.step()
            schedule.step()
            seen.append(optimiser.param_groups[0]["lr"])
            schedule.after_epoch(score)
        return seen

    assert run(4) == run(None)
    assert len(set(run(None))) > 3


def test_a_plateau_drop_counts_from_the_very_next_step() -> None:
    optimiser = sgd()
    schedule = Schedule(optimiser, Plateau(patience=1, drop=0.5), 100, 2)
    schedule.after_epoch(1.0)
    assert optimiser.param_groups[0]["lr"] == PEAK
    schedule.after_epoch(1.0)
    assert optimiser.param_groups[0]["lr"] == PEAK / 2
