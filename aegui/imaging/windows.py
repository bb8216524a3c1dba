"""Window (width, level) presets, automatic windows, and small pictures of series."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from pydicom.dataset import Dataset

from aegui.errors import UserError
from aegui.imaging.dicom.elements import number
from aegui.imaging.dicom.pixels import DicomSource
from aegui.imaging.open import open_series
from aegui.imaging.series import Mask, Pixels, Series, SliceSource

Window = tuple[float, float]

WINDOWS: dict[str, Window] = {
    "Lung": (1500.0, -600.0),
    "Bone": (1800.0, 400.0),
    "Brain": (80.0, 40.0),
    "Abdomen": (400.0, 50.0),
    "Mediastinum": (400.0, 40.0),
}
_SOFT_TISSUE = (-160.0, 240.0)  # HU
_SOFT_SHARE = 0.1


def auto_window(pixels: npt.NDArray[Any], mask: Mask | None = None, modality: str = "OT") -> Window:
    """(width, level) that shows one slice well. mask: voxels that count."""
    values = np.asarray(pixels, np.float32)
    if values.ndim == 3:
        return 255.0, 127.5
    values = values[mask] if mask is not None and mask.any() else values.ravel()
    values = values[np.isfinite(values)]
    if values.size == 0:
        return 1.0, 0.5
    if modality == "CT" and float(values.min()) < -200:
        soft = np.mean((values > _SOFT_TISSUE[0]) & (values < _SOFT_TISSUE[1]))
        if soft > _SOFT_SHARE:
            return WINDOWS["Mediastinum"]
    low, high = (float(value) for value in np.percentile(values, (0.5, 99.5)))
    if high <= low:
        low, high = float(values.min()), float(values.max())
    width = high - low
    return (width, (low + high) / 2) if width > 0 else (1.0, low)


def window_for(series: Series, source: SliceSource | None = None) -> Window:
    """The window that the file asks for, else the automatic one of the middle slice. source: the series opened."""
    opened = source or open_series(series)
    try:
        middle = len(opened) // 2
        if isinstance(opened, DicomSource) and series.channels == 1:
            header = _voi(opened.header(middle), opened.frame(middle) or 0)
            width, level = number(header, "WindowWidth"), number(header, "WindowCenter")
            if width is not None and level is not None and width > 0:
                return width, level
        return auto_window(opened.read(middle), opened.valid(middle), series.modality)
    finally:
        if source is None:
            opened.close()


def _voi(header: Dataset, frame: int) -> Dataset:
    """Where a window may stand: the functional groups of a frame in enhanced objects, else the header itself."""
    each = header.get("PerFrameFunctionalGroupsSequence") or ()
    for group in (*each[frame : frame + 1], *(header.get("SharedFunctionalGroupsSequence") or ())[:1]):
        if items := group.get("FrameVOILUTSequence"):
            return items[0]
    return header


def to_grey(pixels: Pixels, window: Window) -> npt.NDArray[np.uint8]:
    """Window a slice to 8 bits; colour is taken as it is."""
    if pixels.ndim == 3:
        return np.asarray(np.clip(np.rint(pixels), 0, 255).astype(np.uint8))
    width, level = window
    scaled = (pixels - (level - width / 2)) * (255.0 / max(width, 1e-6))
    return np.asarray(np.clip(np.rint(scaled), 0, 255).astype(np.uint8))


def thumbnail(series: Series, size: int = 96) -> npt.NDArray[np.uint8]:
    """The middle slice as an 8-bit grey square (size, size), on black; all black if it cannot be read."""
    out = np.zeros((size, size), np.uint8)
    if series.treat == "list":
        return out
    try:
        source = open_series(series)
    except UserError:
        return out
    try:
        middle = len(source) // 2
        pixels = source.read(middle)
        grey = to_grey(pixels, auto_window(pixels, source.valid(middle), series.modality))
    except UserError:
        return out
    finally:
        source.close()
    if grey.ndim == 3:
        grey = np.asarray(Image.fromarray(grey).convert("L"))
    elif series.inverted:
        grey = np.asarray(255 - grey)
    height, width = grey.shape[0] * series.geometry.spacing[1], grey.shape[1] * series.geometry.spacing[2]
    scale = size / max(height, width)
    shape = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(Image.fromarray(grey).resize(shape, Image.Resampling.BOX if shape[0] < grey.shape[1] else 3))
    top, left = (size - small.shape[0]) // 2, (size - small.shape[1]) // 2
    out[top : top + small.shape[0], left : left + small.shape[1]] = small
    return out
