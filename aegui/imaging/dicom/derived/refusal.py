"""What cannot be written as derived DICOM, and why."""

from __future__ import annotations

from pydicom.dataset import Dataset

from aegui.imaging.dicom.derived.classes import (
    FRAME_GROUPS,
    LEGACY,
    SHARED_GROUPS,
    is_enhanced,
    may_be_coloured,
    unsigned_only,
)
from aegui.imaging.dicom.elements import text, whole
from aegui.imaging.rules import OutputRules
from aegui.imaging.series import Series


def refusal(series: Series, header: Dataset, rules: OutputRules) -> str:
    """Why a series with such a header is not written; "" if it is."""
    if whole(header, "BitsAllocated", 16) == 1 or whole(header, "BitsStored", 16) == 1:
        return "One-bit images have no noise to remove and are not written."
    if text(header, "SOPClassUID") in LEGACY and _conversion_sources_missing(header):
        return "This legacy-converted file does not name the images it was converted from, so no valid one can follow."
    if series.mosaic and (rules.private_tags == "drop" or rules.deidentify):
        return "A mosaic's slices lie in private attributes; without them it cannot be read."
    sop_class = text(header, "SOPClassUID") or text(header.file_meta, "MediaStorageSOPClassUID")
    if series.channels == 3:
        return _colour_refusal(header, sop_class, rules)
    if rules.noise_series and series.frames and unsigned_only(sop_class):
        return "Its removed noise has negative values, for which DICOM has no multi-frame image of this kind."
    return ""


def _colour_refusal(header: Dataset, sop_class: str, rules: OutputRules) -> str:
    if rules.noise_series:
        return "The removed noise is kept of grey images only."
    palette = text(header, "PhotometricInterpretation").upper() == "PALETTE COLOR"
    if is_enhanced(header) or (palette and not may_be_coloured(sop_class)):
        return "Images of this kind hold no RGB colours, which is what denoised colours are written in."
    return ""


def _conversion_sources_missing(header: Dataset) -> bool:
    """Whether a legacy-converted object lacks what its class demands of every frame."""
    shared = next(iter(header.get(SHARED_GROUPS) or ()), Dataset())
    each = list(header.get(FRAME_GROUPS) or ())
    keyword = "ConversionSourceAttributesSequence"
    return not shared.get(keyword) and not (each and all(item.get(keyword) for item in each))
