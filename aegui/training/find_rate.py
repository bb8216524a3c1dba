"""A learning rate found by trying them all: the range test of Smith 2017 ("Cyclical Learning Rates", WACV)."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch

from aegui.data.dataset import TrainingData
from aegui.data.draw import draw_batch, training_order
from aegui.errors import UserError
from aegui.events import Done, Event, Events, Progress, RatePoint
from aegui.models.seeded import seeded
from aegui.models.slicenet import SliceNet
from aegui.models.zoo import Model
from aegui.recipes import Recipe
from aegui.recipes.optimisers import LBFGS
from aegui.training import optimisation
from aegui.training.runfolder import RunFolder
from aegui.training.step import Forward, to_device, train_step
from aegui.training.trainer import Trainer

LOW, HIGH, STEPS = 1e-6, 10.0, 80
PROBES = 8  # batches whose mean loss is where the curve begins
MEMORY = 0.85  # of the running mean of losses
DIVERGED, WORSE = 4.0, 1.5  # times the best loss, and times the first one: there it ends
QUIET = 0.2  # first share of the rates, too small to change anything: what moves there is noise
MARGIN = 5.0  # times below the rate of the lowest loss, at least
_STREAM = 12  # of the seed's random numbers


@dataclass(frozen=True)
class FoundRate:
    """points: (rate, loss, smoothed). suggestion: of the fastest group, None where no rate helps.

    rates: the suggestion by recipe group, all in the proportions of the recipe. diverged_at: the rate at which the
    loss rose without bounds; None: up to the highest it did not. words: what was found.
    """

    points: tuple[tuple[float, float, float], ...]
    suggestion: float | None
    rates: Mapping[str, float]
    diverged_at: float | None
    words: str


@dataclass
class Curve:
    """The losses seen so far while the rate rises. start: before any step."""

    start: float
    points: list[tuple[float, float, float]] = field(default_factory=list)
    _sum: float = 0.0
    _weight: float = 0.0

    def add(self, rate: float, loss: float) -> bool:
        """Whether to go on: not once the loss has risen without bounds."""
        if not math.isfinite(loss):
            return False
        # A running mean that does not lean towards zero at its beginning.
        self._sum = MEMORY * self._sum + (1 - MEMORY) * loss
        self._weight = MEMORY * self._weight + (1 - MEMORY)
        smoothed = self._sum / self._weight
        best = min([self.start, *(point[2] for point in self.points)])
        self.points.append((rate, loss, smoothed))
        bound = min(best + (DIVERGED - 1) * abs(best), self.start + (WORSE - 1) * abs(self.start))
        # One bad batch does not end it, but a loss far beyond the start does before the mean has followed.
        return smoothed <= bound and loss <= self.start + 100 * abs(self.start)


def rates_between(low: float = LOW, high: float = HIGH, steps: int = STEPS) -> list[float]:
    """Rates in equal proportions."""
    return [float(rate) for rate in np.geomspace(low, high, steps)]


def sweep(
    take: Callable[[int, float], float], start: float, rates: Sequence[float]
) -> Generator[RatePoint, None, tuple[Curve, float | None]]:
    """Take a step at each rate until the loss diverges. take(step, rate) → loss. Returns (curve, diverged at)."""
    curve = Curve(start)
    for step, rate in enumerate(rates):
        goes_on = curve.add(rate, take(step, rate))
        if curve.points and curve.points[-1][0] == rate:
            yield RatePoint(step + 1, len(rates), *curve.points[-1])
        if not goes_on:
            return curve, rate
    return curve, None


def suggest(curve: Curve) -> tuple[float | None, str]:
    """(rate, how it was chosen): at the steepest descent, else from the longest valley; None without a descent."""
    found = np.asarray(curve.points)
    if len(found) < 5:
        return None, "The loss rises at once, even at the lowest rate."
    rates, smoothed = found[:, 0], found[:, 2]
    quiet = max(5, round(QUIET * len(found)))
    noise = float(np.std(found[:quiet, 1])) * math.sqrt((1 - MEMORY) / (1 + MEMORY))
    lowest = int(np.argmin(smoothed))
    fall = float(np.median(smoothed[:quiet])) - float(smoothed[lowest])
    if lowest < 2 or fall <= 5 * noise or fall <= 1e-4 * abs(curve.start):
        return None, "The loss does not fall at any rate by more than it varies from batch to batch."
    ceiling = rates[lowest] / MARGIN
    if lowest > quiet + 1:
        slope = np.gradient(smoothed[: lowest + 1], np.log(rates[: lowest + 1]))
        steepest = quiet + int(np.argmin(slope[quiet:]))
        if quiet < steepest < lowest:
            return _rounded(min(rates[steepest], ceiling)), "at the steepest descent, well below the lowest loss"
    begin, end = _valley(smoothed)
    begin = max(begin, min(quiet, end))
    middle = rates[begin + (end - begin) // 2]
    return _rounded(min(middle, ceiling)), "from the longest valley of the loss"


def _rounded(rate: float) -> float:
    return float(f"{rate:.1e}")


def _valley(values: np.ndarray) -> tuple[int, int]:
    """(begin, end) of the longest run of falling values, not necessarily neighbours."""
    length, before = np.ones(len(values), dtype=int), np.arange(len(values))
    for i in range(1, len(values)):
        for j in range(i):
            if values[j] > values[i] and length[j] + 1 > length[i]:
                length[i], before[i] = length[j] + 1, j
    end = begin = int(np.argmax(length))
    while before[begin] != begin:
        begin = int(before[begin])
    return begin, end


def find_rate(
    recipe: Recipe, model: Model, data: TrainingData, device: torch.device, start: str, folder: Path
) -> Events:
    """Try the recipe's groups at ever higher rates, in their proportions, on a copy. Done(FoundRate).

    folder: nothing is written into it. Each loss is compared with that of the untouched network on the same patches,
    as batches differ more among each other than a pretrained network gains.
    """
    if isinstance(recipe.optimiser, LBFGS):
        raise UserError(
            "L-BFGS finds the length of its steps itself.", "Leave its rate at 1, or choose another optimiser."
        )
    copy = replace(model, net=deepcopy(model.net))
    trainer = Trainer(recipe, copy, data, RunFolder(folder), device, start)
    try:
        yield from _search(trainer)
    finally:
        trainer.release()


def _search(trainer: Trainer) -> Iterator[Event]:
    recipe, optimiser = trainer.recipe, trainer.optimiser
    nominal = [group["initial_lr"] for group in optimiser.param_groups]
    fastest = max(nominal)
    by_name = _nominal(optimiser)
    # Together, as the copy's hooks belong to the copied regulariser.
    untouched, regulariser = deepcopy((trainer.net, trainer.regulariser))
    steps = max(STEPS, PROBES)
    order = training_order(trainer.data, recipe, 1, steps)
    starts: dict[int, float] = {}

    def before(step: int) -> float:
        if step not in starts:
            regulariser.begin_step(1, step + 1)
            starts[step] = _loss(trainer, untouched, order[step], step)
        return starts[step]

    for probe in range(PROBES):
        before(probe)
        yield Progress(probe + 1, PROBES, "Looking at the loss before training")
    base = float(np.mean([starts[probe] for probe in range(PROBES)]))

    def take(step: int, rate: float) -> float:
        for group, own in zip(optimiser.param_groups, nominal, strict=True):
            group["lr"] = own / fastest * rate
        trainer.regulariser.begin_step(1, step + 1)
        batch = draw_batch(trainer.data, recipe, order[step], trainer.size, 1, step + 1)
        try:
            result = train_step(
                trainer.net, trainer.objective, optimiser, batch, trainer.device, recipe, seed=_seed(recipe, step)
            )
        except UserError:  # the loss is no longer a number
            return float("nan")
        return base + result.loss - before(step)

    trainer.net.train()
    curve, diverged = yield from sweep(take, base, rates_between(steps=steps))
    rate, how = suggest(curve)
    rates = {} if rate is None else {name: _rounded(own / fastest * rate) for name, own in by_name.items()}
    yield Done(FoundRate(tuple(curve.points), rate, rates, diverged, _words(rate, how, diverged)))


def _nominal(optimiser: torch.optim.Optimizer) -> dict[str, float]:
    """By recipe group, the rate of its fastest layer at the schedule's peak."""
    found: dict[str, float] = {}
    for group in optimiser.param_groups:
        for name in group.get("names", [group["name"]]):
            found.setdefault(name, float(group["initial_lr"]))
    return {name: found[name] for name in optimisation.names(optimiser)}


def _seed(recipe: Recipe, step: int) -> int:
    return int(np.random.SeedSequence([recipe.run.seed, _STREAM, step]).generate_state(1)[0])


def _loss(trainer: Trainer, net: SliceNet, members: np.ndarray, step: int) -> float:
    """Of a network that is not changed, on the patches of a step."""
    recipe = trainer.recipe
    batch = draw_batch(trainer.data, recipe, members, trainer.size, 1, step + 1)
    on = to_device(batch, trainer.device, recipe.run.channels_last)
    net.train()
    with torch.no_grad(), seeded(_seed(recipe, step)):
        return float(Forward(net, trainer.objective, recipe, on, 0.0)()[0])


def _words(rate: float | None, how: str, diverged: float | None) -> str:
    limit = f" It diverges at {_figure(diverged)}." if diverged is not None else " It diverges at none of the rates."
    if rate is None:
        return f"{how}{limit} Keep the rates of the recipe, or start from other weights."
    return f"Suggested: {_figure(rate)}, {how}.{limit}"


def _figure(rate: float) -> str:
    number, _, power = f"{rate:.1e}".partition("e")
    return f"{number}e{int(power)}"
