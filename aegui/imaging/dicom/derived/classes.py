"""What SOP classes mean for derived images: which have functional groups, which hold no colours or no signs."""

from __future__ import annotations

from pydicom.dataset import Dataset
from pydicom.uid import (
    UID,
    ComputedRadiographyImageStorage,
    CTImageStorage,
    DigitalXRayImageStorageForPresentation,
    EnhancedCTImageStorage,
    EnhancedMRColorImageStorage,
    EnhancedMRImageStorage,
    EnhancedPETImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
    MRImageStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
    SecondaryCaptureImageStorage,
    UltrasoundImageStorage,
)

from aegui.imaging.dicom.elements import text

SHARED_GROUPS, FRAME_GROUPS = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
LEGACY = {
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    LegacyConvertedEnhancedPETImageStorage,
}
# Enhanced CT, MR and PET, whose Image Type has four values (PS3.3 C.8.16.1).
FOUR_VALUES = LEGACY | {
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedMRColorImageStorage,
    EnhancedPETImageStorage,
}
# For files that name no SOP class.
_OF_MODALITY = {
    "CT": CTImageStorage,
    "MR": MRImageStorage,
    "US": UltrasoundImageStorage,
    "CR": ComputedRadiographyImageStorage,
    "DX": DigitalXRayImageStorageForPresentation,
    "NM": NuclearMedicineImageStorage,
    "PT": PositronEmissionTomographyImageStorage,
}
# Families of classes below this root. Unsigned: DX, mammography, intra-oral, ultrasound, angiography, fluoroscopy.
# Coloured: ultrasound, secondary capture, visible light.
_STORAGE = "1.2.840.10008.5.1.4.1.1."
_UNSIGNED = ("1.1", "1.2", "1.3", "3", "6", "12", "13")
_COLOURED = ("3", "6", "7", "77")


def class_for(modality: str) -> UID:
    """The class of a single-frame image of this modality."""
    return _OF_MODALITY.get(modality, SecondaryCaptureImageStorage)


def unsigned_only(sop_class: str) -> bool:
    """Whether images of this class cannot hold negative values, so that their noise becomes a Secondary Capture."""
    return _is_one_of(sop_class, _UNSIGNED)


def may_be_coloured(sop_class: str) -> bool:
    """Whether images of this class may hold RGB."""
    return _is_one_of(sop_class, _COLOURED)


def is_enhanced(dataset: Dataset) -> bool:
    """Whether frames are described by functional groups, or should be."""
    grouped = SHARED_GROUPS in dataset or FRAME_GROUPS in dataset
    return grouped or text(dataset, "SOPClassUID") in FOUR_VALUES


def _is_one_of(sop_class: str, families: tuple[str, ...]) -> bool:
    kind = sop_class.removeprefix(_STORAGE)
    return any(kind == family or kind.startswith(f"{family}.") for family in families)
