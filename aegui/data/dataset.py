"""Training slices in normalised units, kept in one memory-mapped file; batches drawn from counted seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from aegui.data.augment import augment, cut_size
from aegui.data.corruption import Corruptor
from aegui.data.item import Item
from aegui.data.labels import label_of
from aegui.data.pairs import TARGETS, Pair
from aegui.data.split import Split, split
from aegui.errors import UserError
from aegui.events import Event, Progress
from aegui.imaging import Pixels, Read, Series, SliceSource, ahead, open_series
from aegui.measure import estimate_noise, signal_range
from aegui.models.card import Card
from aegui.models.intensity import Scale, sample, scale_for
from aegui.recipes import Recipe
from aegui.recipes.targets import SyntheticTargets

# How far the level given in training strays from the truth, as an estimate does (SD of its logarithm).
LEVEL_JITTER = 0.1


class Slices:
    """Arrays (channels, rows, columns) of any size, appended to one memory-mapped file. Padding is NaN."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("w+b")
        self._places: list[tuple[int, tuple[int, ...]]] = []

    def append(self, array: Pixels) -> None:
        """Store one slice."""
        self._places.append((self._file.tell(), array.shape))
        self._file.write(np.ascontiguousarray(array, dtype=np.float32).tobytes())

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> Pixels:
        self._file.flush()
        offset, shape = self._places[index]
        return np.memmap(self._file, dtype=np.float32, mode="r", offset=offset, shape=shape)

    def close(self) -> None:
        """Release the file."""
        self._file.close()


@dataclass(frozen=True)
class Batch:
    """Patches of a step, normalised.

    noisy, clean: (N, channels, H, W). level: (N,). label: (N,), −1 where unknown. scale: (N, 2), low and span of the
    real units. mask: (N, 1, H, W), pixels at which the target counts; None: all. whole, picks: of
    Neighbor2Neighbor, the patches (N, channels, 2H, 2W) and, for input and target, which of each 2×2 block was taken
    (N, 2, H, W).
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
    """A whole slice for validation, normalised: noisy, clean (channels, H, W); padding is NaN in clean.

    mask: (H, W), pixels that are hidden in noisy and scored; None: all are scored.
    """

    item: Item
    noisy: Pixels
    clean: Pixels
    level: float
    mask: npt.NDArray[np.bool_] | None = None


@dataclass
class TrainingData:
    """All slices of a run with their split. `clean` is `noisy` itself where noise is added."""

    items: tuple[Item, ...]
    noisy: Slices
    clean: Slices
    split: Split
    corruptor: Corruptor | None
    classes: tuple[str, ...]
    warnings: tuple[str, ...]
    fingerprint: str

    def close(self) -> None:
        """Release the files."""
        self.noisy.close()
        self.clean.close()

    @property
    def channels(self) -> int:
        """1 or 3."""
        return int(self.noisy[0].shape[0])


def prepare(
    recipe: Recipe,
    card: Card,
    channels: int,
    noisy: Sequence[Series],
    pairs: Sequence[Pair],
    labels: Mapping[str, str],
    holdout: Sequence[str],
    cache: Path,
) -> Generator[Event, None, TrainingData]:
    """Read, normalise and split all slices. channels: of the network. pairs: confirmed, for paired targets."""
    paired = recipe.targets.pairs
    work: list[tuple[Series, Series, tuple[tuple[int, int], ...]]] = (
        # What is held out is nobody's target either: repeats are inputs and targets at once.
        [(p.noisy, p.clean, p.slices) for p in pairs if p.noisy.uid in holdout or p.clean.uid not in holdout]
        if paired
        else [(s, s, tuple((i, i) for i in range(s.slices))) for s in noisy]
    )
    if not work:
        raise UserError("There are no scans to train on.", "Open a folder with CT, MR or other images.")
    colour = channels == 3 and all(s.channels == 3 for s, _, _ in work)
    cache.mkdir(parents=True, exist_ok=True)
    with ExitStack() as undo:
        noisy_slices = Slices(cache / "noisy.bin")
        undo.callback(noisy_slices.close)
        clean_slices = noisy_slices
        if paired:
            clean_slices = Slices(cache / "clean.bin")
            undo.callback(clean_slices.close)
        items: list[Item] = []
        names: list[str | None] = []
        blocks: list[tuple[str, int]] = []
        marked = frozenset(holdout)
        total = sum(len(slices) for _, _, slices in work)
        warnings: list[str] = []
        average, limit, left_out = 1, None, 0
        corruptor = None
        if isinstance(recipe.targets, SyntheticTargets):
            average, limit = recipe.targets.average, recipe.targets.own_noise_limit
            corruptor = Corruptor(recipe.targets.corruptions, cache)
        for block, (one, other, slices) in enumerate(work):
            source = open_series(one)
            target = open_series(other) if other is not one else source
            try:
                scale = scale_for(card, one, source)
                data_range = signal_range(one.modality, one.bits, _samples(target))
                with ExitStack() as reading:
                    found = reading.enter_context(ahead(source, [i for i, _ in slices]))
                    others = reading.enter_context(ahead(target, [j for _, j in slices])) if paired else repeat(None)
                    for read, other_read in zip(found, others, strict=False):
                        yield Progress(len(items), total, "Reading slices")
                        x = _prepared(read, scale, colour, average)
                        level = estimate_noise(np.nan_to_num(x[0]), np.isfinite(x[0]))
                        if limit is not None and level * scale.span / data_range.value * 255 > limit:
                            left_out += 1
                            continue
                        noisy_slices.append(x)
                        if other_read is not None:
                            clean_slices.append(_prepared(other_read, scale, colour, 1))
                        items.append(Item(one, read.at, scale, data_range, level, -1))
                        if corruptor is not None:
                            corruptor.learn(x, items[-1])
                        names.append(label_of(one, read.at, labels))
                        blocks.append((f"\0held {one.uid}" if one.uid in marked else one.patient, block))
            finally:
                source.close()
                target.close()
        if paired:
            warnings += [TARGETS[kind] for kind in dict.fromkeys(pair.kind for pair in pairs) if kind in TARGETS]
        if left_out:
            warnings.append(f"{left_out} of {total} slices are too noisy to be clean targets and were left out.")
        classes, items = _classes(recipe, names, items, warnings)
        parts = split(
            blocks,
            recipe.run.validation_fraction,
            recipe.run.holdout_fraction,
            recipe.run.seed,
            frozenset(patient for patient, _ in blocks if patient.startswith("\0held")),
        )
        undo.pop_all()
        return TrainingData(
            tuple(items),
            noisy_slices,
            clean_slices,
            parts,
            corruptor,
            classes,
            (*warnings, *parts.warnings),
            _fingerprint(items, work),
        )


def _samples(source: SliceSource) -> list[Pixels]:
    found = [source.read(i) for i in sample(source)]
    return [pixels.mean(axis=-1) if pixels.ndim == 3 else pixels for pixels in found]


def _prepared(read: Read, scale: Scale, colour: bool, average: int) -> Pixels:
    pixels = scale.normalise(read.pixels)
    pixels = np.where(read.valid[..., None] if pixels.ndim == 3 else read.valid, pixels, np.nan)
    if pixels.ndim == 3:
        pixels = np.moveaxis(pixels, -1, 0)
        pixels = pixels if colour else pixels.mean(axis=0, keepdims=True)
    else:
        pixels = pixels[None]
    if average > 1:
        c, h, w = pixels.shape
        h, w = h // average, w // average
        pixels = pixels[:, : h * average, : w * average].reshape(c, h, average, w, average).mean(axis=(2, 4))
    return pixels.astype(np.float32)


def _classes(
    recipe: Recipe, names: list[str | None], items: list[Item], warnings: list[str]
) -> tuple[tuple[str, ...], list[Item]]:
    if not recipe.needs_labels:
        return (), items
    classes = tuple(sorted({name for name in names if name}))
    if len(classes) < 2:
        raise UserError(
            f"The recipe “{recipe.title}” needs at least two classes; {len(classes)} found.",
            "Put the scans of each class in a sub-folder of its own, or give a label file for these scans.",
        )
    missing = sum(name is None for name in names)
    if missing:
        warnings.append(f"{missing} of {len(names)} slices have no label; they train the image only.")
    number = {name: k for k, name in enumerate(classes)}
    return classes, [replace(item, label=number[name] if name else -1) for item, name in zip(items, names, strict=True)]


def _fingerprint(items: Sequence[Item], work: Sequence[Any]) -> str:
    text = "\n".join(f"{item.series.uid} {item.index} {item.scale}" for item in items)
    text += "\n".join(f"{one.uid} {other.uid}" for one, other, _ in work)
    return hashlib.sha256(text.encode()).hexdigest()


# ---------------------------------------------------------------- drawing


def _hold(x: Pixels, scale: Scale) -> Pixels:
    """Inside the model's limits; padding becomes the lower end of the slice's values."""
    if np.isnan(x).any():
        floor = max(float(np.nanmin(x)), scale.bounds[0]) if np.isfinite(x).any() else 0.0
        x = np.nan_to_num(x, nan=floor)
    return np.clip(x, *scale.bounds).astype(np.float32)


def training_order(data: TrainingData, recipe: Recipe, epoch: int, steps: int) -> npt.NDArray[np.int64]:
    """Positions of the training slices of an epoch, (steps, batch): shuffled rounds over all of them."""
    train = np.asarray(data.split.train)
    needed = steps * (recipe.run.batch_size or 16)
    rounds = [
        train[np.random.default_rng([recipe.run.seed, 2, epoch, r]).permutation(len(train))]
        for r in range(-(-needed // len(train)))
    ]
    return np.concatenate(rounds)[:needed].reshape(steps, (recipe.run.batch_size or 16))


def patch_size(data: TrainingData, recipe: Recipe) -> tuple[int, int]:
    """Rows and columns of the patches: as asked, or what the smallest slice allows."""
    shapes = np.asarray([data.noisy[i].shape[1:] for i in data.split.train])
    rows, columns = (int(side) for side in shapes.min(axis=0))
    side = recipe.run.patch_size or max(rows, columns)
    return min(side, rows), min(side, columns)


def draw_batch(
    data: TrainingData, recipe: Recipe, members: npt.NDArray[np.int64], size: tuple[int, int], epoch: int, step: int
) -> Batch:
    """The batch of a step; the same seed, epoch and step give the same batch."""
    rng = np.random.default_rng([recipe.run.seed, 3, epoch, step])
    noisy, clean, levels = [], [], []
    for member in members:
        item = data.items[member]
        height, width = data.noisy[member].shape[1:]
        cut = cut_size(recipe.augmentation, size, (height, width), rng)
        top, left = rng.integers(height - cut[0] + 1), rng.integers(width - cut[1] + 1)
        window = np.s_[:, top : top + cut[0], left : left + cut[1]]
        target = np.asarray(data.clean[member][window])
        known: float | None = item.level
        source = np.asarray(data.noisy[member][window])
        if data.corruptor is not None:
            source, known = data.corruptor.apply(target, item, int(member), (int(top), int(left)), rng)
        source, target, known = augment(
            recipe.augmentation, _hold(source, item.scale), _hold(target, item.scale), known, item, rng, size
        )
        # What the estimate will say of such noise: too little. The network must see the rest itself.
        level = estimate_noise(source[0]) if known is None else known
        if known is not None and data.corruptor is not None:
            level *= float(np.exp(rng.normal(0, LEVEL_JITTER)))
        noisy.append(source)
        clean.append(target)
        levels.append(level)
    items = [data.items[m] for m in members]
    return Batch(
        np.stack(noisy),
        np.stack(clean),
        np.asarray(levels, dtype=np.float32),
        np.asarray([item.label for item in items], dtype=np.int64),
        np.asarray([(item.scale.low, item.scale.span) for item in items], dtype=np.float32),
    )


def case(data: TrainingData, recipe: Recipe, member: int) -> Case:
    """A whole slice, with the same noise every time."""
    item = data.items[member]
    clean = np.asarray(data.clean[member])
    if data.corruptor is not None:
        noisy, _ = data.corruptor.apply(
            clean, item, member, (0, 0), np.random.default_rng([recipe.run.seed, 4, member])
        )
    else:
        noisy = np.asarray(data.noisy[member])
    level = estimate_noise(np.nan_to_num(noisy[0]), np.isfinite(noisy[0]))
    return Case(item, noisy, clean, level)


def validation_members(data: TrainingData, recipe: Recipe) -> list[int]:
    """Positions of the validation slices that are scored, spread evenly."""
    members = data.split.validation
    count = min(len(members), recipe.run.validation_slices)
    return [members[round(i)] for i in np.linspace(0, len(members) - 1, count)]
