"""One DICOM file → what scanning needs to know of it, or why it is no image."""

from __future__ import annotations

import os
import struct
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.uid import UID, DeflatedExplicitVRLittleEndian

from aegui.imaging.dicom import dicomdir, kinds
from aegui.imaging.dicom.deflate import unpacked
from aegui.imaging.dicom.elements import (
    BIG_ENDIAN,
    Elements,
    floats,
    number,
    read_elements,
    shown,
    tag_of,
    text,
    texts,
    whole,
)
from aegui.imaging.dicom.frames import Frames, frames_of
from aegui.imaging.series import Skipped, Vector
from aegui.imaging.text import digest

# What becomes a field of its own, and what is kept as it is for whoever asks by keyword.
_FIELDS = (
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyDate",
    "SeriesDate",
    "Modality",
    "SeriesDescription",
    "PatientID",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsStored",
)
KEPT = (
    "BitsAllocated",
    "PixelRepresentation",
    "BodyPartExamined",
    # what tells repeats of one position apart
    "EchoTime",
    "EchoNumbers",
    "InversionTime",
    "FlipAngle",
    "SequenceName",
    "ComplexImageComponent",
    "DiffusionBValue",
    "DiffusionGradientOrientation",
    "TemporalPositionIdentifier",
    "TemporalPositionIndex",
    "TriggerTime",
    "NominalCardiacTriggerDelayTime",
    "FrameReferenceTime",
    "AcquisitionNumber",
    "AcquisitionDate",
    "AcquisitionTime",
    "SeriesTime",
    "0019100C",  # b-value of Siemens
    "20011003",  # of Philips
    "00431039",  # of GE
    "0043102F",  # magnitude, phase, real or imaginary, of GE
    # how the series was taken
    "KVP",
    "Exposure",
    "ExposureInuAs",
    "XRayTubeCurrent",
    "CTDIvol",
    "ConvolutionKernel",
    "GantryDetectorTilt",
    "SliceThickness",
    "SpacingBetweenSlices",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "SequenceOfUltrasoundRegions",
    "RepetitionTime",
    "MagneticFieldStrength",
    "NumberOfAverages",
    "CardiacNumberOfImages",
    "ContrastBolusAgent",
    "Manufacturer",
    "ManufacturerModelName",
    "ProtocolName",
    # what its values are, and what may be done with them
    "RescaleType",
    "RescaleSlope",
    "RescaleIntercept",
    "Units",
    "SUVType",
    "DecayCorrection",
    "CorrectedImage",
    "PatientWeight",
    "RadiopharmaceuticalInformationSequence",
    "RealWorldValueMappingSequence",
    "ModalityLUTSequence",
    "PresentationIntentType",
    "UltrasoundColorDataPresent",
    "LossyImageCompression",
    "BurnedInAnnotation",
    "ContributingEquipmentSequence",
)
_PLACE = {keyword: place for place, keyword in enumerate(KEPT)}
_SEQUENCES = tuple(keyword for keyword in KEPT if keyword.endswith("Sequence") or keyword.startswith("SequenceOf"))
_GROUPS = ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence")
_TAGS = frozenset(tag_of(keyword) for keyword in (*_FIELDS, *KEPT, *_GROUPS))
_LONGEST = 64  # numbers or characters of an element within a sequence; longer ones are tables and prose

_PIXEL_TAGS = {b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00", b"\xe0\x7f\x10\x00"}
_BIG_PIXEL_TAGS = {b"\x7f\xe0\x00\x08", b"\x7f\xe0\x00\x09", b"\x7f\xe0\x00\x10"}
_VIDEO = "1.2.840.10008.1.2.4.10"  # MPEG and HEVC: one fragment holds many frames
_LARGEST_FRAME = 1 << 30  # bytes
_MOST_FRAMES = 10**9 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """What scanning keeps of one DICOM file.

    patient: a digest of the Patient ID, "" where there is none. several: what its frames or tiles are, None where
    the file holds one slice. kept: further elements, to be asked for by keyword. repaired: UIDs that the data set
    lacks, by name of the place they come from.
    """

    file: Path = Path()
    size: int
    sop_class: str
    sop_uid: str
    series_uid: str
    study_uid: str
    patient: str
    study_date: str
    modality: str
    description: str
    number: int | None
    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    bits: int
    spacing: tuple[float, float] | None
    orientation: tuple[float, ...] | None
    position: Vector | None
    image_type: tuple[str, ...]
    repaired: bool
    kept: tuple[Any, ...]
    several: Frames | None = None

    def get(self, keyword: str) -> Any:
        """An element as text, number or list, a sequence as a list of such mappings; None when absent, or not kept."""
        place = _PLACE.get(keyword)
        if place is not None:
            return self.kept[place]
        match keyword:
            case "ImageType":
                return list(self.image_type)
            case "PhotometricInterpretation":
                return self.photometric
            case "Modality":
                return self.modality
            case "PixelSpacing":
                return self.spacing
        return None

    def __contains__(self, keyword: str) -> bool:
        return self.get(keyword) not in (None, "", [])


def read_dataset(path: Path, *, pixels: bool = True) -> Dataset:
    """The dataset, its file meta completed when the file has none."""
    deflated = unpacked(path)
    dataset = pydicom.dcmread(deflated or path, stop_before_pixels=not pixels, force=True)
    if deflated:
        dataset.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    _complete_meta(dataset)
    return dataset


def _complete_meta(dataset: Dataset) -> None:
    meta = dataset.file_meta
    if not meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        uid = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else BIG_ENDIAN
        meta.TransferSyntaxUID = UID(uid)


def read_header(path: Path) -> Header | Skipped:
    """Read only what scanning needs, and see whether the pixels are all there."""
    try:
        with path.open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            meta, found = read_elements(file, size, _TAGS, whole_when=_is_several)
            problem = _pixel_problem(file, found, text(meta, "TransferSyntaxUID"))
    except Exception as error:  # noqa: BLE001 - any broken file is listed, the rest goes on
        # pydicom raises OSErrors of its own, which tell of the file and not of the drive.
        if isinstance(error, OSError) and error.strerror:
            return Skipped(path, f"Cannot be read: {error.strerror}.", damaged=True)
        return Skipped(path, "Damaged DICOM file: its header cannot be read.", damaged=True)
    return _to_header(path, size, found, meta, problem)


def _is_several(found: Elements) -> bool:
    """Whether one file holds several slices, as frames or as the tiles of a mosaic."""
    if _frame_count(found) > 1 or "MOSAIC" in texts(found, "ImageType"):
        return True
    return any(keyword in found for keyword in _GROUPS)


def _to_header(path: Path, size: int, found: Elements, meta: Elements, problem: str) -> Header | Skipped:
    sop_class = text(found, "SOPClassUID")
    sop_uid = text(found, "SOPInstanceUID")
    meta_class = text(meta, "MediaStorageSOPClassUID")
    meta_uid = text(meta, "MediaStorageSOPInstanceUID")
    modality = shown(found, "Modality").upper()
    if dicomdir.CLASS in (sop_class, meta_class):
        return Skipped(path, dicomdir.summary(path))
    if problem == "none":
        known = bool(sop_class or meta_class or modality)
        reason = kinds.without_pixels(sop_class or meta_class, modality)
        # A picture's size without a picture, or the class of a scan: the file has lost it.
        lost = whole(found, "Rows") > 0 or kinds.is_scan(sop_class or meta_class, modality)
        return Skipped(path, reason, damaged=known and lost)
    if problem:
        return Skipped(path, problem, damaged=True)
    spacing = floats(found, "PixelSpacing", 2)
    position = floats(found, "ImagePositionPatient", 3)
    orientation = floats(found, "ImageOrientationPatient", 6)
    several: Frames | None = None
    if _is_several(found):
        try:
            several = frames_of(found.dataset())
        except Exception:  # noqa: BLE001 - any broken file is listed, the rest goes on
            return Skipped(path, "Damaged DICOM file: its frames cannot be told apart.", damaged=True)
    patient = text(found, "PatientID")
    return Header(
        file=path,
        size=size,
        sop_class=sop_class or meta_class,
        sop_uid=sop_uid or meta_uid,
        series_uid=text(found, "SeriesInstanceUID"),
        study_uid=text(found, "StudyInstanceUID"),
        patient=digest("patient", patient) if patient else "",
        study_date=text(found, "StudyDate") or text(found, "SeriesDate"),
        modality=modality or "OT",
        description=shown(found, "SeriesDescription") or shown(found, "BodyPartExamined").capitalize(),
        number=None if number(found, "InstanceNumber") is None else whole(found, "InstanceNumber"),
        rows=whole(found, "Rows"),
        columns=whole(found, "Columns"),
        frames=_frame_count(found),
        samples=max(1, whole(found, "SamplesPerPixel", 1)),
        photometric=text(found, "PhotometricInterpretation").upper(),
        bits=whole(found, "BitsStored") or whole(found, "BitsAllocated", 16),
        spacing=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        orientation=orientation,
        position=(position[0], position[1], position[2]) if position else None,
        image_type=tuple(value.upper() for value in texts(found, "ImageType")),
        repaired=not sop_uid,
        kept=tuple(_kept(found, keyword) for keyword in KEPT),
        several=several,
    )


def _kept(found: Elements, keyword: str) -> Any:
    try:
        value = found.get(keyword)
        if keyword in _SEQUENCES:
            return [_plain(item) for item in value] or None if value else None
        # Most values are the same in all files of a series, and are kept once.
        return sys.intern(value) if isinstance(value, str) else value
    except Exception:  # noqa: BLE001 - a broken element must not lose the file
        return None


def _plain(item: Dataset) -> dict[str, Any]:
    """The short elements of a sequence item, as text or numbers."""
    values: dict[str, Any] = {}
    for element in item:
        if element.keyword == "MeasurementUnitsCodeSequence":
            values[element.keyword] = [_plain(code) for code in element.value]
            continue
        words = texts(item, element.keyword) if element.keyword and element.VR not in ("SQ", "OB", "OW", "UN") else ()
        if words and sum(map(len, words)) <= _LONGEST:
            values[element.keyword] = words[0] if len(words) == 1 else list(words)
    return values


def _pixel_problem(file: BinaryIO, found: Elements, syntax: str) -> str:
    """ "" when all pixels are there, "none" without pixel data, else the reason in words."""
    big = not found.little
    head, start, size = found.head, found.end, found.size
    rows, columns = whole(found, "Rows"), whole(found, "Columns")
    if head[:4] not in (_BIG_PIXEL_TAGS if big else _PIXEL_TAGS):
        # A file cut inside an earlier element leaves no pixel data behind it.
        cut = start > size or (start >= size and rows > 0 and "BitsAllocated" not in found)
        return "Truncated: the file ends before its pixel data." if cut else "none"
    explicit = head[4:6] in (b"OB", b"OW", b"OF", b"OD", b"UN")
    length: int = struct.unpack(">I" if big else "<I", head[8:12] if explicit else head[4:8])[0]
    begin = start + (12 if explicit else 8)
    if length == 0:
        return "none"
    lacking = [
        name
        for name, there in (("Rows", rows > 0), ("Columns", columns > 0), ("Bits Allocated", _bits(found) > 0))
        if not there
    ]
    if lacking:
        return f"Damaged: {', '.join(lacking)} not given."
    frames = _frame_count(found)
    expected = _native_bytes(found, rows * columns)
    if expected > _LARGEST_FRAME:
        return f"Its header claims {columns} × {rows} pixels, more than can be read."
    if frames > _MOST_FRAMES:
        return f"Its header claims {frames} frames, more than can be read."
    if length == 0xFFFFFFFF:
        if not syntax.startswith(_VIDEO):
            return _fragment_problem(file, begin, size, frames)
        if frames > size:
            return f"Its header claims {frames} frames, more than it has bytes."
        return _fragment_problem(file, begin, size, 1)
    expected *= frames
    if begin + length > size or length < expected:
        return f"Truncated: {_percent(min(size - begin, length), max(length, expected))} of its pixel data are there."
    return ""


def _frame_count(found: Elements) -> int:
    """What the file claims, however absurd: nothing else tells that it must not be believed."""
    try:
        return max(1, int(min(sys.maxsize, float(next(iter(texts(found, "NumberOfFrames")), 1)))))
    except ValueError:
        return 1


def _bits(found: Elements) -> int:
    return whole(found, "BitsAllocated")


def _native_bytes(found: Elements, pixels: int) -> int:
    samples = max(1, whole(found, "SamplesPerPixel", 1))
    if text(found, "PhotometricInterpretation").upper() == "YBR_FULL_422":
        samples = 2
    return pixels * samples * _bits(found) // 8


def _fragment_problem(file: BinaryIO, begin: int, size: int, frames: int) -> str:
    position, items = begin, 0
    while position + 8 <= size:
        file.seek(position)
        head = file.read(8)
        length: int = struct.unpack("<I", head[4:8])[0]
        if head[:4] == b"\xfe\xff\xdd\xe0":
            break
        if head[:4] != b"\xfe\xff\x00\xe0":
            return "Damaged: its compressed pixel data are not readable."
        items += 1
        position += 8 + length
    if position > size:
        return f"Truncated: {_percent(size - begin, position - begin)} of its pixel data are there."
    # The first item is a table of offsets. Where only the end mark is missing, every fragment is whole.
    if items < 2:
        return "none"
    if items - 1 < frames:
        return f"Truncated: {items - 1} of its {frames} frames are there."
    return ""


def _percent(have: int, want: int) -> str:
    return f"{max(0, min(99, have * 100 // max(1, want)))} %"
