"""What slices look like to a model, and whether it has seen the like in its training."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from aegui.data.dataset import TrainingData
from aegui.data.draw import shown
from aegui.events import Event, Progress
from aegui.imaging import Mask, Pixels, Series, SliceSource
from aegui.measure import Range, estimate_noise, signal_range
from aegui.measure.flat import ENOUGH, SIDES, blocks
from aegui.models.card import Card, Seen
from aegui.models.intensity import sample
from aegui.recipes import Recipe

TRAINING = 40  # slices that are looked at, of the training, of each modality
SCAN = 5  # and of a scan
DARK = 0.1  # of the range
BARELY = 3.0  # times less dark than what was seen: not the same kind of picture
AIR, WATER = -1000.0, 1000.0  # HU, and HU above air
_NAMES = {"OT": "pictures of no modality", "": "pictures of no modality"}


@dataclass(frozen=True)
class Look:
    """Figures of a slice, as in `Seen`. grain: None where too little is flat."""

    modality: str
    spacing: float
    noise: float
    grain: float | None
    dark: float
    bright: float
    colour: bool = False


def _grain(image: Pixels, valid: Mask) -> float | None:
    """Mean frequency of the noise, cycles/px; None where too little is flat."""
    flat = blocks(image, valid, SIDES[1]).flat()
    if len(flat) < ENOUGH:
        return None
    frequencies, power = flat.spectrum()
    return float((frequencies**2 * power).sum() / (frequencies * power).sum())


class Glimpse(NamedTuple):
    """A grey slice in the scan's unit, and what takes longest to see of it."""

    image: Pixels
    valid: Mask
    grain: float | None


def glimpse(pixels: Pixels, valid: Mask) -> Glimpse:
    """Of a slice as read."""
    grey = np.asarray(pixels.mean(axis=-1) if pixels.ndim == 3 else pixels, dtype=np.float32)
    return Glimpse(grey, valid, _grain(grey, valid))


def look(seen: Glimpse, modality: str, spacing: float, data_range: Range, colour: bool = False) -> Look:
    """spacing: mm in the slice, 0 if unknown."""
    image, valid, grain = seen
    low, span = (AIR, WATER) if modality == "CT" else (0.0, data_range.value)
    signal = (image[valid] - low) / span if valid.any() else np.zeros(1)
    lit = signal[signal >= DARK]
    return Look(
        modality,
        spacing,
        estimate_noise(image, valid) / data_range.value * 255,
        grain,
        1 - lit.size / signal.size,
        float(np.median(lit)) if lit.size else 0.0,
        colour,
    )


def looks_of(source: SliceSource) -> list[Look]:
    """Of some slices of a scan."""
    return looks(source.series, [glimpse(source.read(i), source.valid(i)) for i in sample(source, SCAN)])


def looks(series: Series, slices: Sequence[Glimpse]) -> list[Look]:
    """Of slices of a scan; several, as the data range of MR is told by all."""
    data_range = signal_range(series.modality, series.bits, [seen.image for seen in slices])
    spacing = series.geometry.spacing[1] if series.geometry.measured else 0.0
    return [look(seen, series.modality, spacing, data_range, series.channels > 1) for seen in slices]


def seen(data: TrainingData, recipe: Recipe) -> Generator[Event, None, dict[str, Seen]]:
    """What the training slices look like as the model gets them, noise and all."""
    of_modality: dict[str, list[int]] = defaultdict(list)
    for member in data.split.train:
        of_modality[data.items[member].series.modality].append(member)
    chosen = [
        members[k]
        for members in of_modality.values()
        for k in sorted({round(k) for k in np.linspace(0, len(members) - 1, min(TRAINING, len(members)))})
    ]
    found: dict[str, list[Look]] = defaultdict(list)
    for done, member in enumerate(chosen):
        yield Progress(done, len(chosen), "Looking at what was learnt from")
        item = data.items[member]
        case = shown(data, recipe, member)
        image = item.scale.restore(case.slice).mean(axis=0)
        valid = np.asarray(np.isfinite(image))
        series = item.series
        shape = series.geometry
        spacing = shape.spacing[1] * (series.rows / image.shape[0]) if shape.measured else 0.0
        glimpsed = glimpse(np.nan_to_num(image), valid)
        found[series.modality].append(look(glimpsed, series.modality, spacing, item.range, series.channels > 1))
    return {modality: _ranges(looks) for modality, looks in sorted(found.items())}


def _ranges(looks: Sequence[Look]) -> Seen:
    def ends(values: Sequence[float]) -> tuple[float, float]:
        return float(f"{min(values):.3g}"), float(f"{max(values):.3g}")

    grains = [one.grain for one in looks if one.grain is not None]
    return Seen(
        slices=len(looks),
        spacing=ends([one.spacing for one in looks]),
        noise=ends([one.noise for one in looks]),
        grain=ends(grains) if grains else None,
        dark=ends([one.dark for one in looks]),
        bright=ends([one.bright for one in looks]),
        colour=any(one.colour for one in looks),
    )


def unlike(card: Card, looks: Sequence[Look]) -> list[str]:
    """In which way a scan is not what the model has seen, in words; nothing where the card does not tell."""
    if not card.seen or not looks:
        return []
    modality = looks[0].modality
    known = card.seen.get(modality)
    if known is None:
        names = " and ".join(dict.fromkeys(_NAMES.get(one, one) for one in card.seen))
        return [f"{_NAMES.get(modality, modality)}; the model has seen {names}"]
    found = []

    def middle(name: str) -> float | None:
        values = [value for one in looks if (value := getattr(one, name)) is not None]
        return float(np.median(values)) if values else None

    noise, dark, bright, grain = (middle(name) for name in ("noise", "dark", "bright", "grain"))
    spacing = looks[0].spacing
    assert noise is not None and dark is not None and bright is not None
    if looks[0].colour and not known.colour:
        found.append("colour; the model has seen grey pictures")
    if noise > 1.25 * known.noise[1] + 1 or noise < known.noise[0] / 3 - 1:
        found.append(f"noise of {noise:.0f} of 255; the model has seen {_span(known.noise, '{:.0f}')}")
    if spacing and known.spacing[1] and not known.spacing[0] / 2 <= spacing <= known.spacing[1] * 2:
        found.append(f"pixels of {spacing:.2g} mm; the model has seen {_span(known.spacing, '{:.2g}')} mm")
    # A header says that it is a scan, even without air around it; else only the background tells a photograph from one.
    least = known.dark[0] - 0.2 if modality not in _NAMES else known.dark[0] / BARELY
    if not least <= dark <= known.dark[1] + 0.2:
        found.append(
            f"{dark:.0%} of each slice is dark; the model has seen {_span(known.dark, '{:.0%}')}: "
            "is this the same kind of picture?"
        )
    if not known.bright[0] / 1.8 <= bright <= known.bright[1] * 1.8:
        found.append("other grey values")
    if grain is not None and known.grain is not None:
        if grain < known.grain[0] - 0.04:
            found.append("coarser noise")
        elif grain > known.grain[1] + 0.04:
            found.append("finer noise")
    return found


def _span(ends: tuple[float, float], form: str) -> str:
    """“0.5 to 0.9”, or one value."""
    return " to ".join(dict.fromkeys(form.format(end) for end in ends))
