"""Which slices lie right beside a slice, for models that look at them too."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from aegui.imaging.geometry import SAME_PIXEL, SAME_STEP, along_normal, normal
from aegui.imaging.series import Geometry, Series


def beside(series: Series, index: int, neighbours: int) -> tuple[int, ...]:
    """Numbers of the 2·neighbours + 1 slices a model sees of slice `index`, along the series; its own is the middle.

    Where there is none, its own takes the place: at the ends, beyond a gap, and where slices do not lie one upon the
    other (single pictures, a cine, repeats at one place, unknown positions).
    """
    # A volume file without places tells the distance of its slices, and no more; in DICOM, they are then no stack.
    joined = _joined(series.geometry, series.slices, series.form == "volume")

    def at(other: int) -> int:
        inside = 0 <= other < series.slices
        return other if inside and all(joined[min(index, other) : max(index, other)]) else index

    return tuple(at(index + step) for step in range(-neighbours, neighbours + 1))


@lru_cache(32)
def _joined(shape: Geometry, slices: int, stack: bool) -> tuple[bool, ...]:
    """For every slice but the last, whether the next one lies upon it, at the stack's own distance.

    stack: whether slices without positions lie so.
    """
    places, (distance, *pixel) = shape.positions, shape.spacing
    if distance <= 0 or (places and len(places) != slices):
        return (False,) * (slices - 1)
    if not places:
        return (stack,) * (slices - 1)
    along = np.diff(along_normal(places, shape.orientation))
    steps = np.diff(np.asarray(places, float).reshape(-1, 3), axis=0)
    aside = np.linalg.norm(steps - along[:, None] * normal(shape.orientation), axis=1)
    onward = along * np.sign(along.sum())
    alike = (np.abs(onward / distance - 1) < SAME_STEP) & (aside <= SAME_PIXEL * min(pixel))
    return tuple(alike.tolist())
