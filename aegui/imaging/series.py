"""What a scan is: its series, their geometry, and slices read lazily in real units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.float32]  # real units
Stored = npt.NDArray[Any]  # as a file holds them, in its own type
Mask = npt.NDArray[np.bool_]
Vector = tuple[float, float, float]


@dataclass(frozen=True)
class Geometry:
    """Where slices lie, in patient coordinates (LPS, mm).

    spacing: mm, (z, y, x); z is the median distance along the normal, 0 for a single slice.
    orientation: direction cosines of a row and of a column (6 numbers), as Image Orientation (Patient).
    positions: centre of the first voxel of each slice, in slice order; empty when unknown.
    measured: False where the size of a pixel is not known, and 1 × 1 stands for it.
    """

    spacing: Vector
    orientation: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
    positions: tuple[Vector, ...] = ()
    measured: bool = True

    @property
    def length(self) -> str:
        """Unit of distances in the slice."""
        return "mm" if self.measured else "px"


DERIVED_HERE = "Already denoised by aegui"  # a warning of such series
INVERTED = {"photometric": "MONOCHROME1"}  # acquisition of series whose low values are bright


@dataclass(frozen=True)
class Series:
    """One series: slices of one size that belong together, sorted by position.

    uid: Series Instance UID, or one derived from the path for other formats. patient: the key by which
    data are split (never shown). label: what the window shows instead of the name ("ANON-0041").
    files: one per slice (DICOM, images) or one for all (volumes, multi-frame), followed by the raw data files
    that a volume header names. frames: which frame of files[0] each slice is, from 0, where one DICOM file holds
    several, or a volume file several volumes (counted through all its slices); a file of several volumes makes
    several series. part: which array of an .npz or image of a TIFF file it is, "" where there is but one.
    mosaic: tiles per row where the frames are tiles of
    one picture (Siemens mosaic), else 0. root: the folder that was scanned. modality: PS3 code, "OT" if unknown.
    unit: "HU" for CT, "" where values have no unit. bits: of the stored values, see bits_of_values.
    treat: "denoise", "view" or "list", why in `reason`.
    acquisition: kernel, kvp, exposure, thickness, tr, te, manufacturer … where known.
    """

    uid: str
    study_uid: str
    patient: str
    label: str
    study_date: str
    modality: str
    description: str
    form: Literal["dicom", "volume", "images"]
    files: tuple[Path, ...]
    rows: int
    columns: int
    slices: int
    geometry: Geometry
    unit: str = ""
    channels: int = 1
    bits: int = 16
    acquisition: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    treat: Literal["denoise", "view", "list"] = "denoise"
    reason: str = ""
    root: Path = Path()
    frames: tuple[int, ...] = ()
    mosaic: int = 0
    part: str = ""

    @property
    def inverted(self) -> bool:
        """Whether low values are shown bright (MONOCHROME1)."""
        return INVERTED.items() <= self.acquisition.items()

    @property
    def place(self) -> Path:
        """Its file, or the folder of its files."""
        first, *others = self.files
        return first.parent if others else first

    @property
    def derived_here(self) -> bool:
        """Whether this program wrote it: nothing to learn from."""
        return DERIVED_HERE in self.warnings


def bits_of_values(stored: int, rescale: tuple[float, float]) -> int:
    """The bits of stored values; 16 for bytes that (slope, intercept) makes other values of than 0 to 255."""
    return stored if stored > 8 or rescale == (1.0, 0.0) else 16


@dataclass(frozen=True)
class Skipped:
    """A file that is in no series, and why. damaged: it should have been slices."""

    file: Path
    reason: str
    damaged: bool = False


@dataclass(frozen=True)
class ScanResult:
    """What a folder holds. Every file found is in one series or in `skipped`."""

    series: tuple[Series, ...]
    skipped: tuple[Skipped, ...]


class SliceSource(Protocol):
    """A series opened for reading, one slice at a time, in real units (HU after rescale)."""

    series: Series

    def __len__(self) -> int:
        """Number of slices."""
        ...

    def read(self, index: int) -> Pixels:
        """Slice `index` in real units: (rows, columns), colour (rows, columns, 3). UserError if it is broken."""
        ...

    def valid(self, index: int) -> Mask:
        """True where a voxel holds anatomy or air, False in padding: (rows, columns)."""
        ...

    def close(self) -> None:
        """Release files."""
        ...


class SliceSink(Protocol):
    """A derived series being written. Nothing is visible under its final name before `finish`."""

    @property
    def clipped(self) -> int:
        """How many pixels were cut to what the stored type holds."""
        ...

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report should say of how it was written."""
        ...

    def write(self, index: int, pixels: Pixels) -> None:
        """Take slice `index`, in the source's real units and shape."""
        ...

    def finish(self) -> Path:
        """Rename everything into place; returns the file or folder."""
        ...

    def abort(self) -> None:
        """Remove what was written."""
        ...
