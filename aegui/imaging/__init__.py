"""Scans in and out: folder → Series → SliceSource; SliceSink → derived series. pydicom lives only here."""

from aegui.imaging import quiet as _quiet  # noqa: F401 - sets filters before anything is read
from aegui.imaging.ahead import Read, ahead, ahead_with, in_order
from aegui.imaging.behind import Behind, behind
from aegui.imaging.beside import beside
from aegui.imaging.open import open_series, open_sink
from aegui.imaging.rules import OutputRules, Provenance
from aegui.imaging.scan import scan
from aegui.imaging.series import Geometry, Mask, Pixels, ScanResult, Series, Skipped, SliceSink, SliceSource
from aegui.imaging.windows import WINDOWS, auto_window, thumbnail, window_for

__all__ = [
    "WINDOWS",
    "Behind",
    "Geometry",
    "Mask",
    "OutputRules",
    "Pixels",
    "Provenance",
    "Read",
    "ScanResult",
    "Series",
    "Skipped",
    "SliceSink",
    "SliceSource",
    "ahead",
    "ahead_with",
    "auto_window",
    "behind",
    "beside",
    "in_order",
    "open_series",
    "open_sink",
    "scan",
    "thumbnail",
    "window_for",
]
