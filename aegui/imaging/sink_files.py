"""Derived series as files other than DICOM: images and volumes in their own format, NIfTI, 16-bit PNG."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile
from PIL import Image

from aegui.errors import UserError
from aegui.imaging import geometry as geo
from aegui.imaging import volumes
from aegui.imaging.images import ImageSource, original
from aegui.imaging.pixels import DicomSource
from aegui.imaging.quiet import itk
from aegui.imaging.rules import OutputRules, output_name
from aegui.imaging.series import Pixels, Series, SliceSource
from aegui.imaging.staging import Staging, Tally, encode, writing
from aegui.imaging.text import free_path, safe_name

_LEVELS = 65535


class ImageSink:
    """Images in the format, name and type of the source, in a folder of their own."""

    def __init__(self, source: ImageSource, folder: Path, rules: OutputRules) -> None:
        self._source = source
        self._tally = Tally(len(source))
        self._staging = Staging(folder, safe_name(output_name(source.series, rules)))

    notes: tuple[str, ...] = ()

    @property
    def clipped(self) -> int:
        """How many pixels were cut to what the stored type holds."""
        return self._tally.clipped

    def write(self, index: int, pixels: Pixels) -> None:
        """Take slice `index`."""
        values = encode(pixels, self._source.stored(index), self._source.valid(index), tally=self._tally)
        path = self._source.series.files[index]
        with writing(self._staging.folder):
            _save_image(path, self._staging.path / path.name, values)
        self._tally.take(index)

    def finish(self) -> Path:
        """Rename the folder into place."""
        self._tally.close()
        return self._staging.publish_folder()

    def abort(self) -> None:
        """Remove what was written."""
        self._staging.discard()


def _save_image(source: Path, target: Path, values: npt.NDArray[Any]) -> None:
    """Save like the source: same mode, with its transparency and resolution."""
    suffix = source.suffix.lower()
    if suffix == ".npy":
        np.save(target, values)
        return
    if suffix in (".tif", ".tiff"):
        _save_tiff(source, target, values)
        return
    with Image.open(source) as image:
        mode, info = image.mode, dict(image.info)
        full = original(image)
    if mode in ("RGB", "RGBA") and values.ndim == 2:
        values = np.repeat(values[..., None], 3, axis=2)
    if mode in ("RGBA", "LA"):
        values = np.concatenate([values if values.ndim == 3 else values[..., None], full[..., -1:]], axis=2)
    options: dict[str, Any] = {"dpi": info["dpi"]} if "dpi" in info else {}
    if suffix in (".jpg", ".jpeg"):
        options |= {"quality": 100, "subsampling": 0}
    Image.fromarray(np.ascontiguousarray(values)).save(target, **options)


def _save_tiff(source: Path, target: Path, values: npt.NDArray[Any]) -> None:
    with tifffile.TiffFile(source) as tiff:
        page = tiff.pages[0]
        resolution = {
            name: page.tags[name].value
            for name in ("XResolution", "YResolution", "ResolutionUnit")
            if name in page.tags
        }
        full = np.asarray(page.asarray())
        photometric = page.photometric
        byteorder = tiff.byteorder
        compressed = page.compression == tifffile.COMPRESSION.ADOBE_DEFLATE
    if full.ndim == 3:
        values = np.repeat(values[..., None], 3, axis=2) if values.ndim == 2 else values
        values = np.concatenate([values, full[..., 3:]], axis=2)
    options: dict[str, Any] = {}
    if len(resolution) == 3:
        options["resolution"] = tuple(top / max(1, low) for top, low in list(resolution.values())[:2])
        options["resolutionunit"] = resolution["ResolutionUnit"]
    if compressed:
        options["compression"] = "zlib"
    tifffile.imwrite(target, values, photometric=photometric, byteorder=byteorder, metadata=None, **options)


class VolumeSink:
    """A volume in the format, name, geometry and type of the source, beside the batch's other outputs."""

    def __init__(self, source: volumes.VolumeSource, folder: Path, rules: OutputRules) -> None:
        self._source = source
        self._tally = Tally(len(source))
        path = source.series.files[0]
        first = source.stored(0)  # before anything is made: a broken source must leave nothing behind
        self._staging = Staging(folder, path.name)
        self._values = np.lib.format.open_memmap(
            self._staging.path / "slices.part", "w+", first.dtype, (len(source), *first.shape)
        )

    notes: tuple[str, ...] = ()

    @property
    def clipped(self) -> int:
        """How many pixels were cut to what the stored type holds."""
        return self._tally.clipped

    def write(self, index: int, pixels: Pixels) -> None:
        """Take slice `index`."""
        self._values[index] = encode(pixels, self._source.stored(index), self._source.valid(index), tally=self._tally)
        self._tally.take(index)

    def finish(self) -> Path:
        """Write the file under its final name."""
        self._tally.close()
        path = self._source.series.files[0]
        final = free_path(self._staging.folder / path.name)
        self._staging.name = final.name
        target = self._staging.path / final.name
        with writing(self._staging.folder):
            if path.suffix.lower() == ".npy":
                np.save(target, self._values)
            elif path.suffix.lower() in (".tif", ".tiff"):
                tifffile.imwrite(target, self._values, photometric="minisblack", metadata=None)
            else:
                _save_itk(path, target, self._values)
            self._release()
        return self._staging.publish_files()

    def _release(self) -> None:
        del self._values
        (self._staging.path / "slices.part").unlink(missing_ok=True)

    def abort(self) -> None:
        """Remove what was written."""
        if hasattr(self, "_values"):
            del self._values
        self._staging.discard()


def _save_itk(source: Path, target: Path, values: npt.NDArray[Any]) -> None:
    sitk = itk()
    like = sitk.ReadImage(str(source))
    size = like.GetSize()[::-1]
    image = sitk.GetImageFromArray(
        values.reshape(*size, *values.shape[3:]), isVector=like.GetNumberOfComponentsPerPixel() > 1
    )
    image.CopyInformation(like)
    for key in like.GetMetaDataKeys():
        if not key.startswith(("ITK_", "NRRD_")):
            image.SetMetaData(key, like.GetMetaData(key))
    try:
        sitk.WriteImage(image, str(target), useCompression=volumes.is_compressed(source))
    except RuntimeError as error:
        raise OSError(f"{target.name} could not be written") from error


class NiftiSink:
    """One .nii.gz per series, in real units, with the affine of the slices."""

    def __init__(self, source: SliceSource, folder: Path, rules: OutputRules) -> None:
        series = source.series
        if series.channels != 1:
            raise UserError(f"{series.label} is in colour; NIfTI output takes grey slices.", "Choose the same format.")
        if not geo.regular(series.geometry) or geo.tilt(series.geometry) > 0.5:
            raise UserError(
                f"The slices of {series.label} are tilted or unevenly spaced, which NIfTI cannot hold.",
                "Choose the same format, or DICOM.",
            )
        self._source = source
        self._tally = Tally(len(source))
        self._staging = Staging(folder, f"{safe_name(output_name(series, rules))}.nii.gz")
        self._values = np.lib.format.open_memmap(
            self._staging.path / "slices.part", "w+", np.float32, (len(source), series.rows, series.columns)
        )

    notes: tuple[str, ...] = ()

    @property
    def clipped(self) -> int:
        """How many pixels were cut to what the stored type holds."""
        return self._tally.clipped

    def write(self, index: int, pixels: Pixels) -> None:
        """Take slice `index`; padding keeps its source value."""
        values = np.where(self._source.valid(index), pixels, self._source.read(index))
        self._values[index] = np.rint(values) if self._whole(index) else values
        self._tally.take(index)

    def _whole(self, index: int) -> bool:
        """Whether the source's real values are whole numbers, so that 16 bits hold them."""
        if isinstance(self._source, DicomSource):
            item = self._source.slice(index)
            return (
                float(item.slope).is_integer() and float(item.intercept).is_integer() and item.stored.dtype.kind != "f"
            )
        if isinstance(self._source, volumes.VolumeSource | ImageSource):
            return self._source.stored(index).dtype.kind in "ui"
        return False

    def finish(self) -> Path:
        """Write the file under its final name."""
        sitk = itk()
        self._tally.close()
        final = free_path(self._staging.folder / self._staging.name)
        self._staging.name = final.name
        whole = all(self._whole(index) for index in (0, len(self._source) // 2))
        fits = whole and self._values.min() >= -32768 and self._values.max() <= 32767
        image = sitk.GetImageFromArray(self._values.astype(np.int16) if fits else np.asarray(self._values))
        _place(image, self._source.series)
        with writing(self._staging.folder):
            try:
                sitk.WriteImage(image, str(self._staging.path / final.name), useCompression=True)
            except RuntimeError as error:
                raise OSError(f"{final.name} could not be written") from error
            del self._values
            (self._staging.path / "slices.part").unlink(missing_ok=True)
        return self._staging.publish_files()

    def abort(self) -> None:
        """Remove what was written."""
        if hasattr(self, "_values"):
            del self._values
        self._staging.discard()


def _place(image: Any, series: Series) -> None:
    """Spacing, origin and direction as ITK has them (LPS)."""
    z, y, x = series.geometry.spacing
    thickness = series.acquisition.get("thickness")
    if z <= 0:
        z = float(thickness) if isinstance(thickness, int | float) and thickness > 0 else 1.0
    row, column = np.asarray(series.geometry.orientation[:3]), np.asarray(series.geometry.orientation[3:])
    along = geo.normal(series.geometry.orientation)
    positions = series.geometry.positions
    if len(positions) > 1:
        run = np.asarray(positions[-1]) - np.asarray(positions[0])
        # Over the whole stack the mean distance misplaces less than the median one.
        z = float(np.linalg.norm(run)) / (len(positions) - 1)
        along = along if float(run @ along) >= 0 else -along
    image.SetSpacing((x, y, z if z > 0 else 1.0))
    row = row / np.linalg.norm(row)
    column = column - (column @ row) * row
    column = column / np.linalg.norm(column)
    image.SetDirection([float(v) for v in np.stack([row, column, along], axis=1).ravel()])
    if positions:
        image.SetOrigin(positions[0])


class PngSink:
    """One PNG per slice: 8 bits for 8-bit sources, else 16 bits with the scale in scale.json."""

    def __init__(self, source: SliceSource, folder: Path, rules: OutputRules) -> None:
        self._source = source
        series = source.series
        self._tally = Tally(len(source))
        self._eight = series.bits == 8 and not isinstance(source, DicomSource)
        self._slope, self._offset = _png_scale(source)
        self._staging = Staging(folder, safe_name(output_name(series, rules)))
        self._digits = max(4, int(math.log10(max(1, len(source)))) + 1)

    notes: tuple[str, ...] = ()

    @property
    def clipped(self) -> int:
        """How many pixels were cut to what the stored type holds."""
        return self._tally.clipped

    def write(self, index: int, pixels: Pixels) -> None:
        """Take slice `index`."""
        valid = self._source.valid(index)
        values = np.where(valid if pixels.ndim == 2 else valid[..., None], pixels, self._source.read(index))
        top = 255 if self._eight else _LEVELS
        levels = np.clip(np.rint((values.astype(np.float64) - self._offset) / self._slope), 0, top)
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
            "spacing_mm": list(series.geometry.spacing),
        }
        with writing(self._staging.folder):
            (self._staging.path / "scale.json").write_text(json.dumps(note, indent=1), encoding="utf-8")
        return self._staging.publish_folder()

    def abort(self) -> None:
        """Remove what was written."""
        self._staging.discard()


def _png_scale(source: SliceSource) -> tuple[float, float]:
    """(slope, offset) that spreads the series over 16 bits; whole steps of 1 where the values allow it."""
    series = source.series
    if series.channels == 3:
        if series.bits != 8:
            raise UserError(f"{series.label} has 16-bit colours; PNG output takes 8.", "Choose the same format.")
        return 1.0, 0.0
    if series.bits == 8 and not isinstance(source, DicomSource):
        return 1.0, 0.0
    lows, highs = zip(*((float(v.min()), float(v.max())) for v in map(source.read, range(len(source)))), strict=True)
    low, high = min(lows), max(highs)
    if series.bits <= 16 and high - low <= _LEVELS and low >= -32768:
        return 1.0, math.floor(min(low, 0.0))
    # Denoised values may go a little beyond the source's own.
    margin = 0.05 * (high - low) or 1.0
    return (high - low + 2 * margin) / _LEVELS, low - margin
