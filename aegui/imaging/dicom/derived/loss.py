"""Compression with loss, which a derived image has to own up to for ever (PS3.3 C.7.6.1.1.5)."""

from __future__ import annotations

from pydicom.dataset import Dataset

from aegui.imaging.dicom.elements import number, text, texts, whole

_JPEG, _JPEG_LS, _JPEG_2000, _HTJ2K = "ISO_10918_1", "ISO_14495_1", "ISO_15444_1", "ISO_15444_15"
_ROOT = "1.2.840.10008.1.2.4."
_LOSSY = {
    **{f"{_ROOT}{last}": _JPEG for last in (50, 51, 52, 53, 54, 55, 56, 59, 60, 61, 62, 63, 64)},
    f"{_ROOT}81": _JPEG_LS,
    **{f"{_ROOT}{last}": _JPEG_2000 for last in (91, 93)},
    f"{_ROOT}203": _HTJ2K,
    **{f"{_ROOT}{last}": "ISO_13818_2" for last in (100, 101)},
    **{f"{_ROOT}{last}": "ISO_14496_10" for last in (102, 103, 104, 105, 106)},
    **{f"{_ROOT}{last}": "ISO_23008_2" for last in (107, 108)},
}
# With these a writer may have kept every value, and says so with "00".
_EITHER = {f"{_ROOT}{last}" for last in (81, 91, 93, 203)}


def _method_of(dataset: Dataset, syntax: str) -> str:
    """How the file itself compresses with loss (PS3.3 C.7.6.1.1.5.1), "" if it does not."""
    method = _LOSSY.get(syntax, "")
    lossless = text(dataset, "LossyImageCompression") == "00" and syntax in _EITHER
    return "" if lossless else method


def was_lossy(dataset: Dataset, syntax: str) -> bool:
    """Whether the pixels ever went through compression with loss."""
    return text(dataset, "LossyImageCompression") == "01" or bool(_method_of(dataset, syntax))


def keep_loss(dataset: Dataset, syntax: str, encoded: int) -> None:
    """Once lossy, always lossy. What the source does not say comes from its transfer syntax and encoded length."""
    if not was_lossy(dataset, syntax):
        return
    dataset.LossyImageCompression = "01"
    method = _method_of(dataset, syntax)
    if not method:
        return
    ratios = len(texts(dataset, "LossyImageCompressionRatio"))
    if not ratios and encoded > 0:
        dataset.LossyImageCompressionRatio = f"{max(1.0, _native_length(dataset) / encoded):.4g}"
        ratios = 1
    if ratios == 1 and not texts(dataset, "LossyImageCompressionMethod"):
        dataset.LossyImageCompressionMethod = method


def _native_length(dataset: Dataset) -> float:
    pixels = whole(dataset, "Rows") * whole(dataset, "Columns") * max(1, whole(dataset, "NumberOfFrames", 1))
    bits = number(dataset, "BitsAllocated") or 16
    return pixels * max(1, whole(dataset, "SamplesPerPixel", 1)) * bits / 8
