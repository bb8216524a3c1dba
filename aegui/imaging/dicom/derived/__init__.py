"""Derived DICOM series, as a PACS keeps them beside their originals."""

from aegui.imaging.dicom.derived.sink import DicomSink

__all__ = ["DicomSink"]
