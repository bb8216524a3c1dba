"""Crops of series for a recipe race: which slices, and where in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from aegui import imaging
from aegui.imaging import Mask, Pixels, Series

SIDE = 192  # px of a crop
TRAINING = 48  # slices at most
MOST_SERIES = 12
# Noisy series, partner, kind of pair, (slice, slice of the partner)
Part = tuple[Series, Series | None, str, Sequence[tuple[int, int]]]


@dataclass
class Cut:
    """A crop through neighbouring slices of a series: their numbers there and the values, padding NaN.

    judges: positions of those that judge; others are there because a model sees them beside.
    """

    source: Series
    partner: Series | None
    kind: str
    slices: list[tuple[int, int]]
    corner: tuple[int, int]
    judges: list[int]
    noisy: list[Pixels] = field(default_factory=list)
    other: list[Pixels] = field(default_factory=list)


def spread(items: list[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """At most so many, evenly."""
    return [items[round(i)] for i in np.linspace(0, len(items) - 1, min(count, len(items)))]


def corner(series: Series, rng: np.random.Generator) -> tuple[int, int]:
    """Of the crop: near the middle, by up to an eighth of the room."""
    rooms = [max(0, side - SIDE) for side in (series.rows, series.columns)]
    return tuple(round(room * (0.5 + rng.uniform(-0.125, 0.125))) for room in rooms)  # type: ignore[return-value]


def crop(pixels: Pixels, valid: Mask, corner: tuple[int, int]) -> Pixels:
    """Of a slice, grey, NaN in padding."""
    window = np.s_[corner[0] : corner[0] + SIDE, corner[1] : corner[1] + SIDE]
    grey = pixels.mean(axis=-1) if pixels.ndim == 3 else pixels
    return np.where(valid[window], grey[window], np.nan).astype(np.float32)


def cuts(
    parts: Sequence[Part],
    places: Sequence[tuple[int, int]],
    corners: Sequence[tuple[int, int]],
    neighbours: int = 0,
    together: bool = True,
) -> list[Cut]:
    """Crops at these places. together: runs of neighbouring slices, of as many series as there is room for.

    Otherwise there come those that lie beside, and do not judge.
    """
    found = []
    numbers = list(dict.fromkeys(number for number, _ in places))
    if together and len(numbers) > MOST_SERIES:
        numbers = [numbers[round(i)] for i in np.linspace(0, len(numbers) - 1, MOST_SERIES)]
    for number in numbers:
        series, partner, kind, slices = parts[number]
        mine = [k for at, k in places if at == number]
        if together:
            length = max(2, TRAINING // len(numbers))
            start = max(0, (len(mine) - length) // 2)
            mine = mine[start : start + length]
        wanted = set(mine) if together else {k for one in mine for k in _seen(series, slices, one, neighbours)}
        there = sorted(wanted)
        judges = [there.index(k) for k in mine]
        found.append(Cut(series, partner, kind, [slices[k] for k in there], corners[number], judges))
    return found


def _seen(series: Series, slices: Sequence[tuple[int, int]], one: int, neighbours: int) -> list[int]:
    """Positions in `slices` of those that a model sees with one, as far as they are there."""
    places = {index: k for k, (index, _) in enumerate(slices)}
    return [places.get(index, one) for index in imaging.beside(series, slices[one][0], neighbours)]
