"""De-identification by the Basic Application Level Confidentiality Profile (DICOM PS3.15 Annex E), without options.

The table of attributes (E.1-1, edition 2026c) comes from Kitware's dicom-anonymizer; the walk is ours, because
that package passes by attributes in sequences and keeps dates that the profile removes.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from uuid import NAMESPACE_OID, uuid5

from pydicom.datadict import dictionary_has_tag, dictionary_keyword, dictionary_VR, repeater_has_tag
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import BaseTag
from pydicom.uid import UID, UID_dictionary

from aegui.imaging.dicom.elements import text

METHOD = "DICOM PS3.15 Annex E Basic Profile"
_CODE = ("113100", "DCM", "Basic Application Confidentiality Profile")

# Columns of the table in the package, and the words of the standard for them.
_COLUMNS = {
    "X_TAGS": "X",
    "Z_TAGS": "Z",
    "D_TAGS": "D",
    "U_TAGS": "U",
    "Z_D_TAGS": "Z/D",
    "X_Z_TAGS": "X/Z",
    "X_D_TAGS": "X/D",
    "X_Z_D_TAGS": "X/Z/D",
    "X_Z_U_STAR_TAGS": "X/Z/U*",
}
# The table forgets them, but they say what it removes: birth and death in another calendar, weight over squared size,
# free text of content items.
_BEYOND = {0x00100033: "X", 0x00100034: "X", 0x00100035: "X", 0x00101022: "X", 0x0040A160: "D"}
# "X unless Z or D is required to maintain IOD conformance": what the modules of PS3.3 require, by kind of object.
_REQUIRED: Mapping[str, Mapping[str, str]] = {
    "any": {"AcquisitionContextSequence": "Z", "PatientSexNeutered": "Z", "InstructionPerformedDateTime": "D"},
    "PT": {"SeriesDate": "D", "SeriesTime": "D", "AcquisitionDate": "Z", "AcquisitionTime": "Z"},
    "enhanced": {
        **dict.fromkeys(("ContentDate", "ContentTime", "AcquisitionDateTime"), "D"),
        **dict.fromkeys(("StartAcquisitionDateTime", "EndAcquisitionDateTime"), "D"),
        **dict.fromkeys(("DeviceSerialNumber", "ProtocolName", "ReferencedPerformedProcedureStepSequence"), "D"),
        # Type 1 in the Enhanced PET Isotope module, although the table says X.
        **dict.fromkeys(("RadiopharmaceuticalStartDateTime", "RadiopharmaceuticalStopDateTime"), "D"),
    },
}
_PET = "1.2.840.10008.5.1.4.1.1.128"
# UIDs that name a definition, not an instance.
_DEFINITION = re.compile(r"SOPClass|TransferSyntax|CodingSchemeUID|ContextUID|MappingResource")

_DUMMY_DATE, _DUMMY_TIME = "19000101", "000000"
_DUMMIES: Mapping[str, object] = {
    "DA": _DUMMY_DATE,
    "TM": _DUMMY_TIME,
    "DT": _DUMMY_DATE + _DUMMY_TIME,
    "AS": "000Y",
    "UR": "http://removed.invalid",
    **dict.fromkeys(("AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UT"), "REMOVED"),
    **dict.fromkeys(("DS", "IS"), "0"),
    **dict.fromkeys(("FD", "FL"), 0.0),
    **dict.fromkeys(("SS", "US", "SL", "UL", "SV", "UV", "AT"), 0),
    **dict.fromkeys(("OB", "OD", "OF", "OL", "OV", "OW", "UN"), bytes(8)),
}

# Pixels that often carry text: ultrasound, secondary capture, angiography and fluoroscopy, visible light.
_OFTEN_BURNED_IN = tuple(
    f"1.2.840.10008.5.1.4.1.1.{tail}" for tail in ("3", "6", "7", "12.1", "12.2", "12.3", "77", "12.77")
)
_BURNED_IN_MODALITIES = {"US", "XA", "RF", "SC", "OT", "ES", "XC", "GM", "SM", "OP", "IVUS", "ECG", "HC", "DG"}


@lru_cache(maxsize=1)
def table() -> Mapping[int, str]:
    """Table E.1-1 and a little more: tag → action. Without private attributes and repeating groups: all go."""
    from dicomanonymizer.dicom_anonymization_databases import dicomfields_2026c as fields

    listed = {
        tag[0] << 16 | tag[1]: action
        for column, action in _COLUMNS.items()
        for tag in getattr(fields, column)
        if len(tag) == 2
    }
    return {**_BEYOND, **listed}


class Deidentifier:
    """Takes out of datasets who the patient is, the same way for all datasets of a batch.

    salt: what new UIDs are made from beside the old ones; keep it secret where old UIDs may be guessed.
    label: the patient's new name and ID.
    """

    def __init__(self, salt: str, label: str) -> None:
        self._salt = salt
        self._label = label

    def uid(self, source_uid: str) -> str:
        """The UID that stands for `source_uid`; those that the standard defines stay."""
        if not source_uid or source_uid in UID_dictionary:
            return source_uid
        return f"2.25.{uuid5(NAMESPACE_OID, f'{self._salt}/{source_uid}').int}"

    def apply(self, dataset: Dataset) -> None:
        """De-identify in place, with everything that lies in sequences and in the file meta, and say so."""
        _Walk(self, self._label, _kind(dataset)).items(dataset)
        if getattr(dataset, "file_meta", None) is not None:
            dataset.file_meta = self._meta(dataset.file_meta)
        dataset.preamble = bytes(128)
        dataset.PatientName = self._label
        dataset.PatientID = self._label
        dataset.PatientIdentityRemoved = "YES"
        dataset.DeidentificationMethod = METHOD
        code = Dataset()
        code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = _CODE
        dataset.DeidentificationMethodCodeSequence = Sequence([code])
        dataset.LongitudinalTemporalInformationModified = "REMOVED"

    def _meta(self, meta: FileMetaDataset) -> FileMetaDataset:
        new = FileMetaDataset()
        for keyword in ("MediaStorageSOPClassUID", "TransferSyntaxUID"):
            if keyword in meta:
                setattr(new, keyword, meta[keyword].value)
        if uid := text(meta, "MediaStorageSOPInstanceUID"):
            new.MediaStorageSOPInstanceUID = UID(self.uid(uid))
        return new


def burned_in(dataset: Dataset) -> bool:
    """Whether text may be burned into the pixels, which no attribute can take out."""
    said = text(dataset, "BurnedInAnnotation").upper()
    if said in ("YES", "NO"):
        return said == "YES"
    sop_class = text(dataset, "SOPClassUID")
    often = any(sop_class == root or sop_class.startswith(root + ".") for root in _OFTEN_BURNED_IN)
    return often or text(dataset, "Modality").upper() in _BURNED_IN_MODALITIES or "ConversionType" in dataset


def _kind(dataset: Dataset) -> str:
    sop_class = UID(text(dataset, "SOPClassUID"))
    if "SharedFunctionalGroupsSequence" in dataset or "Enhanced" in sop_class.name:
        return "enhanced"
    return "PT" if sop_class == _PET or text(dataset, "Modality") == "PT" else "classic"


class _Walk:
    """One dataset being de-identified. kind: which of the rows above apply to it."""

    def __init__(self, owner: Deidentifier, label: str, kind: str) -> None:
        self._owner = owner
        self._label = label
        self._kind = kind

    def items(self, dataset: Dataset, nested: bool = False, replace: bool = False) -> None:
        """All elements of a dataset or item. replace: a dummy for every value, as D means for a sequence."""
        for tag in [BaseTag(tag) for tag in dataset.keys()]:  # noqa: SIM118 - iteration decodes
            action = self._action(tag, nested)
            if action == "X":
                del dataset[tag]
                continue
            try:
                self._act(dataset, tag, "D" if replace and action != "Z" else action)
            except Exception:  # noqa: BLE001 - what cannot be decoded cannot be cleaned
                del dataset[tag]

    def _action(self, tag: BaseTag, nested: bool) -> str:
        """X, Z, D, U, or "" for attributes that stay."""
        if tag.is_private or tag.group < 0x0008 or tag.group >> 8 in (0x50, 0x60):
            # With its data gone, nothing of an overlay or curve may stay.
            return "X"
        action = table().get(int(tag))
        if action is None:
            return "" if dictionary_has_tag(tag) or repeater_has_tag(tag) else "X"
        keyword = dictionary_keyword(tag) if dictionary_has_tag(tag) else ""
        required = _REQUIRED.get(self._kind, {}).get(keyword) or _REQUIRED["any"].get(keyword)
        if required:
            return required
        # Source Image and Referenced Image Sequence are Type 2 in functional groups, Type 3 at the top.
        return "Z" if action == "X/Z/U*" and nested else action.split("/")[0]

    def _act(self, dataset: Dataset, tag: BaseTag, action: str) -> None:
        raw = dataset.get_item(tag)
        vr = raw.VR if raw is not None else None
        if vr in (None, "UN") and dictionary_has_tag(tag):
            vr = dictionary_VR(tag)
        if not action and vr not in ("SQ", "UI", "PN", "UN"):
            return
        element = dataset[tag]
        if element.keyword in ("PatientName", "PatientID"):
            element.value = self._label
        elif action == "Z" or (not action and vr in ("PN", "UN")):
            element.clear()
        elif element.VR == "SQ":
            for item in element.value:
                self.items(item, nested=True, replace=action == "D")
        elif element.VR == "UI":
            if not _DEFINITION.search(element.keyword):
                element.value = [UID(self._owner.uid(str(uid))) for uid in _values(element)]
        elif action:
            dummy = _DUMMIES[str(element.VR)]
            element.value = [dummy] * element.VM if element.VM > 1 else dummy


def _values(element: DataElement) -> list[object]:
    if element.VM == 0:
        return []
    return list(element.value) if element.VM > 1 else [element.value]
