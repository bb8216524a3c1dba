"""Derived DICOM series, as a PACS keeps them beside their originals."""

from aegui.imaging.derived.sink import DicomSink

__all__ = ["DicomSink"]
