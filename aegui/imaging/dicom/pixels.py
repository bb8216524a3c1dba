"""Stored pixel values of DICOM files, and a DICOM series as slices in real units."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset

from aegui.errors import UserError
from aegui.imaging.dicom.elements import Source, number, whole
from aegui.imaging.dicom.frames import rescale_of, rescales
from aegui.imaging.dicom.headers import read_dataset
from aegui.imaging.dicom.pixelfile import PixelFile
from aegui.imaging.recent import Recent
from aegui.imaging.series import Mask, Pixels, Series, Stored
from aegui.imaging.values import OUTSIDE_CT, finite

_CACHED = 16  # more than are read ahead, kept as neighbours, denoised and written at once


@dataclass(frozen=True)
class Slice:
    """One decoded slice. padding: stored values that mean "no data", lowest and highest. bits: Bits Stored."""

    stored: Stored
    slope: float
    intercept: float
    padding: tuple[int, int] | None
    bits: int = 16


def decode(path: Path, frame: int | None = None) -> Stored:
    """Stored values of one frame, never inverted or rescaled; colour comes as RGB. UserError if broken."""
    with _named(path):
        return PixelFile(path).values(frame or 0)


@contextmanager
def _named(path: Path) -> Iterator[None]:
    """Turn what is wrong with the pixels of a file into words that name it."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f"{path.name} cannot be read: {error.strerror or error}.", "See that the drive is connected."
        ) from error
    except Exception as error:
        raise UserError(
            f"The pixels of {path.name} cannot be read: {_short(error)}",
            "The file may be cut off or damaged. Copy it again from its source, or leave it out.",
        ) from error


def _short(error: Exception) -> str:
    words = " ".join(str(error).split())
    words = words.split(". ")[0].rstrip(".:")
    return (words[:160] or type(error).__name__) + "."


def padding_of(header: Source) -> tuple[int, int] | None:
    """Stored padding values, lowest and highest.

    Writers often give a signed value as unsigned (63536 for −2000) and the other way round.
    """
    value = number(header, "PixelPaddingValue")
    if value is None:
        return None
    other = number(header, "PixelPaddingRangeLimit")
    bits = whole(header, "BitsAllocated", 16)
    signed = whole(header, "PixelRepresentation") == 1

    def as_stored(raw: float) -> int:
        word = int(raw) & ((1 << bits) - 1)
        return word - (1 << bits) if signed and word >= 1 << bits - 1 else word

    low = as_stored(value)
    high = low if other is None else as_stored(other)
    return min(low, high), max(low, high)


@lru_cache(maxsize=4)
def _outside_circle(rows: int, columns: int) -> Mask:
    y = np.arange(rows)[:, None] - (rows - 1) / 2
    x = np.arange(columns)[None, :] - (columns - 1) / 2
    return np.asarray((y / (rows / 2)) ** 2 + (x / (columns / 2)) ** 2 > 1.02)


def corner_padding(values: npt.NDArray[Any]) -> Mask:
    """True in the corners outside the inscribed ellipse, if they all hold one and the same lowest value."""
    if not values[0, 0] == values[0, -1] == values[-1, 0] == values[-1, -1] == values.min():
        return np.zeros(values.shape, bool)
    outside = _outside_circle(*values.shape[:2])
    corners = values[outside]
    if corners.size < 16 or corners.min() != corners.max() or corners[0] > values.min():
        return np.zeros(values.shape, bool)
    return np.asarray(outside)


class DicomSource:
    """A DICOM series, read lazily. Two threads may read at once."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self._lock = threading.Lock()
        self._slices: Recent[Slice] = Recent(_CACHED)
        self._file: PixelFile | None = None  # the one that holds all frames
        self._mosaic: Stored | None = None
        # Rescale by frame number, of a file that holds several.
        self._rescales = rescales(self.header(0)) if series.frames and not series.mosaic else ()

    def __len__(self) -> int:
        return self.series.slices

    def file(self, index: int) -> Path:
        """The file that holds slice `index`."""
        return self.series.files[0 if self.series.frames else index]

    def frame(self, index: int) -> int | None:
        """The frame (or tile of a mosaic) that slice `index` is in its file, None for single-frame files."""
        return self.series.frames[index] if self.series.frames else None

    def header(self, index: int) -> Dataset:
        """Everything but the pixels."""
        path = self.file(index)
        with _named(path):
            return read_dataset(path, pixels=False)

    def words(self, index: int) -> Stored:
        """All bits of the frame that slice `index` is, or is a tile of, those that are not stored values too."""
        with _named(self.file(index)):
            return self._pixels(index).words(self._number(index))

    def slice(self, index: int) -> Slice:
        """Stored values with what turns them into real ones."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        recent = self._slices.get(index)
        if recent is not None:
            return recent
        path = self.file(index)
        with _named(path):
            file = self._pixels(index)
            stored = self._mosaic_tile(file, index) if self.series.mosaic else file.values(self._number(index))
            slope, intercept = self._rescale(file, index)
        expected = (self.series.rows, self.series.columns)
        if stored.shape[:2] != expected:
            raise UserError(
                f"{path.name} is {stored.shape[1]} × {stored.shape[0]}, its series is {expected[1]} × {expected[0]}.",
                "Scan the folder again.",
            )
        padding = padding_of(file.header) if stored.ndim == 2 else None
        result = Slice(stored, slope, intercept, padding, file.layout.stored)
        self._slices.keep(index, result)
        return result

    def _number(self, index: int) -> int:
        return 0 if self.series.mosaic else self.frame(index) or 0

    def _pixels(self, index: int) -> PixelFile:
        if not self.series.frames:
            return PixelFile(self.file(index))
        with self._lock:
            if self._file is None:
                self._file = PixelFile(self.file(index))
            return self._file

    def _mosaic_tile(self, file: PixelFile, index: int) -> Stored:
        with self._lock:
            if self._mosaic is None:
                self._mosaic = file.values()
            return self._tile(self._mosaic, index)

    def _tile(self, values: Stored, index: int) -> Stored:
        if not self.series.mosaic:
            return values
        row, column = divmod(self.series.frames[index], self.series.mosaic)
        rows, columns = self.series.rows, self.series.columns
        return np.ascontiguousarray(values[row * rows : (row + 1) * rows, column * columns : (column + 1) * columns])

    def _rescale(self, file: PixelFile, index: int) -> tuple[float, float]:
        if self._rescales:
            return self._rescales[self.series.frames[index]]
        if "SharedFunctionalGroupsSequence" in file.header:
            return rescales(self.header(index))[0]  # an enhanced object of one frame
        return rescale_of(file.header)

    def read(self, index: int) -> Pixels:
        """Slice `index` in real units; colour from 0 to 255."""
        item = self.slice(index)
        if item.stored.ndim == 3:
            out = item.stored.astype(np.float32)
            return out if item.bits <= 8 else out * np.float32(255 / ((1 << item.bits) - 1))
        if (item.slope, item.intercept) == (1.0, 0.0):
            out = item.stored.astype(np.float32)
        else:
            values = np.multiply(item.stored, item.slope, dtype=np.float64)
            values += item.intercept
            out = values.astype(np.float32)
        return finite(out) if item.stored.dtype.kind == "f" else out

    def valid(self, index: int) -> Mask:
        """False in padding: Pixel Padding Value, and for CT whatever lies outside the field of view."""
        item = self.slice(index)
        mask = np.ones(item.stored.shape[:2], bool)
        if item.stored.ndim == 3:
            return mask
        if item.padding is not None:
            low, high = item.padding
            mask &= (item.stored < low) | (item.stored > high)
        if self.series.modality == "CT":
            if item.slope == 1.0 and item.stored.dtype.kind in "iu":
                mask &= item.stored > math.floor(OUTSIDE_CT - item.intercept)  # the same, without real numbers
            else:
                mask &= item.stored.astype(np.float64) * item.slope + item.intercept > OUTSIDE_CT
            mask &= ~corner_padding(item.stored)
        if item.stored.dtype.kind == "f":
            mask &= np.isfinite(item.stored)
        return mask

    def close(self) -> None:
        """Forget decoded slices."""
        self._slices.clear()
        with self._lock:
            self._file = self._mosaic = None
