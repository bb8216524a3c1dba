"""What a derived data set says of its origin: image type, derivation, equipment, dates."""

from __future__ import annotations

import datetime
import re
from typing import NamedTuple

from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import (
    UID,
    EnhancedUSVolumeStorage,
    NuclearMedicineImageStorage,
    PositronEmissionTomographyImageStorage,
)

from aegui import __version__
from aegui.imaging.dicom.derived.classes import FOUR_VALUES, FRAME_GROUPS, SHARED_GROUPS, is_enhanced
from aegui.imaging.dicom.elements import text, texts
from aegui.imaging.rules import Provenance

_SHORT_TEXT, _LONG_STRING = 1024, 64

# CID 7203 (Image Derivation) has no term for denoising, and none for what it removes.
_SCHEME = "99AEGUI"
DENOISED = Code("DENOISED", _SCHEME, "Denoised by a neural network")
REMOVED_NOISE = Code("NOISE", _SCHEME, "Noise removed by a neural network")

# How an enhanced MR image was acquired: demanded of originals, and by the common checker allowed for them alone.
_OF_ORIGINALS = (
    "PulseSequenceName",
    "MRAcquisitionType",
    "EchoPulseSequence",
    "MultiPlanarExcitation",
    "PhaseContrast",
    "TimeOfFlightContrast",
    "SteadyStatePulseSequence",
    "EchoPlanarPulseSequence",
    "SaturationRecovery",
    "SpectrallySelectedSuppression",
    "OversamplingPhase",
    "GeometryOfKSpaceTraversal",
    "RectilinearPhaseEncodeReordering",
    "SegmentedKSpaceTraversal",
    "CoverageOfKSpace",
    "NumberOfKSpaceTrajectories",
    "BulkMotionCompensationTechnique",
)
_OFFSET = re.compile(r"([+-])(\d\d)(\d\d)")


class Reference(NamedTuple):
    """The source instance. frames: numbers from 0 of those used, empty for a single-frame image.

    volume: which part of its frames this is, from 1; 0 for all.
    """

    sop_class: str
    sop_uid: str
    series_uid: str
    frames: tuple[int, ...] = ()
    volume: int = 0

    @property
    def legal(self) -> bool:
        """Whether the UID may stand in a reference; some archives make theirs below a root that none may."""
        return UID(self.sop_uid).is_valid and self.sop_uid.startswith(("1.", "2."))


def set_image_type(dataset: Dataset, *, noise: bool = False) -> None:
    """DERIVED, in Image Type and every Frame Type; values 3 … n stay."""
    if is_enhanced(dataset):
        four = text(dataset, "SOPClassUID") in FOUR_VALUES
        dataset.ImageType = _enhanced_type(texts(dataset, "ImageType"), noise, four)
        for keyword in _OF_ORIGINALS if text(dataset, "Modality") == "MR" else ():
            if keyword in dataset:
                delattr(dataset, keyword)
        for item in _groups_of(dataset):
            if "FrameType" in item:
                item.FrameType = _enhanced_type(texts(item, "FrameType"), noise, four)
        return
    sop_class = text(dataset, "SOPClassUID")
    # PET and NM allow no other value 2.
    nuclear = sop_class in (PositronEmissionTomographyImageStorage, NuclearMedicineImageStorage)
    second = "PRIMARY" if nuclear or text(dataset, "Modality") in ("PT", "NM") else "SECONDARY"
    rest = list(texts(dataset, "ImageType")[2:])
    dataset.ImageType = ["DERIVED", second, *rest, *(["NOISE"] if noise and rest else [])]


def _enhanced_type(values: tuple[str, ...], noise: bool, four: bool) -> list[str]:
    """The fourth value tells how pixels were made (PS3.3 C.8.16.1.4), NONE being for originals only."""
    rest = [*values[2:]]
    if four:
        flavor = rest[0] if rest and rest[0] else "VOLUME"
        contrast = rest[1] if len(rest) > 1 and rest[1] != "NONE" else ""
        rest = [flavor, "SUBTRACTION" if noise else contrast or "FILTERED", *rest[2:]]
    return ["DERIVED", "PRIMARY", *rest]


def _groups_of(dataset: Dataset) -> list[Dataset]:
    """Every functional group of the whole object and of its frames."""
    found: list[Dataset] = []
    for groups in (SHARED_GROUPS, FRAME_GROUPS):
        for item in dataset.get(groups) or ():
            found += [sub for element in item if element.VR == "SQ" for sub in element.value]
    return found


def set_rescale_intercept_zero(dataset: Dataset) -> None:
    """Values are differences: an intercept would cancel."""
    for item in [dataset, *_groups_of(dataset)]:
        if "RescaleIntercept" in item:
            item.RescaleIntercept = 0


def set_derivation(dataset: Dataset, words: str, code: Code, source: Reference) -> None:
    """Derivation Description and Code, Source Image Sequence: in each frame's functional group, or in the image."""
    if not source.legal:
        words = f"{words}; source instance {source.sop_uid}"
    frames = list(dataset.get(FRAME_GROUPS) or ()) if is_enhanced(dataset) else []
    if not frames:
        _append_derivation(dataset, words, code)
        if source.legal:
            dataset.add_new("SourceImageSequence", "SQ", [_source(source, source.frames if source.volume else ())])
    else:
        _shared_derivation_to_frames(dataset, frames)
        for i, item in enumerate(frames):
            step = Dataset()
            _append_derivation(step, words, code)
            if source.legal:
                step.add_new("SourceImageSequence", "SQ", [_source(source, source.frames[i : i + 1])])
            item.add_new("DerivationImageSequence", "SQ", [*_items(item, "DerivationImageSequence"), step])
        if source.legal:
            _add_evidence(dataset, source)
        if source.legal and text(dataset, "SOPClassUID") == EnhancedUSVolumeStorage:
            dataset.add_new("SourceImageSequence", "SQ", [_source(source, source.frames)])  # its module asks for it too
    _identify_scheme(dataset)


def _add_evidence(dataset: Dataset, source: Reference) -> None:
    """Where the images that functional groups refer to lie, as enhanced objects must tell."""
    image = Dataset()
    image.ReferencedSOPClassUID = UID(source.sop_class)
    image.ReferencedSOPInstanceUID = UID(source.sop_uid)
    series = Dataset()
    series.SeriesInstanceUID = UID(source.series_uid)
    series.ReferencedSOPSequence = Sequence([image])
    study = Dataset()
    study.StudyInstanceUID = UID(text(dataset, "StudyInstanceUID"))
    study.ReferencedSeriesSequence = Sequence([series])
    earlier = _items(dataset, "SourceImageEvidenceSequence")
    dataset.add_new("SourceImageEvidenceSequence", "SQ", [*earlier, study])


def _shared_derivation_to_frames(dataset: Dataset, frames: list[Dataset]) -> None:
    """A functional group is either shared or of each frame, never both."""
    for shared in list(dataset.get(SHARED_GROUPS) or ())[:1]:
        earlier = _items(shared, "DerivationImageSequence")
        if "DerivationImageSequence" in shared:
            del shared.DerivationImageSequence
        for item in frames if earlier else ():
            item.add_new("DerivationImageSequence", "SQ", [*earlier, *_items(item, "DerivationImageSequence")])


def _append_derivation(item: Dataset, words: str, code: Code) -> None:
    """Successive steps stand one after another."""
    words = ascii_text(words)
    before = text(item, "DerivationDescription")
    room = _SHORT_TEXT - len(words) - 2
    item.DerivationDescription = f"{before[:room]}; {words}" if before and room > 0 else words[:_SHORT_TEXT]
    item.add_new("DerivationCodeSequence", "SQ", [*_items(item, "DerivationCodeSequence"), _coded(code)])


def _items(dataset: Dataset, keyword: str) -> list[Dataset]:
    """The items of a sequence; none where a damaged header gives it another value representation."""
    return list(dataset[keyword].value or ()) if keyword in dataset and dataset[keyword].VR == "SQ" else []


def _source(source: Reference, frames: tuple[int, ...]) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = UID(source.sop_class)
    item.ReferencedSOPInstanceUID = UID(source.sop_uid)
    if frames:
        item.ReferencedFrameNumber = [frame + 1 for frame in frames]
    item.PurposeOfReferenceCodeSequence = Sequence([_coded(codes.DCM.SourceImageForImageProcessingOperation)])
    item.SpatialLocationsPreserved = "YES"
    return item


def _coded(code: Code) -> Dataset:
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return item


def _identify_scheme(dataset: Dataset) -> None:
    known = _items(dataset, "CodingSchemeIdentificationSequence")
    if any(text(item, "CodingSchemeDesignator") == _SCHEME for item in known):
        return
    item = Dataset()
    item.CodingSchemeDesignator = _SCHEME
    item.CodingSchemeName = "Local codes of aegui"
    item.CodingSchemeResponsibleOrganization = "aegui"
    dataset.add_new("CodingSchemeIdentificationSequence", "SQ", [*known, item])


def ascii_text(words: str) -> str:
    """Text that any Specific Character Set can hold, on one line."""
    return " ".join(words.encode("ascii", "replace").decode().split())


def add_equipment(dataset: Dataset, words: str, origin: Provenance) -> None:
    """This program, with its version and the model's, as Processing Equipment; earlier equipment stays."""
    now = _now(dataset)
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = Sequence([_coded(codes.DCM.ProcessingEquipment)])
    item.Manufacturer = "aegui"
    item.ManufacturerModelName = "aegui"
    model = " ".join(word for word in (origin.model, origin.model_version) if word)
    # The hash fills a value with its 64 digits: last, with the space that makes the length even, it would be too long.
    versions = [__version__, f"model {model}" if model else "", origin.weights, f"{origin.engine} {origin.precision}"]
    item.SoftwareVersions = [_value(version) for version in versions if version]
    item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    title = f" ({origin.title})" if origin.title else ""
    weights = f"; weights SHA-256 {origin.weights}" if origin.weights else ""
    item.ContributionDescription = ascii_text(f"{words}{title}{weights}")[:_SHORT_TEXT]
    dataset.add_new("ContributingEquipmentSequence", "SQ", [*_items(dataset, "ContributingEquipmentSequence"), item])


def _value(words: str) -> str:
    """One value of a multi-valued Long String."""
    return ascii_text(words).replace("\\", "/")[:_LONG_STRING]


def set_dates(dataset: Dataset) -> None:
    """When the instance and its content were made. Series and acquisition times stay: PET decay hangs on them."""
    now = _now(dataset)
    for what in ("InstanceCreation", "Content"):
        setattr(dataset, f"{what}Date", now.strftime("%Y%m%d"))
        setattr(dataset, f"{what}Time", now.strftime("%H%M%S"))


def _now(dataset: Dataset) -> datetime.datetime:
    """The time, in the time zone the data set says its times are in."""
    match = _OFFSET.fullmatch(text(dataset, "TimezoneOffsetFromUTC"))
    if not match:
        return datetime.datetime.now()
    minutes = int(match[2]) * 60 + int(match[3])
    offset = datetime.timedelta(minutes=minutes if match[1] == "+" else -minutes)
    return datetime.datetime.now(datetime.UTC) + offset
