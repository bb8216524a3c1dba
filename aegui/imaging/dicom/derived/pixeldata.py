"""Pixel data of derived instances: transfer syntax, encoding that is checked, bits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.datadict import dictionary_has_tag, dictionary_VR
from pydicom.dataelem import DataElement, RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.pixels import get_decoder, get_encoder
from pydicom.uid import (
    JPEG2000,
    UID,
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    JPEGLSNearLossless,
    RLELossless,
)

from aegui.imaging.dicom.derived.dataset import elements_of
from aegui.imaging.dicom.elements import text, whole
from aegui.imaging.series import Stored

_CHOSEN = {
    "explicit": ExplicitVRLittleEndian,
    "implicit": ImplicitVRLittleEndian,
    "deflated": DeflatedExplicitVRLittleEndian,
    "rle": RLELossless,
    "jpeg-ls": JPEGLSLossless,
    "jpeg2000": JPEG2000Lossless,
}
# What is written for a source of this syntax; Explicit Little Endian for every other.
_LIKE_SOURCE = {
    ImplicitVRLittleEndian: ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian: DeflatedExplicitVRLittleEndian,
    RLELossless: RLELossless,
    JPEGLSLossless: JPEGLSLossless,
    JPEGLSNearLossless: JPEGLSLossless,
    JPEG2000Lossless: JPEG2000Lossless,
    JPEG2000: JPEG2000Lossless,
}
_SWAPPED = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}
_TEXT = ("LO", "LT", "PN", "SH", "ST", "UC", "UT")
_PALETTE = range(0x1101, 0x1224)  # elements of group 0028 that hold palette tables
_SIGNED_OR_NOT = ("US or SS", "US or SS or OW")
_FOUR_GIGABYTES = 2**32


def target_syntax(source: str, wanted: str) -> UID:
    """The transfer syntax to try first. wanted: as in the output rules."""
    if wanted == "source":
        return UID(_LIKE_SOURCE.get(source, ExplicitVRLittleEndian))
    return UID(_CHOSEN[wanted])


def describe_pixels(dataset: Dataset, values: Stored, *, bits: int) -> None:
    """Set the attributes of the Image Pixel module to what `values`, one frame, are."""
    dataset.BitsAllocated = values.dtype.itemsize * 8
    dataset.BitsStored = bits
    dataset.HighBit = bits - 1
    dataset.PixelRepresentation = int(values.dtype.kind == "i")
    if values.ndim == 3:
        dataset.SamplesPerPixel = 3
        dataset.PhotometricInterpretation = "RGB"
        dataset.PlanarConfiguration = 0
        for tag in [tag for tag in dataset.keys() if tag.group == 0x0028 and tag.element in _PALETTE]:  # noqa: SIM118
            del dataset[tag]
        return
    dataset.SamplesPerPixel = 1
    if not text(dataset, "PhotometricInterpretation"):
        dataset.PhotometricInterpretation = "MONOCHROME2"
    if "PlanarConfiguration" in dataset:
        del dataset.PlanarConfiguration


def set_extremes(dataset: Dataset, frames: Iterable[Stored]) -> None:
    """Smallest and Largest Image Pixel Value, where the source has them and 16 bits hold them."""
    keywords = [name for name in ("SmallestImagePixelValue", "LargestImagePixelValue") if name in dataset]
    for keyword in keywords:
        delattr(dataset, keyword)
    if not keywords or dataset.BitsAllocated > 16:
        return
    lows, highs = zip(*((int(frame.min()), int(frame.max())) for frame in frames), strict=True)
    for keyword in keywords:
        value = min(lows) if keyword.startswith("Smallest") else max(highs)
        dataset.add_new(keyword, "SS" if dataset.PixelRepresentation else "US", value)


def compressed(frame: Stored, bits: int, syntax: UID) -> bytes | None:
    """A frame encoded without loss; None where decoding does not give it back."""
    how = {
        "rows": frame.shape[0],
        "columns": frame.shape[1],
        "number_of_frames": 1,
        "samples_per_pixel": 1,
        "photometric_interpretation": "MONOCHROME2",
        "bits_allocated": frame.dtype.itemsize * 8,
        "bits_stored": bits,
        "pixel_representation": int(frame.dtype.kind == "i"),
        "pixel_keyword": "PixelData",
    }
    if frame.ndim == 3:
        # With the reversible colour transform of JPEG 2000; decoders give RGB.
        colours = "YBR_RCT" if syntax == JPEG2000Lossless else "RGB"
        how |= {"samples_per_pixel": 3, "photometric_interpretation": colours, "planar_configuration": 0}
    try:
        code = get_encoder(syntax).encode(np.ascontiguousarray(frame), **how)
        if frame.ndim == 3 and syntax == RLELossless:
            how["planar_configuration"] = 1
        back, _ = get_decoder(syntax).as_array(encapsulate([code]), raw=True, **how)
    except Exception:  # noqa: BLE001 - whatever an encoder cannot hold is written uncompressed
        return None
    return bytes(code) if np.array_equal(back, frame) else None


def set_compressed(dataset: Dataset, codes: Sequence[bytes], syntax: UID) -> None:
    """Set Pixel Data to frames that are compressed."""
    _drop_pixels(dataset)
    has_offsets = sum(map(len, codes)) < _FOUR_GIGABYTES
    dataset.add_new("PixelData", "OB", encapsulate(list(codes), has_bot=has_offsets))
    dataset["PixelData"].is_undefined_length = True
    if dataset.SamplesPerPixel == 3 and syntax == RLELossless:
        dataset.PlanarConfiguration = 1
    if dataset.SamplesPerPixel == 3 and syntax == JPEG2000Lossless:
        dataset.PhotometricInterpretation = "YBR_RCT"


def set_native(dataset: Dataset, frames: Sequence[Stored]) -> None:
    """Set Pixel Data to uncompressed frames that lie in memory."""
    _set_native(dataset, frames[0], b"".join(little(frame).tobytes() for frame in frames))


def set_native_file(dataset: Dataset, like: Stored, path: Path) -> BufferedReader:
    """Set Pixel Data to uncompressed little-endian frames that lie in a file; close it after the data set is saved."""
    if path.stat().st_size % 2:
        with path.open("ab") as file:
            file.write(b"\0")
    reader = path.open("rb")
    _set_native(dataset, like, reader)
    return reader


def _set_native(dataset: Dataset, like: Stored, data: bytes | BufferedReader) -> None:
    _drop_pixels(dataset)
    if isinstance(data, bytes) and len(data) % 2:
        data += b"\0"
    dataset.add_new("PixelData", "OB" if like.dtype.itemsize == 1 else "OW", data)


def _drop_pixels(dataset: Dataset) -> None:
    if "PixelData" in dataset:
        del dataset.PixelData


def little(values: Stored) -> Stored:
    """The same values in little-endian order."""
    return np.ascontiguousarray(values, values.dtype.newbyteorder("<"))


def stored_range(bits: int, signed: bool) -> tuple[int, int]:
    """Lowest and highest value that fits."""
    return (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)


class _Bytes(bytes):
    """Text as it came."""

    def encode(self, _encodings: object) -> bytes:
        """As names of persons are asked to."""
        return self


def make_readable(dataset: Dataset, *, all_of_it: bool = True, for_good: bool = False) -> None:
    """Decode elements, so that they can be written in another encoding; what cannot be gets the VR UN.

    all_of_it: else only those that came without a VR, which some files mix into an explicit encoding. for_good: nobody
    reads it any more, so that text can keep its bytes; it need not be in the character set that it says it is.
    """
    for tag in list(dataset.keys()):
        raw = dataset.get_item(tag)
        if isinstance(raw, RawDataElement) and (all_of_it or raw.VR is None):
            vr = raw.VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else None)
            if for_good and vr in _TEXT:
                dataset[tag] = DataElement(tag, vr, _Bytes(raw.value or b""), already_converted=True)
                continue
            try:
                dataset[tag]
            except Exception:  # noqa: BLE001 - the bytes of a broken element are worth keeping, whatever is wrong
                dataset[tag] = DataElement(tag, "UN", raw.value or b"")
        element = dataset.get_item(tag)
        if element.VR == "SQ" and not isinstance(element, RawDataElement):
            for item in element.value:
                make_readable(item, all_of_it=all_of_it, for_good=for_good)


def to_little_endian(dataset: Dataset) -> None:
    """Swap the bytes of binary elements, which pydicom passes through as they are. All must be readable."""

    def swap(_: Dataset, element: Any) -> None:
        width = _SWAPPED.get(str(element.VR))
        if width and isinstance(element.value, bytes) and len(element.value) % width == 0:
            element.value = np.frombuffer(element.value, f">u{width}").astype(f"<u{width}").tobytes()

    dataset.walk(swap)
    # Every element is decoded now, so that pydicom may write it in the other byte order.
    dataset.set_original_encoding(False, True, dataset.original_character_set)


def follow_sign(dataset: Dataset, signed: bool) -> None:
    """US or SS as Pixel Representation says, the stored 16 bits unchanged; also in nested items."""
    if "PixelRepresentation" in dataset:
        signed = whole(dataset, "PixelRepresentation") == 1
    for element in elements_of(dataset, ("SQ", "US", "SS", *_SIGNED_OR_NOT)):
        if element.VR == "SQ":
            # A VOI LUT is applied after the rescale, whose sign is another one.
            for item in element.value if element.keyword != "VOILUTSequence" else ():
                follow_sign(item, signed)
        elif dictionary_has_tag(element.tag) and dictionary_VR(element.tag) in _SIGNED_OR_NOT:
            _relabel(dataset, element, signed)


def _relabel(dataset: Dataset, element: DataElement, signed: bool) -> None:
    if element.VR not in ("US", "SS") or ("SS" if signed else "US") == element.VR:
        return
    value = element.value
    many = isinstance(value, Sequence) and not isinstance(value, str | bytes)
    words = [int(item) & 0xFFFF for item in (value if many else [value])] if value not in (None, "") else []
    numbers = [word - 0x10000 if signed and word >= 0x8000 else word for word in words]
    dataset[element.tag] = DataElement(
        element.tag, "SS" if signed else "US", numbers if len(numbers) != 1 else numbers[0]
    )
