"""What a volume header says, in one shape for all formats."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from aegui.imaging.files.formats.raw import Broken
from aegui.imaging.series import DERIVED_HERE, Geometry, Stored, Vector

Affine = npt.NDArray[np.float64]
PALETTE = "Palette colours: shown, not denoised."
_MOST_VOLUMES = 100_000
_OURS = "Denoised by aegui"  # as Provenance.words begins


@dataclass(frozen=True)
class Layout:
    """One array of slices in a file.

    shape: (volumes, slices, rows, columns), volumes stored one after the other. affine: (column, row, slice) → LPS
    in mm, 4 × 4, None where only `spacing` (z, y, x) is known. scale: slope and intercept that make stored values
    real. words: what tells each volume from the others. problem: why it is shown and not denoised.
    inverted: low values are bright, as MONOCHROME1 of DICOM.
    """

    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]
    channels: int = 1
    affine: Affine | None = None
    spacing: Vector = (0.0, 1.0, 1.0)
    scale: tuple[float, float] = (1.0, 0.0)
    words: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problem: str = ""
    inverted: bool = False

    def placed(self) -> Layout:
        """Without numbers that cannot be a place or a distance, and saying so."""
        if self.affine is not None and not (
            np.isfinite(self.affine).all() and abs(np.linalg.det(self.affine[:3, :3])) > 1e-12
        ):
            note = "Position and spacing are not usable numbers: left out"
            return replace(self, affine=None, spacing=(0.0, 1.0, 1.0), notes=(*self.notes, note))
        if not (np.isfinite(self.spacing).all() and min(self.spacing[1:]) > 0 and self.spacing[0] >= 0):
            return replace(
                self, spacing=(0.0, 1.0, 1.0), notes=(*self.notes, "Spacing is not a usable number: left out")
            )
        return self

    def geometry(self) -> Geometry:
        """Of each of its volumes."""
        slices = self.shape[1]
        if self.affine is None:
            z, *pixel = self.spacing
            return Geometry((z if slices > 1 else 0.0, pixel[0], pixel[1]), measured=pixel != [1.0, 1.0])
        along, column, step, origin = (self.affine[:3, i] for i in range(4))
        width, height = float(np.linalg.norm(along)), float(np.linalg.norm(column))
        row_axis, column_axis = along / width, column / height
        normal = np.cross(row_axis, column_axis)
        distance = abs(float(step @ normal)) / float(np.linalg.norm(normal)) if slices > 1 else 0.0
        positions = tuple(_vector(origin + k * step) for k in range(slices))
        axes = (*_vector(row_axis), *_vector(column_axis))
        return Geometry((distance, height, width), axes, positions)

    def remarks(self) -> list[str]:
        """What is unusual in the geometry."""
        if self.affine is None:
            return []
        row, column = self.affine[:3, 0], self.affine[:3, 1]
        cosine = abs(float(row @ column)) / float(np.linalg.norm(row) * np.linalg.norm(column))
        return ["Rows and columns are not at right angles"] if cosine > 1e-3 else []


def _vector(values: npt.NDArray[np.float64]) -> Vector:
    return float(values[0]), float(values[1]), float(values[2])


def volume_words(count: int, word: str = "Volume") -> tuple[str, ...]:
    """What tells the volumes of a file apart that says no more of them; Broken where there cannot be so many."""
    if count > _MOST_VOLUMES:
        raise Broken(f"Its header claims {count} volumes, which cannot be.")
    return tuple(f"{word} {i + 1} of {count}" for i in range(count)) if count > 1 else ()


def derived_note(text: str) -> tuple[str, ...]:
    """The note of a file whose own words say that this program made it."""
    return (DERIVED_HERE,) if _OURS in text else ()


def affine_of(shape: Geometry, thickness: float = 0.0) -> Affine:
    """(column, row, slice) → LPS in mm. thickness: mm, the step where there is one slice, or no positions."""
    z, y, x = shape.spacing
    row, column = np.asarray(shape.orientation[:3], float), np.asarray(shape.orientation[3:], float)
    normal = np.cross(row, column)
    step = normal / float(np.linalg.norm(normal)) * (z if z > 0 else thickness if thickness > 0 else 1.0)
    origin = np.zeros(3)
    if shape.positions:
        origin = np.asarray(shape.positions[0], float)
    if len(shape.positions) > 1:
        # Over the whole stack the mean step misplaces less than the median one.
        step = (np.asarray(shape.positions[-1], float) - origin) / (len(shape.positions) - 1)
    affine = np.eye(4)
    affine[:3] = np.stack([row * x, column * y, step, origin], axis=1)
    return affine


class Stack(Protocol):
    """The slices of one array of a file, as stored."""

    def slice(self, index: int) -> Stored:
        """Slice `index`, counted through all volumes: (rows, columns) or (rows, columns, 3)."""
        ...

    def close(self) -> None:
        """Release files."""
        ...


@dataclass(frozen=True)
class New:
    """Values to be written: slices in order, all of `shape` (slices, rows, columns[, 3]) and `dtype`.

    scale: as in Layout. clean: without any free text of the source.
    """

    slices: Iterable[Stored]
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    scale: tuple[float, float] = (1.0, 0.0)
    clean: bool = False

    def ordered(self, order: Literal["<", ">"]) -> New:
        """The same in another byte order, that of a header which stays as it is."""
        return replace(self, dtype=self.dtype.newbyteorder(order))

    def blocks(self) -> Iterator[bytes]:
        """The slices as bytes, in C order."""
        for values in self.slices:
            yield np.ascontiguousarray(values, self.dtype).tobytes()
