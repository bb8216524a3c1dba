"""Stored pixel values of DICOM files, and a DICOM series as slices in real units."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, pixel_array

from aegui.errors import UserError
from aegui.imaging.frames import Frames, frames_of, rescale_of
from aegui.imaging.headers import number, read_dataset, text, whole
from aegui.imaging.quiet import itk
from aegui.imaging.series import Mask, Pixels, Series

Stored = npt.NDArray[Any]

OUTSIDE_CT = -2000.0  # HU and below: never anatomy, so outside the field of view
_DEFLATED = "1.2.840.10008.1.2.1.99"
_CACHED = 4


@dataclass(frozen=True)
class Slice:
    """One decoded slice. padding: stored values that mean "no data", lowest and highest."""

    stored: Stored
    slope: float
    intercept: float
    padding: tuple[int, int] | None


def decode(path: Path, frame: int | None = None, header: Dataset | None = None) -> Stored:
    """Stored values of one frame, never inverted or rescaled; colour comes as RGB. UserError if broken."""
    try:
        return _decode(path, frame, header or read_dataset(path, pixels=False))
    except UserError:
        raise
    except OSError as error:
        raise UserError(
            f"{path.name} cannot be read: {error.strerror or error}.", "See that the drive is connected."
        ) from error
    except Exception as error:
        raise UserError(
            f"The pixel data of {path.name} cannot be decoded: {_short(error)}",
            "The file may be cut off or damaged. Copy it again from its source, or leave it out.",
        ) from error


def _short(error: Exception) -> str:
    words = " ".join(str(error).split())
    words = words.split(". ")[0].rstrip(".:")
    return (words[:120] or type(error).__name__) + "."


def _decode(path: Path, frame: int | None, header: Dataset) -> Stored:
    syntax = header.file_meta.TransferSyntaxUID
    values: Stored
    try:
        # From the path, one frame is read and not the whole file; that needs a complete file meta.
        whole_file = header.preamble is None or str(syntax) == _DEFLATED
        values = pixel_array(read_dataset(path) if whole_file else path, index=frame)
    except Exception as error:  # noqa: BLE001 - raised again where the second try fails too
        values = _second_try(path, frame, header, error)
    if text(header, "PhotometricInterpretation").upper() == "PALETTE COLOR":
        values = apply_color_lut(values, header)
        return (values >> 8).astype(np.uint8) if values.dtype == np.uint16 else values
    return values


def _second_try(path: Path, frame: int | None, header: Dataset, error: Exception) -> Stored:
    """GDCM for compressed grey pixels, the whole dataset for others; the first error if that fails too."""
    try:
        if not header.file_meta.TransferSyntaxUID.is_compressed:
            return np.asarray(pixel_array(read_dataset(path), index=frame))
        if whole(header, "SamplesPerPixel", 1) == 1:
            return _through_gdcm(path, header, frame)
    except Exception:  # noqa: BLE001 - the first error says more
        raise error from None
    raise error


def _through_gdcm(path: Path, header: Dataset, frame: int | None) -> Stored:
    """Second decoder, for 12-bit and lossless JPEG. It rescales by itself, which is undone here."""
    sitk = itk()
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    values: Stored = sitk.GetArrayFromImage(reader.Execute())
    slope, intercept = rescale_of(header)
    values = np.rint((values.astype(np.float64) - intercept) / slope)
    signed = whole(header, "PixelRepresentation") == 1
    size = max(8, whole(header, "BitsAllocated", 16))
    values = np.asarray(values.astype(f"{'i' if signed else 'u'}{size // 8}"))
    if frame is not None and values.ndim == 3:
        return np.asarray(values[frame])
    return values[0] if values.ndim == 3 and values.shape[0] == 1 else values


def embedded_overlays(header: Dataset) -> list[int]:
    """Bit numbers, above the stored ones, in which pixel words hold overlays (retired, still met)."""
    bits: list[int] = []
    for group in range(0x6000, 0x6020, 2):
        if (group, 0x0102) not in header or (group, 0x3000) in header:
            continue
        if header[group, 0x0100].value == header.get("BitsAllocated") if (group, 0x0100) in header else True:
            bits.append(int(header[group, 0x0102].value))
    return [bit for bit in bits if bit >= whole(header, "BitsStored", 16)]


def stored_range(bits: int, signed: bool) -> tuple[int, int]:
    """Lowest and highest value that fits."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


def padding_of(header: Dataset) -> tuple[int, int] | None:
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
        self._slices: OrderedDict[int, Slice] = OrderedDict()
        self._frames: Frames | None = None
        if len(series.files) == 1:
            header = self.header(0)
            if whole(header, "NumberOfFrames", 1) > 1:
                self._frames = frames_of(header)

    def __len__(self) -> int:
        return self.series.slices

    def file(self, index: int) -> Path:
        """The file that holds slice `index`."""
        return self.series.files[0 if self._frames else index]

    def frame(self, index: int) -> int | None:
        """The frame number of slice `index` in its file, None for single-frame files."""
        return self._frames.order[index] if self._frames else None

    def header(self, index: int) -> Dataset:
        """Everything but the pixels."""
        path = self.series.files[0] if len(self.series.files) == 1 else self.series.files[index]
        try:
            return read_dataset(path, pixels=False)
        except OSError as error:
            raise UserError(
                f"{path.name} cannot be read: {error.strerror or error}.", "Scan the folder again."
            ) from error

    def slice(self, index: int) -> Slice:
        """Stored values with what turns them into real ones."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        with self._lock:
            if index in self._slices:
                self._slices.move_to_end(index)
                return self._slices[index]
        header = self.header(index)
        frame = self.frame(index)
        stored = decode(self.file(index), frame, header)
        expected = (self.series.rows, self.series.columns)
        if stored.shape[:2] != expected:
            raise UserError(
                f"{self.file(index).name} is {stored.shape[1]} × {stored.shape[0]}, "
                f"its series is {expected[1]} × {expected[0]}.",
                "Scan the folder again.",
            )
        slope, intercept = self._frames.rescale[frame or 0] if self._frames else rescale_of(header)
        padding = padding_of(header) if stored.ndim == 2 else None
        result = Slice(stored, slope, intercept, padding)
        with self._lock:
            self._slices[index] = result
            while len(self._slices) > _CACHED:
                self._slices.popitem(last=False)
        return result

    def read(self, index: int) -> Pixels:
        """Slice `index` in real units."""
        item = self.slice(index)
        if item.stored.ndim == 3:
            return item.stored.astype(np.float32)
        values = item.stored.astype(np.float64) * item.slope + item.intercept
        out = values.astype(np.float32)
        return out if np.isfinite(out).all() else np.nan_to_num(out, copy=False, posinf=0.0, neginf=0.0)

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
            mask &= item.stored.astype(np.float64) * item.slope + item.intercept > OUTSIDE_CT
            mask &= ~corner_padding(item.stored)
        if item.stored.dtype.kind == "f":
            mask &= np.isfinite(item.stored)
        return mask

    def close(self) -> None:
        """Forget decoded slices."""
        with self._lock:
            self._slices.clear()
