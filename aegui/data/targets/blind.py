"""Blind spots: hidden pixels of the noisy scans are guessed from what is around them."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from aegui.data.targets.hiding import around, footprint, from_around, from_close_by, gridded, scattered
from aegui.data.targets.kind import Drawn, Kind, build_kind
from aegui.imaging import Mask, Pixels
from aegui.recipes.run import Augmentation
from aegui.recipes.targets import BlindSpot, Noise2Self, Noise2Void

HELD_OUT = 0.1  # share of a validation slice that is hidden at a time
ENOUGH = 1000  # scored pixels of a slice
MOST_ROUNDS = 8


class Blind(Kind):
    """What both kinds share. Validation hides pixels in one way for all, so that their scores can be compared."""

    guesses = True
    score = "held-out pixels"
    told = (
        "There are no clean scans: PSNR is measured at pixels hidden from the model, against their noisy values. "
        "It is lower than the true one, but ranks models alike."
    )

    def __init__(self, part: BlindSpot) -> None:
        super().__init__()
        self.footprint = footprint(part)
        self.turns = self.footprint.shape == (1, 1) or bool((self.footprint == self.footprint.T).all())

    def augmentation(self, wanted: Augmentation) -> Augmentation:
        """A quarter turn would lay the noise of rows along columns, which are not hidden."""
        return wanted if self.turns else wanted.model_copy(update={"rotations": False})

    def spots(self, shape: tuple[int, int], rng: np.random.Generator) -> Mask:
        """The pixels that are learnt from in a patch."""
        raise NotImplementedError

    def filled(self, image: Pixels, hidden: Mask, rng: np.random.Generator) -> Pixels:
        """The patch with other values where it is hidden."""
        return from_around(image, hidden)

    def finish(self, noisy: Pixels, clean: Pixels, level: float, rng: np.random.Generator) -> Drawn:
        """Hide pixels; the level stays that of the scan."""
        spots = self.spots(noisy.shape[1:], rng)
        return Drawn(self.filled(noisy, around(spots, self.footprint), rng), clean, level, spots[None])

    def _apart(self, share: float) -> float:
        return math.sqrt(np.count_nonzero(self.footprint) / share)

    def rounds(self, shape: tuple[int, int]) -> int:
        """Until enough pixels are scored."""
        return min(MOST_ROUNDS, math.ceil(ENOUGH * self._apart(HELD_OUT) ** 2 / (shape[0] * shape[1])))

    def scored(self, noisy: Pixels, clean: Pixels, level: float, rng: np.random.Generator) -> Drawn:
        """Hidden pixels are smoothed over: any model and filter can take such a picture."""
        known = np.asarray(np.isfinite(noisy).all(axis=0))
        spots = scattered(known.shape, self._apart(HELD_OUT), rng) & known
        hidden = around(spots, self.footprint) & known
        shown = from_around(np.nan_to_num(noisy), hidden, known)
        return Drawn(np.where(known, shown, np.nan).astype(np.float32), clean, level, spots)


class RandomSpots(Blind):
    """Noise2Void."""

    def __init__(self, part: Noise2Void) -> None:
        super().__init__(part)
        self._share, self._radius = part.spots / 100, max(part.radius, self.footprint.shape[0] // 2 + 1)

    def spots(self, shape: tuple[int, int], rng: np.random.Generator) -> Mask:
        """Scattered."""
        return scattered(shape, self._apart(self._share), rng)

    def filled(self, image: Pixels, hidden: Mask, rng: np.random.Generator) -> Pixels:
        """From pixels close by, so that the model cannot tell them from others."""
        return from_close_by(image, hidden, self._radius, rng)


class GridSpots(Blind):
    """Noise2Self."""

    def __init__(self, part: Noise2Self) -> None:
        super().__init__(part)
        self._grid = part.grid

    def spots(self, shape: tuple[int, int], rng: np.random.Generator) -> Mask:
        """On the grid."""
        return gridded(shape, self._grid, rng)


@build_kind.register
def _(part: Noise2Void, cache: Path) -> Kind:
    return RandomSpots(part)


@build_kind.register
def _(part: Noise2Self, cache: Path) -> Kind:
    return GridSpots(part)
