"""Order, spacing and irregularities of slices, from their positions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from aegui.imaging.series import Geometry, Vector

_SAME_PLACE = 0.01  # mm
SAME_STEP = 0.1  # of the distance of slices
SAME_PIXEL = 0.25  # of the size of a pixel
_SAME_ANGLE = 0.5  # degrees
_SKEW = 0.1  # of direction cosines, which should be of length 1 and upright to each other


def normal(orientation: Sequence[float]) -> np.ndarray:
    """Unit normal of the slice plane: row direction × column direction."""
    # Written out: numpy's cross product takes ten times as long, and there is one for every series.
    a, b, c, d, e, f = (float(value) for value in orientation[:6])
    x, y, z = b * f - c * e, c * d - a * f, a * e - b * d
    length = math.sqrt(x * x + y * y + z * z)
    return np.array([x / length, y / length, z / length] if length > 0 else [0.0, 0.0, 1.0])


@lru_cache(1024)
def sound(orientation: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """The direction cosines, None where they span no plane."""
    if orientation is None:
        return None
    row, column = np.asarray(orientation[:3]), np.asarray(orientation[3:6])
    lengths = float(np.linalg.norm(row)), float(np.linalg.norm(column))
    upright = abs(float(row @ column)) < _SKEW
    return orientation if upright and all(abs(length - 1) < _SKEW for length in lengths) else None


def along_normal(positions: Sequence[Vector], orientation: Sequence[float]) -> np.ndarray:
    """Distance of each slice from the origin along the normal, mm."""
    return np.asarray(np.asarray(positions, float).reshape(-1, 3) @ normal(orientation))


def places(distances: np.ndarray) -> np.ndarray:
    """Number of the place each slice lies at, from 0; slices within 0.01 mm share a place."""
    if len(distances) == 1:  # most series of a scan are one slice, and numpy takes its time
        return np.zeros(1, int)
    order = np.argsort(distances, kind="stable")
    steps = np.diff(distances[order]) > _SAME_PLACE
    numbers = np.concatenate([[0], np.cumsum(steps)])
    out = np.empty(len(distances), int)
    out[order] = numbers
    return out


def geometry(
    positions: Sequence[Vector],
    orientation: tuple[float, ...] | None,
    in_plane: tuple[float, float] | None,
    between: float | None = None,
) -> Geometry:
    """Geometry of slices that are already in order. between: nominal distance, used without positions only."""
    y, x = in_plane or (1.0, 1.0)
    axes = orientation or (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    z = abs(between or 0.0)
    if len(positions) > 1:
        steps = np.diff(np.sort(along_normal(positions, axes)))
        steps = steps[steps > _SAME_PLACE]
        z = float(np.median(steps)) if len(steps) else 0.0
    elif positions:
        z = 0.0
    return Geometry((round(z, 6), float(y), float(x)), tuple(axes), tuple(positions), in_plane is not None)


def tilt(shape: Geometry) -> float:
    """Angle between the direction in which the slices are stacked and their normal, degrees."""
    if len(shape.positions) < 2:
        return 0.0
    run = np.asarray(shape.positions[-1], float) - np.asarray(shape.positions[0], float)
    length = float(np.linalg.norm(run))
    if length < _SAME_PLACE:
        return 0.0
    cosine = abs(float(run @ normal(shape.orientation))) / length
    return float(np.degrees(np.arccos(min(1.0, cosine))))


def regular(shape: Geometry) -> bool:
    """Whether equal steps along one straight line describe all slices (within 1 % or 0.02 mm)."""
    if len(shape.positions) < 3:
        return True
    points = np.asarray(shape.positions, float)
    steps = np.linspace(0.0, 1.0, len(points))[:, None]
    ideal = points[0] + steps * (points[-1] - points[0])
    limit = max(0.02, 0.01 * abs(shape.spacing[0]))
    return bool(np.abs(points - ideal).max() <= limit * 2)


def obstacle(shape: Geometry) -> str:
    """Why the stack cannot be cut in other planes or resampled, in words; "" where it can."""
    if not shape.positions or shape.spacing[0] <= 0:
        same = len(shape.positions) > 1
        return "All slices lie at one position" if same else "Slice positions are not known"
    gaps, uneven = _irregular(shape)
    if gaps:
        return "Slices are missing"
    if uneven:
        return "The distance of the slices varies"
    if tilt(shape) > _SAME_ANGLE:
        return f"The slices are stacked at an angle of {_degrees(tilt(shape))}"
    return "The slices are shifted sideways" if sideways(shape) else ""


def _irregular(shape: Geometry) -> tuple[list[tuple[int, int]], tuple[float, float] | None]:
    """(missing slices, after which number) of each gap, and the smallest and largest distance where they vary."""
    steps = np.diff(along_normal(shape.positions, shape.orientation))
    ratio = steps / shape.spacing[0]
    whole = np.abs(ratio - np.round(ratio)) < SAME_STEP
    missing = np.round(ratio).astype(int) - 1
    gaps = [(int(missing[i]), int(i) + 1) for i in np.flatnonzero((missing > 0) & whole)]
    uneven = (steps > _SAME_PLACE) & ~whole
    if not uneven.any():
        return gaps, None
    return gaps, (float(steps[steps > _SAME_PLACE].min()), float(steps.max()))


def sideways(shape: Geometry) -> float:
    """How far the farthest slice lies beside the line through the first and the last, mm; 0 if that hardly shows."""
    points = np.asarray(shape.positions, float)
    run = points[-1] - points[0]
    along = along_normal(shape.positions, shape.orientation)
    if len(points) < 3 or along[-1] - along[0] < _SAME_PLACE:
        return 0.0
    share = (along - along[0]) / (along[-1] - along[0])
    beside = float(np.linalg.norm(points - points[0] - share[:, None] * run, axis=1).max())
    return beside if beside > max(_SAME_PLACE, SAME_PIXEL * min(shape.spacing[1:])) else 0.0


def warnings_for(shape: Geometry, modality: str) -> list[str]:
    """What is irregular, in words."""
    found: list[str] = []
    if len(shape.positions) < 2:
        return found
    if shape.spacing[0] <= 0:
        return [f"{len(shape.positions)} slices at one position"]
    gaps, uneven = _irregular(shape)
    found += [_gap(missing, after) for missing, after in gaps[:3]]
    if len(gaps) > 3:
        found.append(f"{len(gaps) - 3} more gaps")
    if uneven:
        found.append(f"Slice distance varies: {_mm(uneven[0])} to {_mm(uneven[1])} mm")
    angle = tilt(shape)
    if angle > _SAME_ANGLE:
        words = "Gantry tilt" if modality == "CT" else "Slices stacked at an angle of"
        found.append(f"{words} {_degrees(angle)}")
    if beside := sideways(shape):
        found.append(f"Slices shifted sideways by up to {_mm(beside)} mm")
    return found


def _degrees(angle: float) -> str:
    return f"{angle:.0f}°" if angle >= 1 else f"{angle:.1f}°"


def _gap(missing: int, after: int) -> str:
    return f"Gap: {missing} slice{'' if missing == 1 else 's'} missing after {after}"


def _mm(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
