"""A series → its slices, and its slices → a derived series."""

from __future__ import annotations

from pathlib import Path

from aegui.errors import UserError
from aegui.imaging.dicom.derived import DicomSink
from aegui.imaging.dicom.pixels import DicomSource
from aegui.imaging.files.formats.layout import PALETTE
from aegui.imaging.files.images import ImageSource
from aegui.imaging.files.sink_images import ImageSink, PngSink
from aegui.imaging.files.sink_volumes import SUFFIXES, StackSink, VolumeSink
from aegui.imaging.files.volumes import VolumeSource
from aegui.imaging.rules import OutputRules, Provenance
from aegui.imaging.series import Series, SliceSink, SliceSource


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


def open_sink(source: SliceSource, folder: Path, rules: OutputRules, origin: Provenance) -> SliceSink:
    """A derived series of `source`, to be written below `folder`. UserError where that cannot be."""
    format = rules.format
    series = source.series
    if series.treat != "denoise":
        raise UserError(f"{series.description or series.modality} is not denoised. {series.reason}")
    _refuse_unread(source)
    if format in SUFFIXES:
        return StackSink(source, folder, rules, origin)
    if format == "png":
        return PngSink(source, folder, rules, origin)
    if isinstance(source, DicomSource):
        return DicomSink(source, folder, rules, origin)
    if format == "dicom":
        raise UserError(
            f"{series.files[0].name} is not DICOM and has no patient or study, so it cannot become DICOM.",
            "Choose the same format.",
        )
    if isinstance(source, VolumeSource):
        return VolumeSink(source, folder, rules, origin)
    if isinstance(source, ImageSource):
        return ImageSink(source, folder, rules, origin)
    raise TypeError(f"No sink for {type(source).__name__}")


def _refuse_unread(source: SliceSource) -> None:
    """UserError where the values are not the picture's own, which only someone who insists comes to."""
    series = source.series
    if series.channels == 1 and series.reason == PALETTE:
        raise UserError(f"{series.description} holds numbers of palette colours, which have no noise to remove.")
    if isinstance(source, DicomSource) and source.header(0).get("ModalityLUTSequence"):
        raise UserError(
            f"{series.description or series.modality} is not written. Its values go through a look-up table, which "
            "cannot be turned back.",
            "Leave it out.",
        )
    if isinstance(source, ImageSource) and source.partial:
        raise UserError(f"{series.description}: only 8 of its 16 bits are read, so it is not written.")
