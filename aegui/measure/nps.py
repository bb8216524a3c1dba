"""Noise power spectrum of flat regions: |DFT|²·Δx·Δy/(Nx·Ny) after detrending; its integral is the variance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aegui.errors import UserError
from aegui.measure.regions import Circle

Array = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.floating]
SMALLEST = 8  # px: fewer frequencies than this make no curve


@dataclass(frozen=True)
class Spectrum:
    """power: (rows, columns), unit² mm², zero frequency first; y, x: frequencies in 1/mm of rows and columns."""

    power: Array
    y: Array
    x: Array

    def integral(self) -> float:
        """The variance that the spectrum holds, unit²."""
        return float(self.power.sum() * (self.y[1] - self.y[0]) * (self.x[1] - self.x[0]))

    def radial(self, width: float | None = None) -> tuple[Array, Array]:
        """Mean power in rings up to the lower Nyquist frequency: (frequencies in 1/mm, power).

        width: of a ring in 1/mm; at first the coarser of both frequency steps. The zero frequency is left
        out: detrending empties it.
        """
        radius = np.hypot(self.y[:, None], self.x[None, :])
        width = width or float(max(self.y[1] - self.y[0], self.x[1] - self.x[0]))
        nyquist = min(float(np.abs(self.y).max()), float(np.abs(self.x).max()))
        ring = np.rint(radius / width).astype(np.intp)
        keep = (radius <= nyquist + 1e-9) & (ring > 0)
        count = np.bincount(ring[keep])
        power = np.bincount(ring[keep], weights=self.power[keep])
        used = count > 0
        frequency = np.bincount(ring[keep], weights=radius[keep])
        return frequency[used] / count[used], power[used] / count[used]


def detrend(region: Pixels, order: int = 2) -> Array:
    """The region minus its least-squares surface. order: 0 the mean, 1 a plane, 2 a bowl (beam hardening, coil)."""
    rows, columns = region.shape
    y = np.linspace(-1, 1, rows)[:, None] * np.ones(columns)
    x = np.ones(rows)[:, None] * np.linspace(-1, 1, columns)
    terms = [y**i * x**j for i in range(order + 1) for j in range(order + 1 - i)]
    basis = np.stack([term.ravel() for term in terms], axis=1)
    values = region.astype(np.float64).ravel()
    fit, *_ = np.linalg.lstsq(basis, values, rcond=None)
    return np.asarray((values - basis @ fit).reshape(rows, columns), dtype=np.float64)


def noise_power(regions: Sequence[Pixels], spacing: tuple[float, float], order: int = 2) -> Spectrum:
    """The mean spectrum of square or rectangular regions of one shape. spacing: mm, (y, x)."""
    if not regions:
        raise UserError("There is no region for the noise power.", "Draw one on a flat part of the image.")
    rows, columns = regions[0].shape
    if min(rows, columns) < SMALLEST:
        raise UserError(f"The region is {columns}×{rows} px.", f"Noise power needs at least {SMALLEST}×{SMALLEST} px.")
    if any(region.shape != (rows, columns) for region in regions):
        raise UserError("The regions for the noise power differ in size.", "Use regions of one size.")
    dy, dx = spacing
    power = np.zeros((rows, columns))
    for region in regions:
        power += np.abs(np.fft.fft2(detrend(region, order))) ** 2
    power *= dx * dy / (rows * columns * len(regions))
    y, x = (np.asarray(np.fft.fftfreq(n, step), dtype=np.float64) for n, step in ((rows, dy), (columns, dx)))
    return Spectrum(power, y, x)


def noise_power_of_repeats(first: Sequence[Pixels], second: Sequence[Pixels], spacing: tuple[float, float]) -> Spectrum:
    """From two repeats of one scan: their difference holds twice the noise and none of the object."""
    difference = [a.astype(np.float64) - b.astype(np.float64) for a, b in zip(first, second, strict=True)]
    whole = noise_power(difference, spacing, order=0)
    return Spectrum(whole.power / 2, whole.y, whole.x)


def square(image: Pixels, circle: Circle, spacing: tuple[float, float]) -> Pixels:
    """The largest axis-parallel square (in mm) inside the circle, clipped to the image."""
    half_y, half_x = (circle.radius / np.sqrt(2) / step for step in spacing)
    top, bottom = max(0, round(circle.row - half_y)), min(image.shape[0], round(circle.row + half_y) + 1)
    left, right = max(0, round(circle.column - half_x)), min(image.shape[1], round(circle.column + half_x) + 1)
    part: Pixels = image[top : max(top, bottom), left : max(left, right)]
    return part
