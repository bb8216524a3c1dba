"""Statistics of a circular region, as Review's table and the report show them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aegui.errors import UserError

Pixels = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Circle:
    """A circle on a slice. row, column: centre in pixels (0 is the centre of the first); radius: mm."""

    row: float
    column: float
    radius: float

    def mask(self, shape: tuple[int, int], spacing: tuple[float, float] = (1.0, 1.0)) -> Mask:
        """True inside. spacing: mm, (y, x), so that a circle stays one on non-square pixels."""
        rows, columns = np.ogrid[: shape[0], : shape[1]]
        dy, dx = spacing
        inside: Mask = ((rows - self.row) * dy) ** 2 + ((columns - self.column) * dx) ** 2 <= self.radius**2
        return inside


@dataclass(frozen=True)
class Statistics:
    """mean and SD (n − 1) in the image's unit over `voxels` voxels."""

    mean: float
    sd: float
    voxels: int

    @property
    def snr(self) -> float:
        """mean / SD; nan without spread. For MR and counts: HU have no true zero."""
        return self.mean / self.sd if self.sd > 0 else float("nan")

    def cnr(self, reference: Statistics) -> float:
        """|difference of means| over the root of the mean of both variances; nan without spread."""
        noise = np.sqrt((self.sd**2 + reference.sd**2) / 2)
        return float(abs(self.mean - reference.mean) / noise) if noise > 0 else float("nan")


@dataclass(frozen=True)
class Comparison:
    """One region before and after denoising."""

    before: Statistics
    after: Statistics

    @property
    def bias(self) -> float:
        """Mean after − mean before: what denoising did to the level."""
        return self.after.mean - self.before.mean

    def snr(self) -> tuple[float, float]:
        """SNR before and after."""
        return self.before.snr, self.after.snr

    def cnr(self, reference: Comparison) -> tuple[float, float]:
        """CNR to another region, before and after."""
        return self.before.cnr(reference.before), self.after.cnr(reference.after)


def statistics(
    image: Pixels, circle: Circle, spacing: tuple[float, float] = (1.0, 1.0), valid: Mask | None = None
) -> Statistics:
    """Mean and SD inside the circle. valid: leaves padding out. UserError if fewer than two voxels remain."""
    inside = circle.mask((image.shape[0], image.shape[1]), spacing)
    if valid is not None:
        inside &= valid
    values = image[inside].astype(np.float64).mean(axis=-1) if image.ndim == 3 else image[inside].astype(np.float64)
    if values.size < 2:
        raise UserError("The region holds fewer than two voxels.", "Draw it larger, inside the image.")
    return Statistics(float(values.mean()), float(values.std(ddof=1)), int(values.size))


def compare(
    before: Pixels,
    after: Pixels,
    circle: Circle,
    spacing: tuple[float, float] = (1.0, 1.0),
    valid: Mask | None = None,
) -> Comparison:
    """The same circle on two images of one shape."""
    if before.shape != after.shape:
        raise UserError("The two images differ in size.", "Compare slices of one series.")
    return Comparison(statistics(before, circle, spacing, valid), statistics(after, circle, spacing, valid))


def flattest(image: Pixels, mask: Mask, side: int) -> tuple[int, int] | None:
    """(row, column) of the centre of the square with the least spread that lies wholly inside the mask."""
    if image.ndim == 3:
        image = image.mean(axis=-1)
    if min(image.shape) <= side:
        return None
    values = np.where(mask, image, 0).astype(np.float64)
    values -= values[mask].mean() if mask.any() else 0

    def sums(array: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        padded = np.pad(array.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
        return np.asarray(padded[side:, side:] - padded[:-side, side:] - padded[side:, :-side] + padded[:-side, :-side])

    whole = sums(mask.astype(np.float64)) >= side * side - 0.5
    if not whole.any():
        return None
    inside = np.where(mask, values, 0)
    spread = sums(inside**2) - sums(inside) ** 2 / side**2
    row, column = np.unravel_index(int(np.argmin(np.where(whole, spread, np.inf))), spread.shape)
    return int(row) + side // 2, int(column) + side // 2
