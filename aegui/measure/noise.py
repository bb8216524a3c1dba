"""Noise level from one image."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]


TISSUE = -500.0  # HU, from here on
_ENOUGH = 0.05  # of the pixels: with less tissue a slice counts whole


def level_of(image: Array, mask: Mask, above: float | None = None) -> float:
    """The noise level that models are told of a slice: SD in its finest detail, in the image's unit.

    above: for CT, TISSUE in the image's unit. Air, often most of a slice, has half of the noise of tissue or less; a
    model told of that leaves most of the noise in what is looked at.
    """
    if above is not None:
        tissue = mask & (image > above)
        if np.count_nonzero(tissue) > _ENOUGH * np.count_nonzero(mask):
            mask = tissue
    return estimate_noise(image, mask)


def estimate_noise(image: Array, mask: Mask | None = None) -> float:
    """SD of the noise, in the image's unit, of a (rows, columns) slice.

    Median absolute deviation of the diagonal Haar details (Donoho & Johnstone 1994), over 2×2 blocks
    that lie in the mask and are not constant. White noise is measured truly; correlated noise, whose
    power lies at low frequencies, is measured too low.
    """
    rows, columns = (side - side % 2 for side in image.shape)
    values = np.asarray(image, dtype=np.float64)[:rows, :columns]
    a, b, c, d = values[::2, ::2], values[::2, 1::2], values[1::2, ::2], values[1::2, 1::2]
    usable = ~((a == b) & (a == c) & (a == d))
    if mask is not None:
        inside = mask[:rows, :columns]
        usable &= inside[::2, ::2] & inside[::2, 1::2] & inside[1::2, ::2] & inside[1::2, 1::2]
    detail = np.abs(0.5 * (a - b - c + d))[usable]
    if detail.size == 0:
        return 0.0
    return float(np.median(detail) / 0.6744897501960817)
