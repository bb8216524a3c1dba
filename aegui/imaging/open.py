"""A series → its slices."""

from __future__ import annotations

from aegui.errors import UserError
from aegui.imaging.images import ImageSource
from aegui.imaging.pixels import DicomSource
from aegui.imaging.series import Series, SliceSource
from aegui.imaging.volumes import VolumeSource


def open_series(series: Series) -> SliceSource:
    """Open a series for reading, one slice at a time. Close it after use."""
    if series.treat == "list":
        raise UserError(f"{series.description or series.modality} cannot be opened. {series.reason}")
    missing = next((file for file in series.files if not file.is_file()), None)
    if missing is not None:
        raise UserError(f"{missing.name} is no longer there.", "Scan the folder again.")
    if series.form == "dicom":
        return DicomSource(series)
    return VolumeSource(series) if series.form == "volume" else ImageSource(series)
