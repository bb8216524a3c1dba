"""A derived DICOM series: the source's headers, new identity, new pixels in the stored type of the source."""

from __future__ import annotations

import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian, generate_uid

from aegui import __version__
from aegui.errors import UserError
from aegui.imaging.headers import read_dataset, text, whole
from aegui.imaging.pixels import DicomSource, Slice, embedded_overlays, stored_range
from aegui.imaging.rules import OutputRules, Provenance, output_name
from aegui.imaging.series import Pixels, Series
from aegui.imaging.staging import Staging, Tally, encode, writing
from aegui.imaging.text import made_uid, safe_name

_LONG_STRING, _SHORT_TEXT = 64, 1024
_SERIES_NUMBER_STEP = 1000
_LARGEST_NUMBER = 2**31 - 1
_PRIMARY = {"PT", "NM"}
# True only of the source's pixels, its encoding or its signature.
_DROPPED = (
    "IconImageSequence",
    "SmallestPixelValueInSeries",
    "LargestPixelValueInSeries",
    "ExtendedOffsetTable",
    "ExtendedOffsetTableLengths",
    "PixelDataProviderURL",
    "DataSetTrailingPadding",
    "DigitalSignaturesSequence",
    "MACParametersSequence",
)
_SWAPPED = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}


class DicomSink:
    """Writes one file per slice, or one for all frames, into a folder of its own."""

    def __init__(self, source: DicomSource, folder: Path, rules: OutputRules, origin: Provenance) -> None:
        self._source = source
        self._rules = rules
        self._origin = origin
        self._series_uid = generate_uid(prefix=None)
        self._frames: dict[int, npt.NDArray[Any]] = {}
        self._names: dict[str, int] = {}
        self._tally = Tally(len(source))
        self._staging = Staging(folder, safe_name(output_name(source.series, rules)))

    def write(self, index: int, pixels: Pixels) -> None:
        """Take slice `index`, in the source's real units."""
        item = self._source.slice(index)
        if self._source.frame(index) is not None:
            self._frames[index] = self._stored(index, pixels, item, self._source.header(index))
        else:
            dataset = self._read(index)
            self._save(dataset, index, self._stored(index, pixels, item, dataset))
        self._tally.take(index)

    def finish(self) -> Path:
        """Rename the folder into place."""
        self._tally.close()
        if self._frames:
            numbers = {self._source.frame(index): values for index, values in self._frames.items()}
            frames = np.stack([numbers[number] for number in range(len(numbers))])
            self._save(self._read(0), 0, frames)
            self._frames.clear()
        return self._staging.publish_folder()

    def abort(self) -> None:
        """Remove what was written."""
        self._frames.clear()
        self._staging.discard()

    def _read(self, index: int) -> Dataset:
        path = self._source.file(index)
        try:
            return read_dataset(path)
        except OSError as error:
            raise UserError(f"{path.name} cannot be read: {error.strerror or error}.", "Scan again.") from error

    def _stored(self, index: int, pixels: Pixels, item: Slice, header: Dataset) -> npt.NDArray[Any]:
        limits = stored_range(whole(header, "BitsStored", 16), whole(header, "PixelRepresentation") == 1)
        return encode(pixels, item.stored, self._source.valid(index), (item.slope, item.intercept), limits)

    def _save(self, dataset: Dataset, index: int, values: npt.NDArray[Any]) -> None:
        values = _with_overlay_bits(dataset, values)
        _derive(dataset, self._source.series, self._series_uid, self._rules, self._origin)
        _set_pixels(dataset, values)
        implicit = dataset.file_meta.TransferSyntaxUID == ImplicitVRLittleEndian
        with writing(self._staging.folder):
            dataset.save_as(
                self._staging.path / self._name(index),
                implicit_vr=implicit,
                little_endian=True,
                enforce_file_format=True,
            )

    def _name(self, index: int) -> str:
        """The source's file name; files of one name from different folders get a number."""
        name = self._source.file(index).name
        self._names[name] = count = self._names.get(name, 0) + 1
        if count == 1:
            return name
        stem, dot, suffix = name.rpartition(".")
        return f"{stem}_{count}.{suffix}" if dot and stem else f"{name}_{count}"


def _derive(dataset: Dataset, series: Series, series_uid: str, rules: OutputRules, origin: Provenance) -> None:
    """Give the dataset its own identity, and say where it comes from."""
    meta = dataset.file_meta
    source_class = text(dataset, "SOPClassUID") or str(meta.get("MediaStorageSOPClassUID", "") or "")
    source_uid = text(dataset, "SOPInstanceUID") or str(meta.get("MediaStorageSOPInstanceUID", "") or "")
    now = datetime.datetime.now()
    for keyword in _DROPPED:
        if keyword in dataset:
            delattr(dataset, keyword)
    # Some archives leave network command elements in the file, where they must not be.
    for tag in [tag for tag in dataset.keys() if tag.group in (0x0000, 0x0002)]:  # noqa: SIM118 - iteration decodes
        del dataset[tag]
    if not text(dataset, "SOPClassUID") and "Laterality" not in dataset and "ImageLaterality" not in dataset:
        # With its class repaired the file is checked as an image, and the check asks for this.
        dataset.Laterality = ""
    dataset.SOPClassUID = UID(source_class)
    dataset.SOPInstanceUID = generate_uid(prefix=None)
    dataset.SeriesInstanceUID = UID(series_uid)
    if not text(dataset, "StudyInstanceUID"):
        dataset.StudyInstanceUID = UID(series.study_uid)
    if not text(dataset, "FrameOfReferenceUID") and "ImagePositionPatient" in dataset:
        dataset.FrameOfReferenceUID = UID(made_uid("frame of reference", series.uid.split("#")[0]))
    dataset.InstanceCreationDate = now.strftime("%Y%m%d")
    dataset.InstanceCreationTime = now.strftime("%H%M%S")
    _set_image_type(dataset)
    described = text(dataset, "SeriesDescription") or series.description
    dataset.SeriesDescription = described[: _LONG_STRING - len(rules.suffix)] + rules.suffix
    number = whole(dataset, "SeriesNumber") + _SERIES_NUMBER_STEP
    dataset.SeriesNumber = number if 0 < number <= _LARGEST_NUMBER else _SERIES_NUMBER_STEP
    words = origin.words
    if source_uid and not _legal(source_uid):
        words = f"{words}; source instance {source_uid}"
    elif source_uid:
        reference = Dataset()
        reference.ReferencedSOPClassUID = UID(source_class)
        reference.ReferencedSOPInstanceUID = UID(source_uid)
        reference.PurposeOfReferenceCodeSequence = _coded(codes.DCM.SourceImageForImageProcessingOperation)
        dataset.SourceImageSequence = Sequence([reference])
    dataset.DerivationDescription = _ascii(words)[:_SHORT_TEXT]
    dataset.DerivationCodeSequence = _coded(codes.DCM.Smoothing)
    dataset.ContributingEquipmentSequence = Sequence([*_earlier(dataset), _equipment(origin, now)])
    _new_meta(dataset)


def _legal(uid: str) -> bool:
    """Whether a UID may stand in a reference; some archives make theirs below the root 0, which no one may."""
    return UID(uid).is_valid and not uid.startswith("0.")


def _coded(code: Code) -> Sequence:
    item = Dataset()
    item.CodeValue = code.value
    item.CodingSchemeDesignator = code.scheme_designator
    item.CodeMeaning = code.meaning
    return Sequence([item])


def _ascii(words: str) -> str:
    """Text that any Specific Character Set can hold."""
    return words.encode("ascii", "replace").decode()


def _earlier(dataset: Dataset) -> list[Dataset]:
    return list(dataset.get("ContributingEquipmentSequence") or ())


def _equipment(origin: Provenance, now: datetime.datetime) -> Dataset:
    item = Dataset()
    item.PurposeOfReferenceCodeSequence = _coded(codes.DCM.ProcessingEquipment)
    item.Manufacturer = "aegui"
    item.ManufacturerModelName = "aegui"
    item.SoftwareVersions = __version__
    item.ContributionDateTime = now.strftime("%Y%m%d%H%M%S")
    item.ContributionDescription = _ascii(origin.words)[:_SHORT_TEXT]
    return item


def _set_image_type(dataset: Dataset) -> None:
    # Enhanced objects, PET and NM allow no SECONDARY.
    enhanced = "SharedFunctionalGroupsSequence" in dataset or "PerFrameFunctionalGroupsSequence" in dataset
    second = "PRIMARY" if enhanced or text(dataset, "Modality") in _PRIMARY else "SECONDARY"
    dataset.ImageType = _derived(dataset.get("ImageType"), second)
    if not enhanced:
        return
    # Enhanced MR may say this of original images only.
    if "MRAcquisitionType" in dataset:
        del dataset.MRAcquisitionType
    for groups in ("SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"):
        for group in dataset.get(groups) or ():
            for item in [sub for element in group if element.VR == "SQ" for sub in element.value]:
                if "FrameType" in item:
                    item.FrameType = _derived(item.FrameType, second)


def _derived(values: Any, second: str) -> list[str]:
    rest = [] if values is None or isinstance(values, str) else [str(value) for value in values][2:]
    return ["DERIVED", second, *rest]


def _new_meta(dataset: Dataset) -> None:
    syntax = dataset.file_meta.TransferSyntaxUID
    if syntax == "1.2.840.10008.1.2.2":
        _to_little_endian(dataset)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ImplicitVRLittleEndian if syntax == ImplicitVRLittleEndian else ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(made_uid("aegui implementation"))
    meta.ImplementationVersionName = f"AEGUI_{__version__}"[:16]
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128


def _to_little_endian(dataset: Dataset) -> None:
    """Swap the bytes of binary elements, which pydicom passes through as they are."""

    def swap(_: Dataset, element: Any) -> None:
        width = _SWAPPED.get(str(element.VR))
        if width and isinstance(element.value, bytes) and len(element.value) % width == 0:
            element.value = np.frombuffer(element.value, f">u{width}").astype(f"<u{width}").tobytes()

    dataset.walk(swap)
    # Every element is decoded now, so that pydicom may write it in the other byte order.
    dataset.set_original_encoding(False, True, dataset.original_character_set)


def _with_overlay_bits(dataset: Dataset, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Put an overlay that lives in unused bits of the source's pixel words back into them."""
    overlays = embedded_overlays(dataset)
    if not overlays or dataset.file_meta.TransferSyntaxUID.is_compressed:
        return values
    size = values.dtype.itemsize
    mask = sum(1 << bit for bit in overlays)
    order = ">" if dataset.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.2" else "<"
    words = np.frombuffer(dataset.PixelData, f"{order}u{size}", count=values.size).reshape(values.shape)
    return np.asarray(((values.view(f"u{size}") & ~np.array(mask, f"u{size}")) | (words & mask)).astype(f"<u{size}"))


def _set_pixels(dataset: Dataset, values: npt.NDArray[Any]) -> None:
    signed = whole(dataset, "PixelRepresentation") == 1
    for keyword, value in (("SmallestImagePixelValue", values.min()), ("LargestImagePixelValue", values.max())):
        if keyword in dataset:
            delattr(dataset, keyword)
            if values.dtype.itemsize <= 2:
                dataset.add_new(keyword, "SS" if signed else "US", int(value))
    data = values.astype(values.dtype.newbyteorder("<")).tobytes()
    if "PixelData" in dataset:
        del dataset.PixelData
    dataset.add_new("PixelData", "OB" if values.dtype.itemsize == 1 else "OW", data + b"\0" * (len(data) % 2))
