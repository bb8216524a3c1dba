"""A source's data set made fit to be derived from: UIDs filled in, what is true of the source alone taken out."""

from __future__ import annotations

from collections.abc import Container, Iterator

from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID

from aegui import __version__
from aegui.errors import UserError
from aegui.imaging.dicom.derived.classes import class_for
from aegui.imaging.dicom.elements import text
from aegui.imaging.series import Series
from aegui.imaging.text import made_uid

# True only of the source's pixels, its encoding, its maker's signature or word, or the object it was a part of.
_DROPPED = (
    "InstanceCreatorUID",
    "IconImageSequence",
    "HistogramSequence",
    "SmallestValidPixelValue",
    "LargestValidPixelValue",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "SmallestImagePixelValueInPlane",
    "LargestImagePixelValueInPlane",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelDataProviderURL",
    "DataSetTrailingPadding",
    "ConcatenationUID",
    "SOPInstanceUIDOfConcatenationSource",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "ConcatenationFrameOffsetNumber",
    "SOPInstanceStatus",
    "SOPAuthorizationDateTime",
    "SOPAuthorizationComment",
    "AuthorizationEquipmentCertificationNumber",
)
_DEEPEST = 64
_SIGNATURES = ("DigitalSignaturesSequence", "MACParametersSequence")


def check_nesting(dataset: Dataset, name: str) -> None:
    """Refuse items within items without end: what pydicom raises on writing them takes hours to put together."""
    level = [dataset]
    for _ in range(_DEEPEST):
        level = [item for one in level for element in _sequences(one) for item in element.value]
        if not level:
            return
    raise UserError(f"The header of {name} is nested more than {_DEEPEST} levels deep.", "Leave the file out.")


def complete(dataset: Dataset, series: Series, index: int) -> None:
    """Fill in UIDs that the file lacks, as the scan did."""
    meta = dataset.file_meta
    base = series.uid.split("#")[0]
    name = series.files[0 if series.frames else index].name
    check_nesting(dataset, name)
    had_class = bool(text(dataset, "SOPClassUID"))
    if not had_class:
        named = text(meta, "MediaStorageSOPClassUID")
        dataset.SOPClassUID = UID(named or class_for(text(dataset, "Modality")))
        if "Laterality" not in dataset and "ImageLaterality" not in dataset:
            # With its class repaired the file is checked as an image, and the check asks for this.
            dataset.Laterality = ""
    if not text(dataset, "SOPInstanceUID"):
        named = text(meta, "MediaStorageSOPInstanceUID")
        dataset.SOPInstanceUID = UID(named or made_uid("instance", series.uid, index))
    if not text(dataset, "StudyInstanceUID"):
        dataset.StudyInstanceUID = UID(series.study_uid)
    if not text(dataset, "SeriesInstanceUID"):
        dataset.SeriesInstanceUID = UID(base)
    elif not f"{series.uid}#".startswith(f"{text(dataset, 'SeriesInstanceUID')}#"):
        # Another scan has taken its name since: its pixels and patient must not get into this series.
        raise UserError(f"{name} is of another series now.", "Scan the folder again.")
    if not text(dataset, "FrameOfReferenceUID") and "ImagePositionPatient" in dataset:
        dataset.FrameOfReferenceUID = UID(made_uid("frame of reference", base))


def strip(dataset: Dataset, *, private: bool) -> None:
    """Remove what a derived instance may not keep. private: keep private attributes."""
    # Some archives leave network command elements in the file, where they must not be.
    for tag in [tag for tag in dataset.keys() if tag.group in (0x0000, 0x0002)]:  # noqa: SIM118 - iterating decodes all
        del dataset[tag]
    for keyword in _DROPPED:
        if keyword in dataset:
            delattr(dataset, keyword)
    if "ContentQualification" in dataset:
        dataset.ContentQualification = "RESEARCH"
    _unsign(dataset)
    if not private:
        dataset.remove_private_tags()


def _unsign(dataset: Dataset) -> None:
    """Signatures of items are as void as those of the whole."""
    for keyword in _SIGNATURES:
        if keyword in dataset:
            delattr(dataset, keyword)
    for element in _sequences(dataset):
        for item in element.value:
            _unsign(item)


def _sequences(dataset: Dataset) -> Iterator[DataElement]:
    """Its sequences that can be read as such; pydicom leaves long ones of unknown representation as bytes."""
    return (element for element in elements_of(dataset, {"SQ"}) if element.VR == "SQ")


def elements_of(dataset: Dataset, vrs: Container[str]) -> Iterator[DataElement]:
    """The elements of these value representations. The others stay undecoded, and so are written byte for byte."""
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag)
        if raw.VR in vrs or (raw.VR in (None, "UN") and dictionary_has_tag(tag) and dictionary_VR(tag) in vrs):
            try:
                yield dataset[tag]
            except Exception:  # noqa: BLE001 - a broken element stays as it is
                continue


def new_file_meta(dataset: Dataset, syntax: UID) -> None:
    """File meta information of this program, and an empty preamble."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = syntax
    meta.ImplementationClassUID = UID(made_uid("aegui implementation"))
    meta.ImplementationVersionName = f"AEGUI_{__version__}"[:16]
    dataset.file_meta = meta
    dataset.preamble = bytes(128)
