"""What a data set says where its pixels are the removed noise."""

from __future__ import annotations

from pathlib import Path

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage

from aegui.imaging.dicom.derived.classes import FRAME_GROUPS, SHARED_GROUPS, unsigned_only
from aegui.imaging.dicom.derived.pixeldata import describe_pixels, set_extremes, set_native
from aegui.imaging.dicom.derived.provenance import set_rescale_intercept_zero
from aegui.imaging.dicom.elements import text

KIND = "noise"
# True of the source's values, not of differences between them.
_DROPPED = (
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "WindowCenter",
    "WindowWidth",
    "WindowCenterWidthExplanation",
    "VOILUTFunction",
    "VOILUTSequence",
    "RealWorldValueMappingSequence",
)


def turn_into_noise(dataset: Dataset) -> None:
    """Take away what describes the source's values; signed differences have the source's slope and intercept 0."""
    _drop(dataset)
    if unsigned_only(text(dataset, "SOPClassUID")):
        dataset.SOPClassUID = SecondaryCaptureImageStorage
        dataset.ConversionType = "WSD"
    set_rescale_intercept_zero(dataset)
    for tag in [tag for tag in dataset.keys() if 0x6000 <= tag.group <= 0x60FF]:  # noqa: SIM118 - iterating decodes all
        del dataset[tag]


def _drop(dataset: Dataset) -> None:
    for keyword in _DROPPED:
        if keyword in dataset:
            delattr(dataset, keyword)
    for groups in (SHARED_GROUPS, FRAME_GROUPS):
        for item in dataset.get(groups) or ():
            for keyword in ("FrameVOILUTSequence", "RealWorldValueMappingSequence"):
                if keyword in item:
                    delattr(item, keyword)


def widen(path: Path) -> None:
    """Rewrite a single-frame file with 32 bits, as its neighbours need them."""
    dataset = pydicom.dcmread(path)
    values = dataset.pixel_array.astype("<i4")
    if dataset.file_meta.TransferSyntaxUID.is_compressed:
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    describe_pixels(dataset, values, bits=32)
    set_extremes(dataset, [values])
    set_native(dataset, [values])
    dataset.save_as(path, enforce_file_format=True)
