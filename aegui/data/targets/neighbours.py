"""Neighbours as targets: pixels beside each other, and slices beside each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from aegui.data.item import Item
from aegui.data.slices import Stock
from aegui.data.split import Split
from aegui.data.targets.kind import Block, Drawn, Kind, Place, build_kind, cutting
from aegui.errors import UserError
from aegui.imaging import Geometry, Pixels, Series
from aegui.recipes.run import Run
from aegui.recipes.targets import Neighbor2Neighbor, NeighbouringSlices

# The corners of a 2×2 block that lie beside each other, as (first, second) with the number 2·row + column.
BESIDE = np.asarray([(0, 1), (0, 2), (1, 3), (2, 3), (1, 0), (2, 0), (3, 1), (3, 2)])


def draw_picks(rows: int, columns: int, rng: np.random.Generator) -> npt.NDArray[np.int64]:
    """For two pictures, which corner of each 2×2 block they take: (2, rows, columns), never the same (Huang et al.)."""
    return np.moveaxis(BESIDE[rng.integers(len(BESIDE), size=(rows, columns))], -1, 0).astype(np.int64)


def picked(whole: Pixels, picks: npt.NDArray[np.int64]) -> Pixels:
    """(channels, 2H, 2W) → (channels, H, W): one corner of each block."""
    channels, rows, columns = whole.shape
    corners = whole.reshape(channels, rows // 2, 2, columns // 2, 2).transpose(0, 1, 3, 2, 4)
    corners = corners.reshape(channels, rows // 2, columns // 2, 4)
    return np.take_along_axis(corners, picks[None, ..., None], axis=-1)[..., 0]


class PixelNeighbours(Kind):
    """Neighbor2Neighbor."""

    score = "held-out pixels"
    told = (
        "There are no clean scans: PSNR is measured against neighbouring noisy pixels that the model did not get, at "
        "half the size. It is lower than the true one, but ranks models alike."
    )

    def sides(self, rows: int, columns: int) -> tuple[int, int]:
        """Even ones."""
        return rows - rows % 2, columns - columns % 2

    def finish(self, noisy: Pixels, clean: Pixels, level: float, rng: np.random.Generator) -> Drawn:
        """Two pictures of half the size. The level stays that of the whole, on which the model will be used."""
        picks = draw_picks(noisy.shape[1] // 2, noisy.shape[2] // 2, rng)
        return Drawn(picked(noisy, picks[0]), picked(clean, picks[1]), level, whole=noisy, picks=picks)

    def scored(self, noisy: Pixels, clean: Pixels, level: float, rng: np.random.Generator) -> Drawn:
        """As in training, of the whole slice."""
        rows, columns = self.sides(*noisy.shape[1:])
        picks = draw_picks(rows // 2, columns // 2, rng)
        return Drawn(picked(noisy[:, :rows, :columns], picks[0]), picked(clean[:, :rows, :columns], picks[1]), level)


class SliceNeighbours(Kind):
    """The next slice on either side, if it is near enough and on the same side of the split."""

    score = "the next slice"
    told = (
        "There are no clean scans: PSNR is measured against the next slice, which is as noisy and shows slightly "
        "other anatomy. It is lower than the true one."
    )

    def __init__(self, part: NeighbouringSlices) -> None:
        super().__init__()
        self._distance = part.distance
        self._partners: dict[int, tuple[int, ...]] = {}

    def part(self, items: Sequence[Item], blocks: Sequence[Block], run: Run) -> Split:
        """Slices without a neighbour on their side are left out."""
        found = super().part(items, blocks, run)
        if any(not distances_known(item.series) for item in items):
            self.warnings.append(UNKNOWN)

        def with_neighbours(members: tuple[int, ...]) -> tuple[int, ...]:
            at = {(items[m].series.uid, items[m].index): m for m in members}
            for m in members:
                series, index = items[m].series, items[m].index
                near = [at.get((series.uid, i)) for i in neighbours(series, index, self._distance)]
                if partners := tuple(other for other in near if other is not None):
                    self._partners[m] = partners
            return tuple(m for m in members if m in self._partners)

        train, validation = with_neighbours(found.train), with_neighbours(found.validation)
        if not train or not validation:
            raise UserError(
                f"Too few slices have a neighbour at most {self._distance:g} mm away to learn from.",
                "Allow a larger distance, or open series with more slices.",
            )
        if lost := len(found.train) + len(found.validation) - len(train) - len(validation):
            self.warnings.append(f"{lost} slices have no neighbour at most {self._distance:g} mm away: left out.")
        return replace(found, train=train, validation=validation)

    def cut(
        self, stock: Stock, member: int, place: Place, size: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Pixels, Pixels, float | None]:
        """A slice, and one of those beside it."""
        partners = self._partners[member]
        window = cutting(place, size)
        target = stock.noisy[partners[int(rng.integers(len(partners)))]][window]
        return np.asarray(stock.noisy[member][window]), np.asarray(target), stock.items[member].level


UNKNOWN = "The distance of some slices is not known; the next in order is taken for a neighbour."


def distances_known(series: Series) -> bool:
    """Whether the geometry tells how far slices are apart."""
    return len(series.geometry.positions) == series.slices or series.geometry.spacing[0] > 0


def apart(geometry: Geometry, i: int, j: int) -> float:
    """Distance of two slices, mm; 0 if unknown."""
    if geometry.positions:
        return math.dist(geometry.positions[i], geometry.positions[j])
    return abs(i - j) * geometry.spacing[0]


def neighbours(series: Series, index: int, distance: float) -> list[int]:
    """The slices next to one, at most `distance` mm away."""
    beside = [i for i in (index - 1, index + 1) if 0 <= i < series.slices]
    # Headers are rounded: 3 mm apart must be within 3 mm.
    return [i for i in beside if apart(series.geometry, index, i) <= distance * 1.001]


@build_kind.register
def _(part: Neighbor2Neighbor, cache: Path) -> Kind:
    return PixelNeighbours()


@build_kind.register
def _(part: NeighbouringSlices, cache: Path) -> Kind:
    return SliceNeighbours(part)
