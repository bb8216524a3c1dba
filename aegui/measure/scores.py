"""PSNR, SSIM, RMSE, bias, and the range they are stated against."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

CT_RANGE = 400.0
CT_WINDOW = (-160.0, 240.0)
_RADIUS = 5
_SIGMA = 1.5


class Range(NamedTuple):
    """R and how it came about, to stand beside every figure."""

    value: float
    name: str


def foreground(image: Array) -> Mask:
    """Voxels above the slice's mean."""
    return np.asarray(image > image.mean())


def signal_range(modality: str, bits: int, references: Iterable[Array]) -> Range:
    """The range R of a series. references: clean slices (or the best there are), in real units."""
    if modality == "CT":
        return Range(CT_RANGE, "R = 400 HU")
    if bits <= 8:
        return Range(255.0, "R = 255")
    values = [image[foreground(image)].ravel() for image in references]
    pooled = np.concatenate(values) if values else np.zeros(0)
    value = float(np.percentile(pooled, 99.5)) if pooled.size else 1.0
    return Range(value if value > 0 else 1.0, f"R = {value:.4g} (99.5th percentile of foreground)")


def _inside(image: Array, mask: Mask | None) -> Array:
    values = np.asarray(image, dtype=np.float64)
    return values if mask is None else values[mask]


def rmse(image: Array, reference: Array, mask: Mask | None = None) -> float:
    """Root mean square error, in the image's unit."""
    return float(np.sqrt(np.mean((_inside(image, mask) - _inside(reference, mask)) ** 2)))


def bias(image: Array, reference: Array, mask: Mask | None = None) -> float:
    """Mean of image − reference, in the image's unit."""
    return float(np.mean(_inside(image, mask) - _inside(reference, mask)))


def psnr(image: Array, reference: Array, data_range: float, mask: Mask | None = None) -> float:
    """Peak signal-to-noise ratio of one slice, dB; infinite when both are equal."""
    error = rmse(image, reference, mask)
    return float("inf") if error == 0 else float(20 * np.log10(data_range / error))


def _blur(image: Array) -> Array:
    x = np.arange(-_RADIUS, _RADIUS + 1)
    kernel = np.exp(-(x**2) / (2 * _SIGMA**2))
    kernel /= kernel.sum()
    rows = np.lib.stride_tricks.sliding_window_view(image, kernel.size, axis=0) @ kernel
    return np.asarray(np.lib.stride_tricks.sliding_window_view(rows, kernel.size, axis=1) @ kernel)


def ssim_window(modality: str, data_range: Range) -> tuple[tuple[float, float] | None, float, str]:
    """(clip, data range, words) that SSIM uses for a modality."""
    if modality == "CT":
        return CT_WINDOW, CT_RANGE, "SSIM on −160 … 240 HU"
    return None, data_range.value, f"SSIM, {data_range.name}"


def together(words: Iterable[str]) -> str:
    """The ranges of several series in words: “R = 160 to 1597 (…)” where they came about alike."""
    alike: dict[tuple[str, str], set[str]] = {}
    for one in words:
        before, sign, rest = one.rpartition("R = ")
        value, space, how = rest.partition(" ") if sign else ("", "", rest)
        alike.setdefault((before + sign, space + how), set()).add(value)
    found = []
    for (before, how), values in alike.items():
        least, *_, greatest = sorted([*values, *values], key=lambda value: float(value or 0))
        found.append(f"{before}{least if len(values) == 1 else f'{least} to {greatest}'}{how}")
    return " and ".join(found)


def ssim(
    image: Array,
    reference: Array,
    data_range: float,
    mask: Mask | None = None,
    clip: tuple[float, float] | None = None,
) -> float:
    """Mean structural similarity of one slice (Wang et al. 2004): Gaussian 11×11, σ 1.5, k 0.01 and 0.03.

    The window's centre lies in the mask and the window inside the image; outside the mask there is no error. Slices
    under 11 px give 1 if equal, else 0.
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (image, reference))
    if mask is not None:
        x = np.where(mask, x, y)
    if clip is not None:
        x, y = np.clip(x, *clip), np.clip(y, *clip)
    if min(x.shape) < 2 * _RADIUS + 1:
        return float(np.array_equal(x, y))
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mx, my = _blur(x), _blur(y)
    vx, vy, vxy = _blur(x * x) - mx * mx, _blur(y * y) - my * my, _blur(x * y) - mx * my
    values = ((2 * mx * my + c1) * (2 * vxy + c2)) / ((mx * mx + my * my + c1) * (vx + vy + c2))
    if mask is not None:
        inner = mask[_RADIUS:-_RADIUS, _RADIUS:-_RADIUS]
        if inner.any():
            values = values[inner]
    return float(values.mean())
