"""Batches and validation cases, drawn from counted seeds."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from aegui.data.augment import augment, cut_size, regridding
from aegui.data.dataset import TrainingData
from aegui.data.item import Item
from aegui.data.targets import Drawn
from aegui.imaging import Pixels, Series
from aegui.imaging.filling import filled_together
from aegui.measure import TISSUE, level_of
from aegui.models.intensity import Scale
from aegui.models.planes import middle
from aegui.recipes import Recipe


@dataclass(frozen=True)
class Batch:
    """Patches of a step, normalised.

    noisy: (N, planes, H, W): the channels of all slices that the model sees, in order, of most models one. clean:
    (N, channels, H, W). level: (N,). label: (N,), −1 where unknown. scale: (N, 2), low and span of the real units.
    mask: (N, 1, H, W), pixels at which the target counts; None: all. whole, picks: of Neighbor2Neighbor, the patches
    (N, channels, 2H, 2W) and, for input and target, which of each 2×2 block was taken (N, 2, H, W).
    """

    noisy: Pixels
    clean: Pixels
    level: Pixels
    label: npt.NDArray[np.int64]
    scale: Pixels
    mask: npt.NDArray[np.bool_] | None = None
    whole: Pixels | None = None
    picks: npt.NDArray[np.int64] | None = None


class Case(NamedTuple):
    """A whole slice for validation, normalised: noisy (planes, H, W), clean (channels, H, W); padding is NaN in both.

    mask: (H, W), pixels that are hidden in noisy and scored; None: all are scored.
    """

    item: Item
    noisy: Pixels
    clean: Pixels
    level: float
    mask: npt.NDArray[np.bool_] | None = None

    @property
    def slice(self) -> Pixels:
        """The noisy slice itself, without those that the model sees beside it: (channels, H, W)."""
        return middle(self.noisy, len(self.clean))


def training_order(data: TrainingData, recipe: Recipe, epoch: int, steps: int) -> npt.NDArray[np.int64]:
    """Positions of the training slices of an epoch, (steps, batch).

    Shuffled rounds over all of them, or, where patients or modalities are to be even, each drawn by its share.
    """
    train = np.asarray(data.split.train)
    needed = steps * recipe.run.batch
    if recipe.run.evenly != "slice":
        shares = _shares([data.items[member].series for member in train.tolist()], recipe.run.evenly)
        drawn = np.random.default_rng([recipe.run.seed, 6, epoch]).choice(train, needed, p=shares)
        return drawn.reshape(steps, recipe.run.batch)
    rounds = [
        train[np.random.default_rng([recipe.run.seed, 2, epoch, r]).permutation(len(train))]
        for r in range(-(-needed // len(train)))
    ]
    return np.concatenate(rounds)[:needed].reshape(steps, recipe.run.batch)


def _shares(of_slices: Sequence[Series], evenly: Literal["patient", "modality"]) -> npt.NDArray[np.float64]:
    """How often each slice is drawn; the series of each are given. See `evenly` of the recipe."""
    groups = ["" if evenly == "patient" else one.modality for one in of_slices]
    whose = list(zip(groups, (one.patient for one in of_slices), strict=True))
    patients = Counter(whose)
    if evenly == "patient":
        weights = dict.fromkeys(patients, 1.0)
    else:
        roots: dict[str, float] = defaultdict(float)
        for (modality, _), count in patients.items():
            roots[modality] += count**0.5
        weights = {who: count**0.5 / roots[who[0]] for who, count in patients.items()}
    shares = np.array([weights[who] / patients[who] for who in whose])
    return np.asarray(shares / shares.sum())


def patch_size(data: TrainingData, recipe: Recipe) -> tuple[int, int]:
    """Rows and columns of the patches: as asked, or what the smallest slice allows."""
    shapes = np.asarray([data.noisy[i].shape[1:] for i in data.split.train])
    rows, columns = (int(side) for side in shapes.min(axis=0))
    side = recipe.run.patch_size or max(rows, columns)
    return data.targets.sides(min(side, rows), min(side, columns))


def draw_batch(
    data: TrainingData, recipe: Recipe, members: npt.NDArray[np.int64], size: tuple[int, int], epoch: int, step: int
) -> Batch:
    """The batch of a step; the same seed, epoch and step give the same batch."""
    rng = np.random.default_rng([recipe.run.seed, 3, epoch, step])
    drawn = [_patch(data, recipe, int(member), size, rng) for member in members]
    items = [data.items[m] for m in members]
    first = drawn[0]
    return Batch(
        np.stack([one.noisy for one in drawn]),
        np.stack([one.clean for one in drawn]),
        np.asarray([one.level for one in drawn], dtype=np.float32),
        np.asarray([item.label for item in items], dtype=np.int64),
        np.asarray([(item.scale.low, item.scale.span) for item in items], dtype=np.float32),
        None if first.mask is None else np.stack([one.mask for one in drawn if one.mask is not None]),
        None if first.whole is None else np.stack([one.whole for one in drawn if one.whole is not None]),
        None if first.picks is None else np.stack([one.picks for one in drawn if one.picks is not None]),
    )


def _patch(data: TrainingData, recipe: Recipe, member: int, size: tuple[int, int], rng: np.random.Generator) -> Drawn:
    item, targets = data.items[member], data.targets
    wanted = targets.augmentation(recipe.augmentation)
    height, width = data.noisy[member].shape[1:]
    rows, columns = cut_size(wanted, size, (height, width), rng)
    place = int(rng.integers(height - rows + 1)), int(rng.integers(width - columns + 1))
    regrid, found = regridding(wanted, size, rng), None
    if regrid is not None:
        found = targets.cut_regridded(data, member, place, (rows, columns), rng, regrid)
    if found is None:
        found = targets.cut(data, member, place, (rows, columns), rng)
    else:
        wanted = wanted.model_copy(update={"kspace": 0.0})
    source, target, level = found
    if level is None:
        # What the estimate will say of such noise: too little. The network must see the rest itself.
        level = _estimate(source, target, item)
    held = _hold(source, item.scale, len(target))
    # What the model does not take is the same in both: what lies around it differs by the noise, which would be an
    # error to learn from.
    if source is target:
        source = target = held
    else:
        learnt = np.isfinite(target) & item.scale.takes(middle(source, len(target)))
        target = np.where(learnt, target, middle(held, len(target)))
        source, target = held, np.clip(target, *item.scale.bounds).astype(np.float32)
    source, target, known = augment(wanted, source, target, level, item, rng, size)
    return targets.finish(source, target, _estimate(source, target, item) if known is None else known, rng)


def _hold(x: Pixels, scale: Scale, channels: int) -> Pixels:
    """As the model gets it: padding and what is beyond its limits become like their surroundings, in each slice."""
    slices = np.split(x.astype(np.float32), len(x) // channels)
    return filled_together(slices, [scale.takes(one) for one in slices])


def _estimate(x: Pixels, target: Pixels, item: Item) -> float:
    """Noise level of the slice among its planes that has this target, as it is told when the model is used."""
    image = middle(x, len(target)).mean(axis=0)
    above = (TISSUE - item.scale.low) / item.scale.span if item.series.unit == "HU" else None
    return level_of(np.nan_to_num(image), np.isfinite(image), above)


# ---------------------------------------------------------------- validation


def validation_members(data: TrainingData, recipe: Recipe) -> list[int]:
    """Positions of the validation slices that are scored, spread evenly."""
    members = data.split.validation
    count = min(len(members), recipe.run.validation_slices)
    return [members[round(i)] for i in np.linspace(0, len(members) - 1, count)]


def shown(data: TrainingData, recipe: Recipe, member: int) -> Case:
    """A whole slice as the model will be used on it: nothing is hidden or added; the same every time."""
    whole = _whole(data, recipe, member)
    drawn = data.targets.used(whole.noisy, whole.clean, whole.level)
    return whole._replace(noisy=drawn.noisy, level=drawn.level)


def cases(data: TrainingData, recipe: Recipe, member: int) -> Iterator[Case]:
    """What a validation slice is scored on; the same every time."""
    whole = _whole(data, recipe, member)
    for number in range(data.targets.rounds(whole.noisy.shape[1:])):
        rng = np.random.default_rng([recipe.run.seed, 5, member, number])
        drawn = data.targets.scored(whole.noisy, whole.clean, whole.level, rng)
        yield Case(whole.item, drawn.noisy, drawn.clean, drawn.level, drawn.mask)


def _whole(data: TrainingData, recipe: Recipe, member: int) -> Case:
    rng = np.random.default_rng([recipe.run.seed, 4, member])
    noisy, clean, _ = data.targets.cut(data, member, (0, 0), data.noisy[member].shape[1:], rng)
    return Case(data.items[member], noisy, clean, _estimate(noisy, clean, data.items[member]))


def case(data: TrainingData, recipe: Recipe, member: int) -> Case:
    """The first of a slice's cases."""
    return next(cases(data, recipe, member))
