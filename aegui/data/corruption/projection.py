"""Parallel projections of a slice and their filtered back projection, by the Fourier slice theorem.

A projection's spectrum lies on a line through the slice's. Values on such lines are taken from, and given to, the
grid with a Kaiser–Bessel kernel (Beatty et al. 2005): for noise this is as good as summing along rays, and some ten
times faster.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
WIDTH = 4  # of the kernel, in grid steps
OVER = 1.5  # grid steps per pixel
BETA = float(np.pi * np.sqrt((WIDTH / OVER) ** 2 * (OVER - 0.5) ** 2 - 0.8))


class Projector:
    """Geometry of one size of slice. spacing: mm, (y, x)."""

    def __init__(self, shape: tuple[int, int], spacing: tuple[float, float]) -> None:
        from scipy.fft import next_fast_len

        self.shape, self.spacing = shape, spacing
        self.step = min(spacing)  # mm between rays
        across = np.hypot(shape[0] * spacing[0], shape[1] * spacing[1]) / self.step
        self.rays = next_fast_len(int(np.ceil(across)) + 2 * WIDTH, real=True)
        # Noise of frequency f stays right within angles / (π f) px of the centre: here over all of a round object.
        self.angles = max(120, int(np.ceil(0.7 * max(shape))))
        self.frequencies = np.fft.rfftfreq(self.rays, self.step)  # 1/mm
        self._grid = tuple(next_fast_len(int(np.ceil(OVER * side)) + WIDTH) for side in shape)
        self._lines = self._kernel()
        self._weight = np.outer(*(_taper(side, grid) for side, grid in zip(shape, self._grid, strict=True)))

    def project(self, image: npt.NDArray[Any]) -> Array:
        """Line integrals, (angles, rays), in the image's unit × mm. Rays are counted from the centre, wrapped."""
        from scipy.fft import fft2, irfft

        spectrum = fft2(self._spread(np.asarray(image / self._weight, dtype=np.float32)))
        lines = (self._lines @ spectrum.ravel()).reshape(self.angles, -1)
        return np.asarray(irfft(lines, self.rays, axis=1) * (self.spacing[0] * self.spacing[1] / self.step))

    def reconstruct(self, projections: Array, kernel: npt.NDArray[np.float64]) -> Array:
        """Filtered back projection. kernel: factor on the ramp at each of `frequencies`."""
        from scipy.fft import ifft2, rfft

        ramp = self.frequencies * kernel * (np.pi / self.angles / self.rays * 2)
        lines = np.asarray(rfft(projections, axis=1) * ramp.astype(np.float32), dtype=np.complex64)
        grid = (self._lines.T @ lines.ravel()).reshape(self._grid)
        image = np.fft.fftshift(ifft2(grid, norm="forward").real)
        top, left = ((grid - side) // 2 + _odd(side, grid) for side, grid in zip(self.shape, self._grid, strict=True))
        return np.asarray(image[top : top + self.shape[0], left : left + self.shape[1]] / self._weight, np.float32)

    def _spread(self, image: Array) -> Array:
        """On the grid, with the slice's middle at its origin."""
        out = np.zeros(self._grid, np.float32)
        out[: self.shape[0], : self.shape[1]] = image
        return np.roll(out, [-(side // 2) for side in self.shape], (0, 1))

    def _kernel(self) -> Any:
        """The matrix from the grid to the lines, (angles · frequencies, grid)."""
        from scipy.sparse import csr_array
        from scipy.special import i0

        theta = np.arange(self.angles) * np.pi / self.angles
        indices, weights = [], []
        for direction, step, count in zip((np.sin(theta), np.cos(theta)), self.spacing, self._grid, strict=True):
            at = (np.outer(direction, self.frequencies) * step * count).reshape(-1, 1)
            near = np.floor(at - WIDTH / 2).astype(np.int64) + np.arange(1, WIDTH + 1)
            bell = i0(BETA * np.sqrt(np.maximum(0, 1 - (2 * (at - near) / WIDTH) ** 2)))
            # Where pixels are longer than rays are wide, a line leaves what the pixels can hold.
            weights.append(np.where(np.abs(at) <= count / 2, bell, 0))
            indices.append(near % count)
        columns = indices[0][:, :, None] * self._grid[1] + indices[1][:, None, :]
        values = weights[0][:, :, None] * weights[1][:, None, :]
        starts = np.arange(0, values.size + 1, WIDTH * WIDTH)
        size = (len(starts) - 1, self._grid[0] * self._grid[1])
        return csr_array((values.ravel().astype(np.float32), columns.ravel().astype(np.int32), starts), size)


@lru_cache(maxsize=2)
def projector(shape: tuple[int, int], spacing: tuple[float, float]) -> Projector:
    """A projector, kept: a series has slices of one size."""
    return Projector(shape, spacing)


def _odd(side: int, grid: int) -> int:
    """Whether the middle of the slice lies one step on from that of the grid."""
    return grid // 2 - side // 2 - (grid - side) // 2


def _taper(side: int, grid: int) -> npt.NDArray[np.float64]:
    """What the kernel does to pixels along one side, to be divided out: its Fourier transform."""
    root = np.sqrt(BETA**2 - (np.pi * WIDTH * (np.arange(side) - side // 2) / grid) ** 2)
    return np.asarray(WIDTH * np.sinh(root) / root)
