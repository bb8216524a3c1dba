"""The three planes of a stack of slices: names, edge letters, and reformatted slices the right way up."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from aegui.imaging.geometry import obstacle
from aegui.imaging.series import Geometry, Series

MOST_BYTES = 600_000_000  # a stack above this is shown one slice at a time
FEWEST = 5
_NAMES = ("Sagittal", "Coronal", "Axial")  # by the axis a plane's normal points along: x, y, z
_LETTERS = (("L", "R"), ("P", "A"), ("S", "I"))  # DICOM: +x is left, +y posterior, +z superior


def _main_axis(direction: np.ndarray) -> tuple[int, bool]:
    axis = int(np.abs(direction).argmax())
    return axis, bool(direction[axis] > 0)


def letter(direction: np.ndarray) -> str:
    """Where a direction in patient coordinates (LPS) leads: one of L R P A S I."""
    axis, positive = _main_axis(direction)
    return _LETTERS[axis][0 if positive else 1]


def _letters(right: np.ndarray, down: np.ndarray) -> tuple[str, str, str, str]:
    return letter(-right), letter(right), letter(-down), letter(down)


def axes(geometry: Geometry) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors of the stack: slice, row index (down), column index (right)."""
    right = np.asarray(geometry.orientation[:3], float)
    down = np.asarray(geometry.orientation[3:], float)
    through = np.cross(right, down)
    if len(geometry.positions) > 1:
        step = np.subtract(geometry.positions[-1], geometry.positions[0])
        if float(step @ through) < 0:
            through = -through
    return through, down, right


@dataclass(frozen=True)
class Plane:
    """How one view cuts the stack (slices, rows, columns).

    axis: the stack axis it scrolls along. flip: its vertical axis runs against the stack. spacing: (row, column).
    """

    name: str
    axis: int
    count: int
    spacing: tuple[float, float]
    letters: tuple[str, str, str, str] | None
    flip: bool = False

    def cut(self, stack: np.ndarray, index: int) -> np.ndarray:
        """One slice of it."""
        flat: np.ndarray = np.take(stack, index, axis=self.axis)
        return flat[::-1] if self.flip else flat

    def vertical(self, index: int, count: int) -> int:
        """Row in this view of the stack's slice `index`, or back."""
        return count - 1 - index if self.flip else index


def has_planes(series: Series) -> bool:
    """Whether the other two planes can be shown."""
    return why_not(series) == ""


def why_not(series: Series) -> str:
    """The reason there is only one plane, in words; empty if there is none."""
    geometry = series.geometry
    if series.channels != 1:
        return "Colour images have one view."
    reason = obstacle(geometry if len(geometry.positions) == series.slices else replace(geometry, positions=()))
    if series.slices < FEWEST:
        return "Too few slices for other planes."
    if reason:
        return f"{reason}, so there is one view."
    if series.slices * series.rows * series.columns * 4 > MOST_BYTES:
        return "Too large for other planes."
    return ""


def main_plane(series: Series) -> Plane:
    """The plane the slices lie in."""
    geometry = series.geometry
    known = series.form != "images"
    through, down, right = axes(geometry)
    return Plane(
        _NAMES[_main_axis(through)[0]] if known else "Image",
        0,
        series.slices,
        (geometry.spacing[1] or 1.0, geometry.spacing[2] or 1.0),
        _letters(right, down) if known else None,
    )


def other_planes(series: Series) -> tuple[Plane, Plane]:
    """The planes across the rows and across the columns; superior or anterior is up where that is possible."""
    through, down, right = axes(series.geometry)
    z, y, x = series.geometry.spacing
    flip = letter(through) in "SA"
    low = -through if flip else through
    return (
        Plane(_NAMES[_main_axis(down)[0]], 1, series.rows, (z, x), _letters(right, low), flip),
        Plane(_NAMES[_main_axis(right)[0]], 2, series.columns, (z, y), _letters(down, low), flip),
    )
