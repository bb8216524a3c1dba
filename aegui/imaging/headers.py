"""One DICOM file → what scanning needs to know of it, or why it is no image."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pydicom
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.uid import UID

from aegui.imaging.series import Skipped, Vector

_KEYWORDS = (
    "SpecificCharacterSet",
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "StudyDate",
    "SeriesDate",
    "AcquisitionTime",
    "Modality",
    "SeriesDescription",
    "PatientID",
    "BodyPartExamined",
    "EchoTime",
    "EchoNumbers",
    "TriggerTime",
    "DiffusionBValue",
    "AcquisitionNumber",
    "StudyInstanceUID",
    "SeriesInstanceUID",
    "SeriesNumber",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "TemporalPositionIdentifier",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
)
_META = ("MediaStorageSOPClassUID", "MediaStorageSOPInstanceUID", "TransferSyntaxUID")
_TAG_OF = {keyword: tag for keyword in (*_KEYWORDS, *_META) if (tag := tag_for_keyword(keyword)) is not None}
_VR_OF = {keyword: dictionary_VR(tag) for keyword, tag in _TAG_OF.items()}
_TEXT = {"AE", "CS", "DA", "DS", "IS", "LO", "SH", "TM", "UI"}
TAGS: list[int] = [_TAG_OF[keyword] for keyword in _KEYWORDS]

_PIXEL_TAGS = {b"\xe0\x7f\x08\x00", b"\xe0\x7f\x09\x00", b"\xe0\x7f\x10\x00"}
_BIG_PIXEL_TAGS = {b"\x7f\xe0\x00\x08", b"\x7f\xe0\x00\x09", b"\x7f\xe0\x00\x10"}
_VRS = {b"AE", b"CS", b"DA", b"LO", b"OB", b"SH", b"TM", b"UI", b"UL", b"UN"}
_DICOMDIR = "1.2.840.10008.1.3.10"
_DEFLATED = "1.2.840.10008.1.2.1.99"
_BIG_ENDIAN = "1.2.840.10008.1.2.2"

# Objects that are told by name when they hold no pixels.
_OBJECTS = {
    "SR": "Structured report: holds no image.",
    "KO": "Key object note: holds no image.",
    "PR": "Presentation state: holds no image.",
    "RTSTRUCT": "Radiotherapy contours: hold no image.",
    "RTPLAN": "Radiotherapy plan: holds no image.",
    "RTRECORD": "Radiotherapy record: holds no image.",
    "REG": "Registration: holds no image.",
    "SEG": "Segmentation: holds no image.",
    "DOC": "Document: holds no image.",
    "ECG": "Waveform: holds no image.",
    "PLAN": "Plan: holds no image.",
}


@dataclass(frozen=True, slots=True)
class Header:
    """What scanning keeps of one DICOM file."""

    file: Path
    root: Path
    sop_class: str
    sop_uid: str
    series_uid: str
    study_uid: str
    patient_id: str
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
    high_bit: int
    spacing: tuple[float, float] | None
    orientation: tuple[float, ...] | None
    position: Vector | None
    image_type: tuple[str, ...]
    echo: str
    b_value: str
    temporal: str
    trigger: str
    acquisition: str
    time: str
    repaired: bool = False


class Quick:
    """The elements of a dataset decoded the short way, which halves the time a scan takes.

    Whatever is not plain ASCII text or a plain number goes through pydicom.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        # Plain numbers as keys: pydicom's tags are slow to compare.
        self._elements = {int(tag): element for tag, element in dataset.items()}

    def __contains__(self, keyword: str) -> bool:
        return _TAG_OF[keyword] in self._elements

    def get(self, keyword: str) -> Any:
        """The value, a list when there are several, None when there is none."""
        element = self._elements.get(_TAG_OF[keyword])
        if element is None:
            return None
        if not isinstance(element, RawDataElement):
            return self._dataset.get(keyword)
        value = element.value
        if not value:
            return None
        kind = element.VR or _VR_OF[keyword]
        if kind == "US" and len(value) == 2:
            return int.from_bytes(value, "little" if element.is_little_endian else "big")
        if kind not in _TEXT or not value.isascii() or b"\x1b" in value:
            return self._dataset.get(keyword)
        words = value.decode("ascii").strip(" \0")
        return words.split("\\") if "\\" in words else words


def looks_like_dicom(start: bytes) -> bool:
    """Whether a file that starts like this (≥ 132 bytes if it has them) is DICOM, with or without the preamble."""
    if start[128:132] == b"DICM":
        return True
    if len(start) < 12 or start[:4] == b"\x00\x00\x00\x00":
        return False
    group, element = struct.unpack("<HH", start[:4])
    if group not in (0x0002, 0x0008) or element > 0x0060:
        return False
    if start[4:6] in _VRS:
        return True
    return bool(struct.unpack("<I", start[4:8])[0] <= 128)


def text(dataset: Dataset | Quick, keyword: str) -> str:
    """The value as stripped text, "" when absent, empty or broken."""
    try:
        value = dataset.get(keyword)
        return "" if value is None else str(value).strip().strip("\x00")
    except Exception:  # noqa: BLE001 - a broken element must not lose the file
        return ""


def floats(dataset: Dataset | Quick, keyword: str, count: int) -> tuple[float, ...] | None:
    """The first `count` finite numbers of an element, None when there are fewer."""
    try:
        value = dataset.get(keyword)
        if value is None:
            return None
        items = list(value) if hasattr(value, "__iter__") and not isinstance(value, str) else [value]
        numbers = tuple(float(item) for item in items[:count])
    except Exception:  # noqa: BLE001 - a broken element must not lose the file
        return None
    if len(numbers) < count or not all(abs(number) < 1e9 for number in numbers):
        return None
    return numbers


def number(dataset: Dataset | Quick, keyword: str) -> float | None:
    """One number, None when absent or broken."""
    values = floats(dataset, keyword, 1)
    return values[0] if values else None


def whole(dataset: Dataset | Quick, keyword: str, default: int = 0) -> int:
    """One whole number."""
    value = number(dataset, keyword)
    return default if value is None else int(value)


def texts(dataset: Dataset | Quick, keyword: str) -> tuple[str, ...]:
    """All values as text."""
    try:
        value = dataset.get(keyword)
    except Exception:  # noqa: BLE001 - a broken element must not lose the file
        return ()
    if value is None or value == "":
        return ()
    items = list(value) if isinstance(value, MultiValue | list) else [value]
    return tuple(str(item).strip() for item in items)


def read_dataset(path: Path, *, pixels: bool = True, tags: list[int] | None = None) -> Dataset:
    """The dataset, its file meta completed when the file has none."""
    dataset = pydicom.dcmread(path, stop_before_pixels=not pixels, specific_tags=tags, force=True)
    _complete_meta(dataset)
    return dataset


def _complete_meta(dataset: Dataset) -> None:
    meta = dataset.file_meta
    if not meta.get("TransferSyntaxUID"):
        implicit, little = dataset.original_encoding
        uid = "1.2.840.10008.1.2" if implicit else "1.2.840.10008.1.2.1" if little else _BIG_ENDIAN
        meta.TransferSyntaxUID = UID(uid)


def read_header(path: Path, root: Path) -> Header | Skipped:
    """Read only what scanning needs, and see whether the pixels are all there."""
    try:
        with path.open("rb") as file:
            dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=TAGS, force=True)
            meta = Quick(dataset.file_meta)
            quick = Quick(dataset)
            syntax = text(meta, "TransferSyntaxUID")
            if not syntax and dataset.original_encoding == (False, False):
                syntax = _BIG_ENDIAN
            problem = _pixel_problem(file, quick, syntax)
    except OSError as error:
        return Skipped(path, f"Cannot be read: {error.strerror or error}.")
    except Exception:  # noqa: BLE001 - any broken file is listed, the rest goes on
        return Skipped(path, "Damaged DICOM file: its header cannot be read.")
    return _to_header(path, root, quick, meta, problem)


def _to_header(path: Path, root: Path, dataset: Quick, meta: Quick, problem: str) -> Header | Skipped:
    sop_class = text(dataset, "SOPClassUID")
    sop_uid = text(dataset, "SOPInstanceUID")
    meta_class = text(meta, "MediaStorageSOPClassUID")
    meta_uid = text(meta, "MediaStorageSOPInstanceUID")
    modality = text(dataset, "Modality").upper()
    if _DICOMDIR in (sop_class, meta_class):
        return Skipped(path, "DICOMDIR: only lists other files.")
    rows, columns = whole(dataset, "Rows"), whole(dataset, "Columns")
    if problem == "none" or rows <= 0 or columns <= 0:
        if not (sop_class or meta_class or modality):
            return Skipped(path, "Not an image.")
        return Skipped(path, _OBJECTS.get(modality, "Holds no pixel data."))
    if problem:
        return Skipped(path, problem)
    spacing = floats(dataset, "PixelSpacing", 2)
    position = floats(dataset, "ImagePositionPatient", 3)
    orientation = floats(dataset, "ImageOrientationPatient", 6)
    return Header(
        file=path,
        root=root,
        sop_class=sop_class or meta_class,
        sop_uid=sop_uid or meta_uid,
        series_uid=text(dataset, "SeriesInstanceUID"),
        study_uid=text(dataset, "StudyInstanceUID"),
        patient_id=text(dataset, "PatientID"),
        study_date=text(dataset, "StudyDate") or text(dataset, "SeriesDate"),
        modality=modality or "OT",
        description=text(dataset, "SeriesDescription") or text(dataset, "BodyPartExamined").capitalize(),
        number=None if number(dataset, "InstanceNumber") is None else whole(dataset, "InstanceNumber"),
        rows=rows,
        columns=columns,
        frames=max(1, whole(dataset, "NumberOfFrames", 1)),
        samples=max(1, whole(dataset, "SamplesPerPixel", 1)),
        photometric=text(dataset, "PhotometricInterpretation").upper(),
        bits=whole(dataset, "BitsStored") or whole(dataset, "BitsAllocated", 16),
        high_bit=whole(dataset, "HighBit", -1),
        spacing=(spacing[0], spacing[1]) if spacing and min(spacing) > 0 else None,
        orientation=orientation,
        position=(position[0], position[1], position[2]) if position else None,
        image_type=tuple(value.upper() for value in texts(dataset, "ImageType")),
        echo=text(dataset, "EchoTime") or text(dataset, "EchoNumbers"),
        b_value=text(dataset, "DiffusionBValue"),
        temporal=text(dataset, "TemporalPositionIdentifier"),
        trigger=text(dataset, "TriggerTime"),
        acquisition=text(dataset, "AcquisitionNumber"),
        time=text(dataset, "AcquisitionTime"),
        repaired=not sop_uid,
    )


def _pixel_problem(file: BinaryIO, dataset: Quick, syntax: str) -> str:
    """ "" when all pixels are there, "none" without pixel data, else the reason in words.

    pydicom leaves the file at the pixel data element when it stops before it.
    """
    if syntax == _DEFLATED:
        return ""
    start = file.tell()
    head = file.read(12)
    big = syntax == _BIG_ENDIAN
    if head[:4] not in (_BIG_PIXEL_TAGS if big else _PIXEL_TAGS):
        size = file.seek(0, 2)
        # A file cut inside an earlier element leaves no pixel data behind it.
        return (
            "Truncated: the file ends before its pixel data." if start > size or _cut(dataset, start, size) else "none"
        )
    size = file.seek(0, 2)
    explicit = head[4:6] in (b"OB", b"OW", b"OF", b"OD", b"UN")
    length: int = struct.unpack(">I" if big else "<I", head[8:12] if explicit else head[4:8])[0]
    begin = start + (12 if explicit else 8)
    if length == 0xFFFFFFFF:
        return _fragment_problem(file, begin, size)
    expected = _native_bytes(dataset)
    if length == 0:
        return "none"
    if begin + length > size or length < expected:
        return f"Truncated: {_percent(min(size - begin, length), max(length, expected))} of its pixel data are there."
    return ""


def _cut(dataset: Quick, position: int, size: int) -> bool:
    return position >= size and whole(dataset, "Rows") > 0 and "BitsAllocated" not in dataset


def _native_bytes(dataset: Quick) -> int:
    bits = whole(dataset, "BitsAllocated", 16)
    pixels = whole(dataset, "Rows") * whole(dataset, "Columns") * max(1, whole(dataset, "NumberOfFrames", 1))
    samples = max(1, whole(dataset, "SamplesPerPixel", 1))
    if text(dataset, "PhotometricInterpretation").upper() == "YBR_FULL_422":
        samples = 2
    return pixels * samples * bits // 8


def _fragment_problem(file: BinaryIO, begin: int, size: int) -> str:
    position, fragments = begin, 0
    while position + 8 <= size:
        file.seek(position)
        head = file.read(8)
        length: int = struct.unpack("<I", head[4:8])[0]
        if head[:4] == b"\xfe\xff\xdd\xe0":
            return "" if fragments > 1 else "none"
        if head[:4] != b"\xfe\xff\x00\xe0":
            return "Damaged: its compressed pixel data are not readable."
        fragments += 1
        position += 8 + length
    if position == size:
        # Only the end mark is missing; every fragment is whole.
        return "" if fragments > 1 else "none"
    return f"Truncated: {_percent(size - begin, position - begin)} of its pixel data are there."


def _percent(have: int, want: int) -> str:
    return f"{max(0, min(99, have * 100 // max(1, want)))} %"


def representative(path: Path) -> Any:
    """The whole header of one file (no pixels), for what is the same in all files of a series."""
    return read_dataset(path, pixels=False)
