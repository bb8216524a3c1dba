"""Derived series as one file: in the volume format of the source, or as NIfTI, NRRD or a TIFF stack."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from aegui.errors import UserError
from aegui.imaging import geometry as geo
from aegui.imaging.dicom.pixels import DicomSource
from aegui.imaging.encoding import Tally, encode
from aegui.imaging.files import volumes
from aegui.imaging.files.formats import nifti, nrrd, tiff
from aegui.imaging.files.formats.layout import New, affine_of
from aegui.imaging.files.images import ImageSource
from aegui.imaging.removed import SUFFIX as NOISE_SUFFIX
from aegui.imaging.removed import difference, narrow, refuse_noise
from aegui.imaging.rules import OutputRules, Provenance, output_name
from aegui.imaging.series import Pixels, Series, SliceSource, Stored
from aegui.imaging.staging import Spool, Staging, writing
from aegui.imaging.text import safe_name

SUFFIXES = {"nifti": ".nii.gz", "nrrd": ".nrrd", "tiff": ".tif"}
_EXACT = 1 << 24  # whole numbers up to here are exact in 32-bit floats
_COLOURS = 3
_TILT = 0.01  # degrees
_LONGEST_STEM = 120  # bytes; file systems take 255 for all of a name
Write = Callable[[Path, New], None]


class Noise:
    """What was removed, slice by slice, in stored units."""

    def __init__(self, staging: Staging, count: int, shape: tuple[int, ...]) -> None:
        self._spool = Spool(staging.path / "noise.part", count, shape, np.int32)
        self._narrow = True

    def take(self, index: int, removed: Stored) -> None:
        """Keep stored − values of slice `index`."""
        self._narrow &= narrow(removed)
        self._spool[index] = removed

    def new(self, shape: tuple[int, ...], order: str, slope: float) -> New:
        """The signed values, in 16 bits where these hold them, else 32."""
        return New(_each(self._spool), shape, np.dtype(f"{order}i{2 if self._narrow else 4}"), (slope, 0.0), clean=True)

    def discard(self) -> None:
        """Forget it."""
        self._spool.discard()


def _each(spool: Spool) -> Iterator[Stored]:
    return (spool[index] for index in range(len(spool)))


class _OneFile:
    """What both sinks share: a spool of slices that becomes one file, and the noise beside it."""

    def __init__(
        self, source: SliceSource, folder: Path, stem: str, suffix: str, dtype: np.dtype[Any], *, noise: bool
    ) -> None:
        self.source = source
        self.tally = Tally(len(source))
        self._stem, self._suffix = stem, suffix
        series = source.series
        self._shape = (series.rows, series.columns, *((_COLOURS,) if series.channels == _COLOURS else ()))
        self.staging = Staging(folder, f"{stem}{suffix}")
        self.noise: Noise | None = None
        try:
            self.spool = Spool(self.staging.path / "slices.part", len(source), self._shape, dtype)
            if noise:
                self.noise = Noise(self.staging, len(source), self._shape)
        except UserError:
            self.staging.discard()
            raise

    @property
    def shape(self) -> tuple[int, ...]:
        """Of all values: (slices, rows, columns[, 3])."""
        return (len(self.source), *self._shape)

    def put(self, index: int, stored: Stored, values: Stored) -> None:
        """Keep slice `index`, and what it differs by from the source's own values in the same unit."""
        self.spool[index] = values
        if self.noise is not None:
            self.noise.take(index, difference(stored, values))
        self.tally.take(index)

    def publish(self, write: Write, new: New, noise: New | None) -> Path:
        """Write the files and move them into the output folder; returns the denoised one."""
        self.tally.close()
        stem = self._free_stem(noise is not None)
        target = self.staging.path / f"{stem}{self._suffix}"
        self.staging.name = target.name
        with writing(self.staging.folder):
            write(target, new)
            if noise is not None and self.noise is not None:
                write(self.staging.path / f"{stem}{NOISE_SUFFIX}{self._suffix}", noise)
                self.noise.discard()
            self.spool.discard()
        return self.staging.publish_files()

    def _free_stem(self, noise: bool) -> str:
        """A stem under which nothing lies there yet, neither a header nor its values."""
        folder = self.staging.folder
        suffixes = {".mhd": (".mhd", ".raw", ".zraw"), ".nhdr": (".nhdr", ".raw", ".raw.gz", ".raw.bz2")}
        endings = suffixes.get(self._suffix.lower(), (self._suffix,))
        beside = ("", NOISE_SUFFIX) if noise else ("",)
        stem, number = self._stem, 1
        while any(os.path.lexists(folder / f"{stem}{part}{end}") for end in endings for part in beside):
            number += 1
            stem = f"{self._stem}_{number}"
        return stem

    def abort(self) -> None:
        """Remove what was written."""
        self.spool.discard()
        if self.noise is not None:
            self.noise.discard()
        self.staging.discard()


class VolumeSink:
    """A volume in the format, name, geometry, header and type of the source."""

    def __init__(self, source: volumes.VolumeSource, folder: Path, rules: OutputRules, origin: Provenance) -> None:
        series = source.series
        first = source.stored(0)  # before anything is made: a broken source must leave nothing behind
        if rules.noise_series:
            refuse_noise(series, first.dtype)
        path = series.files[0]
        ending = re.search(r"\.(nii\.gz|ome\.tiff?|[^.]+)$", path.name, re.IGNORECASE)
        suffix = ending[0] if ending else ""
        stem = output_name(series, rules, origin) if rules.deidentify else _stem(series, suffix, rules.suffix)
        self._source = source
        self._clean = rules.deidentify
        self._dtype = first.dtype
        self._file = _OneFile(source, folder, stem, suffix, first.dtype, noise=rules.noise_series)

    @property
    def clipped(self) -> int:
        """How many voxels did not fit into the stored type."""
        return self._file.tally.clipped

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report should say of how it was written."""
        if self._source.series.frames:
            return ("One volume of several: written as a file of its own",)
        return ()

    def write(self, index: int, pixels: Pixels) -> None:
        """Take slice `index`."""
        stored = self._source.stored(index)
        scale = self._source.scale
        values = encode(pixels, stored, self._source.valid(index), scale, tally=self._file.tally)
        self._file.put(index, stored, values)

    def finish(self) -> Path:
        """Write the file under its final name."""
        scale = self._source.scale
        new = New(_each(self._file.spool), self._file.shape, self._dtype, scale, self._clean)
        order = ">" if self._dtype.str[0] == ">" else "<"
        noise = self._file.noise.new(self._file.shape, order, scale[0]) if self._file.noise is not None else None
        return self._file.publish(lambda target, what: volumes.rewrite(self._source.series, target, what), new, noise)

    def abort(self) -> None:
        """Remove what was written."""
        self._file.abort()


def _stem(series: Series, suffix: str, ending: str) -> str:
    """The source's own name, which part of it this is, and what the user adds to derived ones."""
    stem = series.files[0].name[: -len(suffix)]
    while len(os.fsencode(stem)) > _LONGEST_STEM:
        stem = stem[:-1]
    if series.part:
        stem += f"_{safe_name(series.part.removesuffix('.npy'), 60)}"
    if series.frames:
        stem += f"_{series.frames[0] // series.slices + 1:03d}"
    return stem + re.sub(r"[^A-Za-z0-9._+-]+", "_", ending)


class StackSink:
    """A series of any source as one NIfTI, NRRD or OME-TIFF file, at its exact place."""

    def __init__(self, source: SliceSource, folder: Path, rules: OutputRules, origin: Provenance) -> None:
        series = source.series
        self._source = source
        self._format = rules.format
        self._unit = series.unit
        self._words = origin.words
        thickness = series.acquisition.get("thickness")
        self._affine = affine_of(series.geometry, float(thickness) if isinstance(thickness, int | float) else 0.0)
        if rules.format != "tiff" and not geo.regular(series.geometry):
            raise UserError(
                f"The slices of {series.label} are unevenly spaced, which {_called(rules.format)} cannot hold.",
                "Choose the same format, DICOM, TIFF or PNG.",
            )
        stored, slope, intercept = self._parts(0)
        if series.channels == _COLOURS and (stored.dtype.kind != "u" or stored.dtype.itemsize > 1):
            raise UserError(
                f"{series.label} has colours of more than 8 bits, which {_called(rules.format)} output does not take.",
                "Choose the same format.",
            )
        if rules.format == "tiff" and stored.dtype.kind != "f" and stored.dtype.itemsize > 4:
            raise UserError(f"{series.label} has 64-bit whole numbers, which OME-TIFF does not hold.", "Choose NRRD.")
        # Values that need no change of type keep their own; others are judged when all have come.
        scaled = (slope, intercept) != (1.0, 0.0) and rules.format != "nifti"
        self._own = (
            not isinstance(source, DicomSource)
            and not scaled
            and stored.dtype.itemsize > 2 * (stored.dtype.kind == "f")
        )
        self._scale = (slope, intercept) if self._own else (1.0, 0.0)
        if rules.noise_series:
            whole = self._own or (slope.is_integer() and intercept.is_integer())
            refuse_noise(series, stored.dtype if whole else np.dtype(np.float32))
        dtype = stored.dtype.newbyteorder("<") if self._own else np.dtype("f4" if stored.dtype.itemsize <= 2 else "f8")
        self._whole = True
        self._low, self._high = 0.0, 0.0
        stem = output_name(series, rules, origin)
        self._file = _OneFile(source, folder, stem, SUFFIXES[rules.format], dtype, noise=rules.noise_series)

    @property
    def clipped(self) -> int:
        """How many voxels did not fit into the stored type."""
        return self._file.tally.clipped

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report should say of how it was written."""
        if self._format == "nifti" and geo.tilt(self._source.series.geometry) > _TILT:
            return ("Stacked at an angle: the place is in NIfTI's sform, which some programs do not read",)
        return ()

    def _parts(self, index: int) -> tuple[Stored, float, float]:
        """Stored values, slope and intercept."""
        if isinstance(self._source, DicomSource):
            item = self._source.slice(index)
            return (item.stored, 1.0, 0.0) if item.stored.ndim > 2 else (item.stored, item.slope, item.intercept)
        if isinstance(self._source, volumes.VolumeSource):
            return self._source.stored(index), *self._source.scale
        if isinstance(self._source, ImageSource):
            return self._source.stored(index), 1.0, 0.0
        raise TypeError(f"No sink for {type(self._source).__name__}")

    def write(self, index: int, pixels: Pixels) -> None:
        """Take slice `index`; unchanged voxels and padding keep their values exactly."""
        stored, slope, intercept = self._parts(index)
        values = encode(pixels, stored, self._source.valid(index), (slope, intercept), tally=self._file.tally)
        if self._file.noise is not None and not self._own and not (slope.is_integer() and intercept.is_integer()):
            raise UserError("Its values are not whole numbers: the removed noise cannot be kept exactly.")
        if not self._own:
            stored, values = (_real(item, slope, intercept) for item in (stored, values))
            self._low = min(self._low, float(np.nanmin(values, initial=0)))
            self._high = max(self._high, float(np.nanmax(values, initial=0)))
            whole = slope.is_integer() and intercept.is_integer() and stored.dtype.kind != "f"
            self._whole &= whole and (self._file.spool.dtype.itemsize > 4 or max(-self._low, self._high) <= _EXACT)
        self._file.put(index, stored, values)

    def finish(self) -> Path:
        """Write the file under its final name."""
        spool = self._file.spool
        dtype = spool.dtype if self._own else self._smallest()
        slices = _each(spool) if self._own else (_cast(values, dtype) for values in _each(spool))
        new = New(slices, self._file.shape, dtype, self._scale)
        noise = self._file.noise.new(self._file.shape, "<", self._scale[0]) if self._file.noise is not None else None
        return self._file.publish(self._create, new, noise)

    def _smallest(self) -> np.dtype[Any]:
        """The type that holds all values: 16 bits where they are whole and fit, as HU do."""
        if not self._whole:
            return np.dtype(np.float32)
        kinds = ("u1", "i2", "u2", "i4", "u4") if self._source.series.bits <= 8 else ("i2", "u2", "i4", "u4")
        fits = (kind for kind in kinds if np.iinfo(kind).min <= self._low and self._high <= np.iinfo(kind).max)
        return np.dtype(f"<{next(fits, 'f8')}")

    def _create(self, target: Path, new: New) -> None:
        series = self._source.series
        measured = series.geometry.measured
        if self._format == "nifti":
            nifti.create(target, new, self._affine, self._words, measured=measured)
        elif self._format == "nrrd":
            nrrd.create(target, new, self._affine, self._unit, self._words, measured=measured)
        else:
            z, y, x = series.geometry.spacing if measured else (0.0, 0.0, 0.0)
            spacing = (z if geo.regular(series.geometry) else 0.0, y, x)
            tiff.create(target, new, spacing, self._words, inverted=series.inverted)

    def abort(self) -> None:
        """Remove what was written."""
        self._file.abort()


def _called(format: str) -> str:
    return {"nifti": "NIfTI", "nrrd": "NRRD", "tiff": "TIFF"}[format]


def _real(stored: Stored, slope: float, intercept: float) -> Stored:
    """Whole numbers where all three are, else 64-bit floats."""
    if stored.dtype.kind != "f" and slope.is_integer() and intercept.is_integer():
        return stored.astype(np.int64) * int(slope) + int(intercept)
    return stored.astype(np.float64) * slope + intercept


def _cast(values: Stored, dtype: np.dtype[Any]) -> Stored:
    return values.astype(dtype) if dtype.kind == "f" else np.rint(values).astype(dtype)
