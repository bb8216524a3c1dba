"""Training slices: read, normalised, parted into those that train, validate and are held out."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from itertools import repeat
from pathlib import Path

import numpy as np

from aegui.data.item import Item
from aegui.data.labels import label_of
from aegui.data.pairs import Pair
from aegui.data.slices import Slices, Stock
from aegui.data.split import Split
from aegui.data.targets import Kind, Work, build_kind, not_beside
from aegui.errors import UserError
from aegui.events import Event, Progress
from aegui.imaging import Pixels, Read, Series, SliceSource, ahead, beside, open_series
from aegui.imaging.text import digest
from aegui.measure import estimate_noise, signal_range
from aegui.models.card import Card
from aegui.models.intensity import Scale, sample, scale_for
from aegui.recipes import Recipe


@dataclass
class TrainingData(Stock):
    """All slices of a run with their split, and how targets are made of them."""

    split: Split
    targets: Kind
    classes: tuple[str, ...]
    warnings: tuple[str, ...]
    fingerprint: str


def prepare(
    recipe: Recipe,
    card: Card,
    channels: int,
    noisy: Sequence[Series],
    pairs: Sequence[Pair],
    labels: Mapping[str, str],
    holdout: Sequence[str],
    cache: Path,
    at_most: int | None = None,
) -> Generator[Event, None, TrainingData]:
    """Read, normalise and split all slices. channels: of the network. pairs: confirmed, for targets that use them.

    at_most: reads only so many neighbouring slices of every series, from its middle.
    """
    if words := not_beside(card, recipe.targets):
        raise UserError(*words)
    cache.mkdir(parents=True, exist_ok=True)
    targets = build_kind(recipe.targets, cache)
    marked = frozenset(holdout)
    work = targets.works(noisy, pairs, marked)
    if at_most is not None:
        work = [replace(part, slices=_middle(part.slices, at_most)) for part in work]
    if not work:
        raise UserError("There are no scans to train on.", "Open a folder with CT, MR or other images.")
    colour = channels == 3 and all(part.series.channels == 3 for part in work)
    with ExitStack() as undo:
        noisy_slices = Slices(cache / "noisy.bin")
        undo.callback(noisy_slices.close)
        given = Slices(cache / "clean.bin")
        undo.callback(given.close)
        items: list[Item] = []
        names: list[str | None] = []
        blocks: list[tuple[str, int]] = []
        total, left_out = sum(len(part.slices) for part in work), 0
        for block, part in enumerate(work):
            one = part.series
            source = open_series(one)
            partner = source if part.partner is None else open_series(part.partner)
            try:
                scale = scale_for(card, one, source)
                data_range = signal_range(one.modality, one.bits, _samples(partner))
                targets.begin(one, source, scale)
                with ExitStack() as reading:
                    found = reading.enter_context(ahead(source, [i for i, _ in part.slices]))
                    others: Iterator[Read | None] = repeat(None)
                    if part.partner is not None:
                        others = reading.enter_context(ahead(partner, [j for _, j in part.slices]))
                    for read, other in zip(found, others, strict=False):
                        yield Progress(len(items), total, "Reading slices")
                        x = _prepared(read, scale, colour, targets.average)
                        level = estimate_noise(np.nan_to_num(x[0]), np.isfinite(x[0]))
                        if targets.limit is not None and level * scale.span / data_range.value * 255 > targets.limit:
                            left_out += 1
                            continue
                        if other is None and (made := targets.target(read, scale)) is not None:
                            other = read._replace(pixels=made)
                        if other is not None:
                            given.append(_prepared(other, scale, colour, targets.average))
                        noisy_slices.append(x)
                        items.append(Item(one, read.at, scale, data_range, level, -1))
                        targets.learn(x, items[-1])
                        names.append(label_of(one, read.at, labels))
                        blocks.append((f"\0held {one.uid}" if one.uid in marked else one.patient, block))
            finally:
                source.close()
                partner.close()
        warnings: list[str] = []
        if left_out:
            warnings.append(f"{left_out} of {total} slices are too noisy to be clean targets and were left out.")
        classes, items = _classes(recipe, names, items, warnings)
        parts = targets.part(items, blocks, recipe.run)
        warnings += _of_held_patients(work, marked)
        seen = _beside(items, [number for _, number in blocks], parts, card.neighbours)
        alone = sum(
            set(others) == {member} and set(beside(item.series, item.index, card.neighbours)) != {item.index}
            for member, (item, others) in enumerate(zip(items, seen, strict=bool(seen)))
        )
        if alone > len(items) / 2:
            warnings.append(
                f"{alone} of {len(items)} slices train without those beside them, which are not among the slices that "
                "are learnt from. The model will see them when it is used."
            )
        told = [targets.told] if targets.told else []
        if not len(given):
            given.close()
            given = noisy_slices
        undo.pop_all()
        return TrainingData(
            tuple(items),
            noisy_slices,
            given,
            parts,
            targets,
            classes,
            (*told, *targets.warnings, *warnings, *parts.warnings),
            _fingerprint(items, work, parts, classes, (noisy_slices, given)),
            beside=seen,
        )


def _middle(slices: tuple[tuple[int, int], ...], count: int) -> tuple[tuple[int, int], ...]:
    start = max(0, (len(slices) - count) // 2)
    return slices[start : start + count]


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


def _beside(items: Sequence[Item], blocks: Sequence[int], parts: Split, neighbours: int) -> tuple[tuple[int, ...], ...]:
    """For each slice the numbers of all that the model sees with it; () where it sees single slices.

    Only slices of the same part of the split: none that is held out, or validates, has a part in what is learnt. Where
    there is none, the slice itself takes the place, as when the model is used.
    """
    if not neighbours:
        return ()
    part = {m: number for number, of in enumerate((parts.train, parts.validation, parts.holdout)) for m in of}
    keys = [(part.get(m), block) for m, block in enumerate(blocks)]
    places = {(*key, item.index): m for m, (key, item) in enumerate(zip(keys, items, strict=True))}
    return tuple(
        tuple(places.get((*keys[m], index), m) for index in beside(item.series, item.index, neighbours))
        for m, item in enumerate(items)
    )


def _of_held_patients(work: Sequence[Work], marked: frozenset[str]) -> list[str]:
    """Warned where a series is held out and others of its patient are learnt from."""
    patients = {part.series.patient for part in work if part.series.uid in marked}
    count = sum(part.series.patient in patients and part.series.uid not in marked for part in work)
    if not count:
        return []
    others = "One other series" if count == 1 else f"{count} other series"
    return [
        f"{others} of a patient with hold-out series will be learnt from: Review then judges on anatomy that the model "
        "knows. Hold out all series of a patient."
    ]


def _fingerprint(
    items: Sequence[Item], work: Sequence[Work], parts: Split, classes: Sequence[str], values: Sequence[Slices]
) -> str:
    lines = [f"{item.series.uid} {item.index} {item.scale} {item.label}" for item in items]
    lines += [f"{part.series.uid} {(part.partner or part.series).uid}" for part in work]
    lines += [repr((parts.train, parts.validation, parts.holdout)), *classes]
    return digest(*lines, *(slices.sum for slices in values))
