"""Derived series as a folder of images: in the source's own format, or as 16-bit PNG."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
from PIL import Image

from aegui.errors import UserError
from aegui.imaging.encoding import Tally, encode
from aegui.imaging.files.formats import arrays, picture, tiff
from aegui.imaging.files.formats.layout import New
from aegui.imaging.files.images import ImageSource
from aegui.imaging.files.volumes import VolumeSource
from aegui.imaging.removed import difference, narrow, refuse_noise
from aegui.imaging.rules import OutputRules, Provenance, output_name
from aegui.imaging.series import Pixels, SliceSource, Stored
from aegui.imaging.staging import SeriesFolders, Staging, writing
from aegui.imaging.text import unused

_LEVELS = 65535
_UNSIGNED = (".png", ".bmp", *picture.LOSSY)


class ImageSink:
    """Images in the format, name and type of the source, in a folder of their own.

    JPEG becomes PNG: a second lossy compression would change every pixel.
    """

    def __init__(self, source: ImageSource, folder: Path, rules: OutputRules, origin: Provenance) -> None:
        series = source.series
        suffix = series.files[0].suffix.lower()
        if rules.noise_series:
            if suffix in _UNSIGNED:
                raise UserError(
                    f"The removed noise of {series.description} cannot be kept: {suffix[1:].upper()} holds no "
                    "negative values.",
                    "Save as NIfTI, NRRD or TIFF, or leave the noise series out.",
                )
            refuse_noise(series, source.stored(0).dtype)
        self._source = source
        self._clean = rules.deidentify
        self._tally = Tally(len(source))
        self._taken: set[str] = set()
        self._folders = SeriesFolders(folder, output_name(series, rules, origin), noise=rules.noise_series)

    @property
    def clipped(self) -> int:
        """How many pixels did not fit into the stored type."""
        return self._tally.clipped

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report should say of how it was written."""
        lossy = self._source.series.files[0].suffix.lower() in picture.LOSSY
        return ("JPEG is written as PNG, without a further loss",) if lossy else ()

    def write(self, index: int, pixels: Pixels) -> None:
        """Take slice `index`."""
        stored = self._source.stored(index)
        values = encode(pixels, stored, self._source.valid(index), tally=self._tally)
        path = self._source.series.files[index]
        name = self._named(path, index)
        with writing(self._folders.denoised.folder):
            _save(path, self._folders.denoised.path / name, values, self._clean)
            if self._folders.noise is not None:
                removed = difference(stored, values)
                dtype = np.int16 if narrow(removed) else np.int32
                _save(path, self._folders.noise.path / name, removed.astype(dtype), clean=True)
        self._tally.take(index)

    def _named(self, path: Path, index: int) -> str:
        suffix = ".png" if path.suffix.lower() in picture.LOSSY else path.suffix
        stem = f"slice_{index + 1:04d}" if self._clean else path.stem
        return unused(f"{stem}{suffix}", self._taken)

    def finish(self) -> Path:
        """Rename the folder into place."""
        self._tally.close()
        return self._folders.publish()

    def abort(self) -> None:
        """Remove what was written."""
        self._folders.discard()


def _save(source: Path, target: Path, values: Stored, clean: bool) -> None:
    suffix = source.suffix.lower()
    if suffix not in (".npy", *tiff.SUFFIXES):
        picture.save(source, target, values, clean)
        return
    new = New([values], (1, *values.shape), values.dtype, clean=clean)
    if suffix == ".npy":
        arrays.rewrite(source, "", target, new)
    else:
        tiff.rewrite(source, "", target, new)


class PngSink:
    """One PNG per slice: 8 bits for 8-bit sources, else 16 bits with the scale in scale.json."""

    def __init__(self, source: SliceSource, folder: Path, rules: OutputRules, origin: Provenance) -> None:
        series = source.series
        if rules.noise_series:
            raise UserError(
                f"The removed noise of {series.description} cannot be kept: PNG holds no negative values.",
                "Save as NIfTI, NRRD or TIFF, or leave the noise series out.",
            )
        self._source = source
        self._tally = Tally(len(source))
        self._eight = _is_eight(source)
        self._slope, self._offset = _png_scale(source, eight=self._eight)
        self._staging = Staging(folder, output_name(series, rules, origin))
        self._digits = max(4, int(math.log10(max(1, len(source)))) + 1)

    @property
    def clipped(self) -> int:
        """How many pixels did not fit into the stored type."""
        return self._tally.clipped

    @property
    def notes(self) -> tuple[str, ...]:
        """What the report should say of how it was written."""
        if self._slope == -1.0:
            return ("Levels count down from white, as the source is shown: scale.json says how",)
        return () if self._slope == 1.0 else ("Values are scaled to 16 bits: scale.json says how",)

    def write(self, index: int, pixels: Pixels) -> None:
        """Take slice `index`."""
        valid = self._source.valid(index)
        values = np.where(valid if pixels.ndim == 2 else valid[..., None], pixels, self._source.read(index))
        top = 255 if self._eight else _LEVELS
        rounded = np.rint((values.astype(np.float64) - self._offset) / self._slope)
        levels = np.clip(rounded, 0, top)
        self._tally.clipped += int(np.count_nonzero(levels != rounded))
        image = Image.fromarray(levels.astype(np.uint8 if self._eight else np.uint16))
        with writing(self._staging.folder):
            image.save(self._staging.path / f"slice_{index + 1:0{self._digits}d}.png")
        self._tally.take(index)

    def finish(self) -> Path:
        """Rename the folder into place."""
        self._tally.close()
        series = self._source.series
        note = {
            "value": "slope * level + offset",
            "slope": self._slope,
            "offset": self._offset,
            "unit": series.unit,
            "spacing_mm": list(series.geometry.spacing) if series.geometry.measured else None,
        }
        with writing(self._staging.folder):
            (self._staging.path / "scale.json").write_text(json.dumps(note, indent=1), encoding="utf-8")
        return self._staging.publish_folder()

    def abort(self) -> None:
        """Remove what was written."""
        self._staging.discard()


def _is_eight(source: SliceSource) -> bool:
    """Whether the values are bytes as a PNG of 8 bits has them."""
    series = source.series
    if series.channels == 3:
        if series.bits != 8:
            raise UserError(f"{series.label} has colours of more than 8 bits, PNG takes 8.", "Choose the same format.")
        return True
    if isinstance(source, VolumeSource) and source.scale != (1.0, 0.0):
        return False
    return isinstance(source, ImageSource | VolumeSource) and source.stored(0).dtype == np.uint8


def _png_scale(source: SliceSource, *, eight: bool) -> tuple[float, float]:
    """(slope, offset) of the levels: bytes as they are, else spread over 16 bits; whole steps of 1 where values allow.

    Where low values are bright, which PNG cannot say, the slope is negative.
    """
    slope, offset, high = (1.0, 0.0, 255.0) if eight else _rising(source)
    if not source.series.inverted:
        return slope, offset
    # Down from the highest level of as many bits as they take: dark stays dark, and denoised values find room below.
    top = (1 << int((high - offset) / slope).bit_length()) - 1
    return -slope, offset + slope * top


def _rising(source: SliceSource) -> tuple[float, float, float]:
    """(slope, offset) where high values are bright, and the highest value."""
    low, high, whole = math.inf, -math.inf, True
    for index in range(len(source)):
        values = source.read(index)
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        whole = whole and bool((values == np.rint(values)).all())
    if whole and high - low <= _LEVELS and low >= -32768:
        return 1.0, math.floor(min(low, 0.0)) if high - min(low, 0.0) <= _LEVELS else math.floor(low), high
    # Denoised values may go a little beyond the source's own.
    margin = 0.05 * (high - low) or 1.0
    return (high - low + 2 * margin) / _LEVELS, low - margin, high
