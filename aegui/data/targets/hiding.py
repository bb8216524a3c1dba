"""Where pixels are hidden, and what stands in their place."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from aegui.imaging import Mask, Pixels
from aegui.recipes.targets import BlindSpot

_TRIES = 8
_SMALL = 100  # weights from which the Fourier transform is quicker
_NOTHING = 1e-6  # sum of weights that is only rounding


def footprint(part: BlindSpot) -> Mask:
    """The pixels hidden around a spot: (2·reach + 1, 2·reach + 1), or the pixel alone."""
    if part.hide == "pixel":
        return np.ones((1, 1), dtype=np.bool_)
    side = 2 * part.reach + 1
    shape = np.zeros((side, side), dtype=np.bool_)
    if part.hide in ("row", "cross"):
        shape[part.reach] = True
    if part.hide in ("column", "cross"):
        shape[:, part.reach] = True
    if part.hide == "square":
        shape[:] = True
    return shape


def scattered(shape: tuple[int, int], apart: float, rng: np.random.Generator) -> Mask:
    """One spot in every square of this side (px), at random within it (stratified, as in Krull et al. 2019)."""
    rows, columns = (np.arange(int(np.ceil(side / apart)) + 1) * apart for side in shape)
    grid = (rows.size, columns.size)
    y = np.floor(rows[:, None] - rng.uniform(0, apart) + rng.uniform(0, apart, grid)).astype(np.intp)
    x = np.floor(columns[None] - rng.uniform(0, apart) + rng.uniform(0, apart, grid)).astype(np.intp)
    inside = (y >= 0) & (y < shape[0]) & (x >= 0) & (x < shape[1])
    spots = np.zeros(shape, dtype=np.bool_)
    spots[y[inside], x[inside]] = True
    if not spots.any():
        spots[rng.integers(shape[0]), rng.integers(shape[1])] = True
    return spots


def gridded(shape: tuple[int, int], grid: int, rng: np.random.Generator) -> Mask:
    """Every spot of a regular grid whose beginning is drawn."""
    spots = np.zeros(shape, dtype=np.bool_)
    spots[rng.integers(min(grid, shape[0])) :: grid, rng.integers(min(grid, shape[1])) :: grid] = True
    return spots


def around(spots: Mask, shape: Mask) -> Mask:
    """All pixels that the footprint covers when it stands on every spot."""
    from scipy.ndimage import binary_dilation

    return np.asarray(spots if shape.size == 1 else binary_dilation(spots, shape), dtype=np.bool_)


def from_close_by(image: Pixels, hidden: Mask, radius: int, rng: np.random.Generator) -> Pixels:
    """Hidden pixels take the value of a visible pixel at most `radius` away; where none is met, the mean around."""
    y, x = np.nonzero(hidden)
    height, width = hidden.shape
    dy, dx = rng.integers(-radius, radius + 1, (2, _TRIES, y.size))
    there_y, there_x = y + dy, x + dx
    inside = (there_y >= 0) & (there_y < height) & (there_x >= 0) & (there_x < width)
    good = inside & ~hidden[there_y.clip(0, height - 1), there_x.clip(0, width - 1)]
    first, some = good.argmax(axis=0), good.any(axis=0)
    each = np.arange(y.size)
    from_y, from_x = there_y[first, each][some], there_x[first, each][some]
    filled = np.array(image, dtype=np.float32) if some.all() else from_around(image, hidden)
    filled[:, y[some], x[some]] = image[:, from_y, from_x]
    return filled


def from_around(image: Pixels, hidden: Mask, known: Mask | None = None) -> Pixels:
    """Hidden pixels become the mean of the visible ones around them, weighted by 1/distance² (Batson & Royer 2019).

    known: False in padding, which is no neighbour.
    """
    from scipy.ndimage import distance_transform_cdt

    # Far enough that the pixel most deeply hidden sees some that are not.
    deepest = 1 if hidden.all() else max(1, int(distance_transform_cdt(hidden, metric="chessboard").max()))
    y, x = np.mgrid[-deepest : deepest + 1, -deepest : deepest + 1]
    weights = 1 / np.maximum(y**2 + x**2, 1).astype(np.float64)
    weights[deepest, deepest] = 0
    seen = (~hidden if known is None else ~hidden & known).astype(np.float64)
    total = _weighted(seen, weights)
    some = total > _NOTHING
    filled = np.array(image, dtype=np.float32)
    for channel in filled:
        mean = _weighted(channel * seen, weights) / np.where(some, total, 1)
        channel[hidden] = np.where(some, mean, channel.mean())[hidden]
    return filled


def _weighted(image: npt.NDArray[np.float64], weights: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The weighted sum around every pixel; nothing lies outside the image. weights: symmetric."""
    if weights.size <= _SMALL:
        from scipy.ndimage import correlate

        return np.asarray(correlate(image, weights, mode="constant"))
    from scipy.signal import fftconvolve

    return np.asarray(fftconvolve(image, weights, mode="same"))
