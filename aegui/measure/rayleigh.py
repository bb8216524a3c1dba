"""The background of magnitude images: noise alone, whose mean and SD tell how many channels were added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aegui.measure.flat import blocks, together

Mask = npt.NDArray[np.bool_]
Pixels = npt.NDArray[np.floating]
SIDE = 8  # px
COILS = 32
ENOUGH = 20  # blocks
LIKE = 0.15  # largest logarithm of mean : SD against the law's; that of one coil is 0.37 from that of two
EVEN = 0.2  # relative spread of their means, above which something else is there


@dataclass(frozen=True)
class Background:
    """sd: of the noise in each channel, where the signal is strong; by_slice: 0 where there is too little of it."""

    sd: float
    coils: int
    by_slice: tuple[float, ...]


def chi(coils: int) -> tuple[float, float]:
    """(mean, SD) of the background for noise of SD 1 in each of 2·coils channels."""
    from math import lgamma

    mean = float(np.sqrt(2) * np.exp(lgamma(coils + 0.5) - lgamma(coils)))
    return mean, float(np.sqrt(2 * coils - mean**2))


def background(slices: Sequence[tuple[Pixels, Mask]]) -> Background | None:
    """None where the background is cut off, smoothed or too small. slices: (image, where there is no tissue)."""
    parts = [blocks(image, mask, SIDE, number) for number, (image, mask) in enumerate(slices)]
    parts = [part for part in parts if len(part)]
    if not parts:
        return None
    every = together(parts)
    mean, variance, of = every.mean, every.variance, every.slice
    # Ghosts and skin are brighter than noise alone.
    dark = mean <= 1.3 * np.quantile(mean, 0.25)
    mean, variance, of = mean[dark], variance[dark], of[dark]
    if len(mean) < ENOUGH or np.subtract(*np.quantile(mean, (0.75, 0.25))) > EVEN * np.median(mean):
        return None
    ratio = float(np.median(mean) / np.sqrt(np.mean(variance)))
    laws = [chi(coils) for coils in range(1, COILS + 1)]
    coils = 1 + int(np.argmin([abs(np.log(ratio * sd / middle)) for middle, sd in laws]))
    middle, sd = laws[coils - 1]
    if abs(np.log(ratio * sd / middle)) > LIKE:
        return None
    # The mean square is 2·coils·σ², whatever the grain.
    squares = mean**2 + variance
    by_slice = [
        float(np.sqrt(np.mean(squares[of == number]) / (2 * coils))) if (of == number).sum() >= 4 else 0.0
        for number in range(len(slices))
    ]
    return Background(float(np.sqrt(np.mean(squares) / (2 * coils))), coils, tuple(by_slice))
