"""A small CT scanner: line integrals of ellipses, photon and electronic noise, filtered backprojection."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]

WATER = 0.0192  # linear attenuation of water near 70 keV, per mm


@dataclass(frozen=True, slots=True)
class Ellipse:
    """centre x, y and half-axes a, b: mm, y points down; angle: radians; hu: added to whatever it lies on.

    The empty field of view is air, −1000 HU.
    """

    x: float
    y: float
    a: float
    b: float
    hu: float
    angle: float = 0.0

    def holds(self, x: float, y: float, margin: float = 0.0) -> bool:
        """Whether a point lies inside, `margin` mm or more from the rim along each axis."""
        cos, sin = np.cos(self.angle), np.sin(self.angle)
        u, v = (x - self.x) * cos + (y - self.y) * sin, (y - self.y) * cos - (x - self.x) * sin
        a, b = self.a - margin, self.b - margin
        return a > 0 and b > 0 and bool((u / a) ** 2 + (v / b) ** 2 < 1)


@dataclass(frozen=True)
class Scanner:
    """Geometry and dose. photons: per detector cell and view at full dose; electronic: SD in photons.

    pixel, cell: mm. softness: SD of the reconstruction kernel's Gaussian, in cells.
    """

    size: int = 256
    pixel: float = 1.5
    views: int = 360
    cells: int = 352
    cell: float = 1.2
    photons: float = 1.2e6
    electronic: float = 12.0
    softness: float = 0.8

    def project(self, slices: Sequence[Sequence[Ellipse]]) -> Array:
        """Exact line integrals, averaged over each detector cell: (slices, views, cells)."""
        fine, theta = 3, np.arange(self.views) * np.pi / self.views
        step, count = self.cell / fine, self.cells * fine
        start = -(count - 1) / 2 * step
        cos, sin, rows = np.cos(theta), np.sin(theta), np.arange(self.views)[:, None]
        sinogram = np.zeros((len(slices), self.views, count), np.float32)
        for page, ellipses in zip(sinogram, slices, strict=True):
            for e in ellipses:
                half = np.sqrt((e.a * np.cos(theta - e.angle)) ** 2 + (e.b * np.sin(theta - e.angle)) ** 2)
                middle = e.x * cos + e.y * sin
                # Only the cells in the ellipse's shadow are touched: small vessels cost next to nothing.
                first = np.floor((middle - half.max() - start) / step).astype(np.intp)
                width = int(np.ceil(2 * half.max() / step)) + 2
                index = first[:, None] + np.arange(width)
                offset = start + index * step - middle[:, None]
                chord = np.sqrt(np.maximum(half[:, None] ** 2 - offset**2, 0))
                chord *= 2 * e.a * e.b / half[:, None] ** 2 * (e.hu / 1000 * WATER)
                inside = (index >= 0) & (index < count)
                page[rows, np.clip(index, 0, count - 1)] += np.where(inside, chord, 0)
        cells = sinogram.reshape(len(slices), self.views, self.cells, fine)
        return np.asarray(cells.mean(-1), np.float32)

    def expose(self, integrals: Array, dose: float, rng: np.random.Generator) -> Array:
        """Count photons at a share of the full dose, with electronic noise; back to line integrals."""
        full = self.photons * dose
        counts = rng.poisson(full * np.exp(-integrals)) + rng.normal(0, self.electronic, integrals.shape)
        return np.asarray(-np.log(np.maximum(counts, 1.0) / full), np.float32)

    def filtered(self, integrals: Array) -> Array:
        """Convolved with the ramp and the kernel, along the cells."""
        length = 1 << (2 * self.cells - 1).bit_length()
        # The ramp is built in space: sampled in frequency, its missing zero term would shift every HU.
        n = np.fft.fftfreq(length, 1 / length)
        odd = np.abs(n) % 2 == 1
        space = np.where(odd, -1 / (np.pi * np.where(odd, n, 1)) ** 2, 0)
        space[0] = 0.25
        frequency = np.fft.rfftfreq(length)
        kernel = np.fft.rfft(space).real * np.exp(-2 * (np.pi * frequency * self.softness) ** 2)
        spectrum = np.fft.rfft(integrals, length, axis=-1) * (kernel / self.cell)
        return np.asarray(np.fft.irfft(spectrum, length, axis=-1)[..., : self.cells], np.float32)

    def backproject(self, filtered: Array, out: Array) -> Iterator[float]:
        """Fill `out` (slices, size, size) with HU, a band of rows at a time; yields the share that is done."""
        fine, rows_at_once = 4, 16
        n = len(filtered)
        # (views, fine cells, slices): one gather copies a whole row of slices, so the geometry is computed once.
        line = np.moveaxis(filtered, 0, -1)
        parts = [line[:, :-1] * (1 - k / fine) + line[:, 1:] * (k / fine) for k in range(fine)]
        lookup = np.ascontiguousarray(np.stack(parts, axis=2).reshape(self.views, -1, n), np.float32)
        theta = np.arange(self.views) * np.pi / self.views
        axis = (np.arange(self.size) - (self.size - 1) / 2) * self.pixel
        scale, centre = fine / self.cell, (self.cells - 1) / 2 * fine
        last = lookup.shape[1] - 1
        gathered = np.empty((rows_at_once * self.size, n), np.float32)
        for top in range(0, self.size, rows_at_once):
            total = np.zeros((rows_at_once * self.size, n), np.float32)
            for view, angle in enumerate(theta):
                position = axis[None, :] * np.cos(angle) + axis[top : top + rows_at_once, None] * np.sin(angle)
                index = np.rint(position * scale + centre).astype(np.intp).ravel()
                np.take(lookup[view], np.clip(index, 0, last, out=index), axis=0, out=gathered, mode="clip")
                total += gathered
            band = total.T.reshape(n, rows_at_once, self.size) * (np.pi / self.views)
            out[:, top : top + rows_at_once] = band * (1000 / WATER) - 1000
            yield (top + rows_at_once) / self.size

    def image(self, integrals: Array) -> Array:
        """Reconstruct at once: HU (slices, size, size)."""
        out = np.empty((len(integrals), self.size, self.size), np.float32)
        for _ in self.backproject(self.filtered(integrals), out):
            pass
        return out
