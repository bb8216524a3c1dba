"""Scans in and out: folder → Series → SliceSource; SliceSink → derived series. pydicom lives only here."""

from aegui.imaging.open import open_series
from aegui.imaging.scan import scan
from aegui.imaging.series import Geometry, Mask, Pixels, ScanResult, Series, Skipped, SliceSink, SliceSource

__all__ = [
    "Geometry",
    "Mask",
    "Pixels",
    "ScanResult",
    "Series",
    "Skipped",
    "SliceSink",
    "SliceSource",
    "open_series",
    "scan",
]
