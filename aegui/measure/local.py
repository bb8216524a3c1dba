"""Where in a slice noise is strong and where it is weak, and which way it runs, without any clean scan."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]
Pixels = npt.NDArray[np.floating]
Mask = npt.NDArray[np.bool_]

CELL = 8  # px
REACH = 4  # cells to each side
QUIET = 40  # percentile of the cells around: most of the others may hold edges


def detail(image: Pixels, usable: Mask) -> npt.NDArray[np.float32]:
    """Energy of the finest detail in four directions, for every CELL × CELL px of a slice: (4, rows, columns).

    Mean squares of second differences along rows, columns, and both diagonals, (1, 1) and (1, −1), of which edges near
    by are left out. For noise of one spectrum they are in proportion to its local variance. usable: (rows, columns),
    not padding.
    """
    from scipy.ndimage import binary_erosion, distance_transform_edt, percentile_filter

    x = np.asarray(image, dtype=np.float32)
    ends = (
        (x[1:-1, :-2], x[1:-1, 2:]),
        (x[:-2, 1:-1], x[2:, 1:-1]),
        (x[:-2, :-2], x[2:, 2:]),
        (x[:-2, 2:], x[2:, :-2]),
    )
    known = binary_erosion(usable, np.ones((3, 3)))[1:-1, 1:-1]
    counts = _cells(known)
    empty = counts < max(counts.max() / 2, 1)
    nearest = None
    if empty.any() and not empty.all():
        nearest = distance_transform_edt(empty, return_distances=False, return_indices=True)
    found = []
    for before, after in ends:
        cells = _cells(np.where(known, (before - 2 * x[1:-1, 1:-1] + after) ** 2, 0)) / np.maximum(counts, 1)
        cells = cells if nearest is None else cells[tuple(nearest)]
        found.append(percentile_filter(cells, QUIET, 2 * REACH + 1, mode="nearest"))
    return np.stack(found).astype(np.float32)


def response(fy: Array, fx: Array) -> Array:
    """What `detail` takes of the noise's power at frequencies in cycles/px, (4, …)."""
    return np.stack([(2 - 2 * np.cos(2 * np.pi * f)) ** 2 for f in (fx, fy, fy + fx, fy - fx)])


def spread(cells: Pixels, place: tuple[int, int], size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Values of cells (…, rows, columns) at the pixels of a patch: on a slope from the middle of one to the next."""
    # The first cell begins at the second pixel.
    spots = [(np.arange(at, at + length) - 0.5 - CELL / 2) / CELL for at, length in zip(place, size, strict=True)]
    found = np.asarray(cells)
    for axis, spot in zip((-2, -1), spots, strict=True):
        last = found.shape[axis] - 1
        at = np.clip(spot, 0, last)
        low = np.minimum(at.astype(np.intp), max(last - 1, 0))
        share = (at - low).astype(np.float32)
        share = share[:, None] if axis == -2 else share
        found = np.take(found, low, axis) * (1 - share) + np.take(found, np.minimum(low + 1, last), axis) * share
    return np.asarray(found, dtype=np.float32)


def _cells(values: npt.NDArray[np.generic]) -> Array:
    """Sums over cells; the last row and column of them may be cut."""
    rows, columns = (-(-side // CELL) for side in values.shape)
    whole = np.zeros((rows * CELL, columns * CELL))
    whole[: values.shape[0], : values.shape[1]] = values
    return np.asarray(whole.reshape(rows, CELL, columns, CELL).sum(axis=(1, 3)))
