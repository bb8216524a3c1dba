"""Frames of a multi-frame DICOM file: order, geometry and rescale of each."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from aegui.imaging import geometry as geo
from aegui.imaging.headers import floats, number, whole
from aegui.imaging.series import Vector


@dataclass(frozen=True)
class Frames:
    """order: frame number of each slice. rescale: (slope, intercept) by frame number."""

    order: tuple[int, ...]
    rescale: tuple[tuple[float, float], ...]
    positions: tuple[Vector, ...] | None
    orientation: tuple[float, ...] | None
    spacing: tuple[float, float] | None
    between: float | None
    problem: str = ""


def rescale_of(dataset: Dataset) -> tuple[float, float]:
    """Slope and intercept, 1 and 0 where absent or senseless."""
    slope, intercept = number(dataset, "RescaleSlope"), number(dataset, "RescaleIntercept")
    return (slope if slope else 1.0), (intercept or 0.0)


def frames_of(dataset: Dataset) -> Frames:
    """Read the functional groups of an enhanced object, or the plain header of a classic one."""
    count = max(1, whole(dataset, "NumberOfFrames", 1))
    shared = next(iter(dataset.get("SharedFunctionalGroupsSequence") or ()), Dataset())
    each = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    groups = [each[i] if i < len(each) else Dataset() for i in range(count)]
    plain = rescale_of(dataset)
    positions: list[Vector] = []
    axes: list[tuple[float, ...]] = []
    rescale: list[tuple[float, float]] = []
    spacing: tuple[float, ...] | None = None
    between: float | None = number(dataset, "SpacingBetweenSlices")
    for group in groups:
        place = floats(_part(group, shared, "PlanePositionSequence"), "ImagePositionPatient", 3)
        if place:
            positions.append((place[0], place[1], place[2]))
        axis = floats(_part(group, shared, "PlaneOrientationSequence"), "ImageOrientationPatient", 6)
        if axis:
            axes.append(axis)
        values = _part(group, shared, "PixelValueTransformationSequence")
        rescale.append(rescale_of(values) if "RescaleSlope" in values else plain)
        measures = _part(group, shared, "PixelMeasuresSequence")
        spacing = spacing or floats(measures, "PixelSpacing", 2)
        between = between if between is not None else number(measures, "SpacingBetweenSlices")
    in_plane = (spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None
    if len(positions) < count or len(axes) < count:
        return Frames(tuple(range(count)), tuple(rescale), None, None, in_plane, between)
    if not np.allclose(axes, axes[0], atol=0.01):
        problem = "Frames of unequal orientation: shown, not denoised."
        return Frames(tuple(range(count)), tuple(rescale), None, axes[0], in_plane, between, problem)
    places = geo.places(geo.along_normal(positions, axes[0]))
    # Repeats follow one another as whole volumes: the n-th frame at each place belongs to the n-th volume.
    seen: dict[int, int] = {}
    keys: list[tuple[int, int]] = []
    for spot in places.tolist():
        seen[spot] = seen.get(spot, -1) + 1
        keys.append((seen[spot], spot))
    order = tuple(sorted(range(count), key=lambda i: keys[i]))
    return Frames(order, tuple(rescale), tuple(positions), axes[0], in_plane, between)


def _part(group: Dataset, shared: Dataset, keyword: str) -> Dataset:
    for owner in (group, shared):
        items = owner.get(keyword)
        if items:
            return items[0]
    return Dataset()
