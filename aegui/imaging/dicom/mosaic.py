"""Siemens mosaics: the slices of a volume as tiles of one picture, told by a private header."""

from __future__ import annotations

import struct
from dataclasses import dataclass

import numpy as np
from pydicom.dataset import Dataset

from aegui.imaging import geometry as geo
from aegui.imaging import quiet
from aegui.imaging.dicom.elements import floats, number, whole
from aegui.imaging.series import Vector

_HEADER = "SIEMENS MR HEADER"
_CSA = "SIEMENS CSA HEADER"
_TAG = 84  # bytes of a tag without items


@dataclass(frozen=True)
class Tiles:
    """positions: centre of the first voxel of each tile, in tile order. between: distance of slices, mm."""

    per_row: int
    rows: int
    columns: int
    orientation: tuple[float, ...] | None
    positions: tuple[Vector | None, ...]
    between: float | None


def tiles_of(dataset: Dataset) -> Tiles | None:
    """How a mosaic is laid out and where its slices lie; None where their number is not told."""
    csa = csa_of(dataset)
    count = _private(dataset, 0x0019, _HEADER, 0x0A) or _first(csa, "NumberOfImagesInMosaic")
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    if not count or not 1 <= count <= rows * columns:
        return None
    per_row = int(np.ceil(np.sqrt(count)))
    if rows % per_row or columns % per_row:
        return None
    tile = rows // per_row, columns // per_row
    axes = geo.sound(floats(dataset, "ImageOrientationPatient", 6))
    between = number(dataset, "SpacingBetweenSlices") or _first(csa, "SpacingBetweenSlices")
    between = between or number(dataset, "SliceThickness")
    first = _first_position(dataset, axes, (rows - tile[0], columns - tile[1]))
    normal = csa.get("SliceNormalVector", ())
    places: tuple[Vector | None, ...] = (None,) * int(count)
    if first is not None and axes is not None and between:
        # The tiles run along the normal that the CSA header tells, which may be the opposite of rows × columns.
        along = np.asarray(normal, float) if len(normal) == 3 else geo.normal(axes)
        steps = first + np.arange(int(count))[:, None] * between * along
        places = tuple((float(x), float(y), float(z)) for x, y, z in steps)
    return Tiles(per_row, *tile, axes, places, between)


def _first_position(dataset: Dataset, axes: tuple[float, ...] | None, margin: tuple[int, int]) -> np.ndarray | None:
    """Image Position (Patient) is told as if the whole picture were one slice centred on the volume."""
    origin, spacing = floats(dataset, "ImagePositionPatient", 3), floats(dataset, "PixelSpacing", 2)
    if origin is None or axes is None or spacing is None:
        return None
    along_row, along_column = np.asarray(axes[:3]), np.asarray(axes[3:])
    down, right = margin[0] / 2 * spacing[0], margin[1] / 2 * spacing[1]
    return np.asarray(np.asarray(origin) + down * along_column + right * along_row)


def csa_of(dataset: Dataset) -> dict[str, tuple[float, ...]]:
    """The numbers of the CSA image header; empty where there is none or it is broken."""
    try:
        return parse_csa(bytes(dataset.private_block(0x0029, _CSA)[0x10].value))
    except Exception:  # noqa: BLE001 - nibabel fails in many ways on headers that are none
        return {}


def parse_csa(data: bytes) -> dict[str, tuple[float, ...]]:
    """Numbers by name, of a CSA header of either version. Any error if it is broken."""
    read = quiet.csa().read
    try:
        tags = read(data)["tags"]
    except UnboundLocalError:
        # nibabel issue 817: it asks the second tag of version 1 for what the first tells. With an empty tag in front,
        # the first is the second.
        count = struct.pack("<I", struct.unpack_from("<I", data)[0] + 1)
        tags = read(count + data[4:8] + bytes(_TAG) + data[8:])["tags"]
    return {
        name: tuple(float(item) for item in tag["items"])
        for name, tag in tags.items()
        if tag["items"] and all(isinstance(item, int | float) for item in tag["items"])
    }


def _first(csa: dict[str, tuple[float, ...]], name: str) -> float | None:
    return next(iter(csa.get(name, ())), None)


def _private(dataset: Dataset, group: int, creator: str, element: int) -> float | None:
    try:
        value = dataset.private_block(group, creator)[element].value
        return float(struct.unpack("<H", value[:2])[0] if isinstance(value, bytes) else value)
    except (KeyError, TypeError, ValueError, struct.error):
        return None
