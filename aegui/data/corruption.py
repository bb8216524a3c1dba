"""A recipe's corruptions at work on normalised slices."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch
from pathlib import Path

import numpy as np

from aegui.data.item import Item
from aegui.imaging import Pixels
from aegui.recipes.corruptions import Corruption, Gaussian


class Corruptor:
    """Puts corruptions on clean patches. Drawn from `rng` alone: the same state gives the same patch."""

    def __init__(self, corruptions: Sequence[Corruption], cache: Path) -> None:
        self.corruptions = corruptions
        self.cache = cache

    def learn(self, image: Pixels, item: Item) -> None:
        """Look at a whole clean slice (channels, H, W), normalised; once for every slice, in order."""

    def apply(
        self, image: Pixels, item: Item, member: int, place: tuple[int, int], rng: np.random.Generator
    ) -> tuple[Pixels, float | None]:
        """(corrupted, SD of its noise, or None: to be estimated). NaN padding stays.

        image: (channels, H, W), normalised, cut from slice number `member` at `place` (row, column).
        """
        level: float | None = item.level
        for part in self.corruptions:
            if rng.random() < part.share:  # type: ignore[attr-defined]
                image, sd = corrupt(part, image, item, rng)
                level = None if level is None or sd is None else float(np.hypot(level, sd))
        return image, level


@singledispatch
def corrupt(part: Corruption, image: Pixels, item: Item, rng: np.random.Generator) -> tuple[Pixels, float | None]:
    """(image with this corruption, SD of the white noise added or None where it is no white noise)."""
    raise TypeError(f"no builder for {type(part).__name__}")


@corrupt.register
def _(part: Gaussian, image: Pixels, item: Item, rng: np.random.Generator) -> tuple[Pixels, float | None]:
    sd = of_255(rng.uniform(part.low, part.high), item)
    noise, correlated = grainy(part.grain, image.shape, rng)
    return (image + noise * np.float32(sd)).astype(np.float32), None if correlated else sd


def of_255(sigma: float, item: Item) -> float:
    """σ in 255ths of the data range → SD in normalised units."""
    return float(sigma * item.range.value / 255 / item.scale.span)


def grainy(grain: float, shape: tuple[int, ...], rng: np.random.Generator) -> tuple[Pixels, bool]:
    """(noise of SD 1, whether it is correlated). Correlated: the spectrum f^a · Gaussian, a from 0 (smoothed) to 1
    (filtered backprojection, which has none of the lowest frequencies)."""
    white = rng.normal(0, 1, shape).astype(np.float32)
    if not grain or rng.random() < 0.5:
        return white, False
    width, power = rng.uniform(0.3, 1) * grain, rng.uniform(0, 1)
    f = np.hypot(np.fft.fftfreq(shape[-2])[:, None], np.fft.rfftfreq(shape[-1])[None])
    transfer = f**power * np.exp(-2 * (np.pi * width * f) ** 2)
    coloured = np.fft.irfft2(np.fft.rfft2(white) * transfer, shape[-2:])
    return (coloured / coloured.std()).astype(np.float32), True
