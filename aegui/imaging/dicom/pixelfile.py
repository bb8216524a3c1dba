"""One DICOM file → the words of one of its frames. The header is read once, and nothing of the other frames."""

from __future__ import annotations

import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from pydicom.uid import UID

from aegui import decoding
from aegui.imaging.dicom import codestream
from aegui.imaging.dicom.codestream import Stream
from aegui.imaging.dicom.deflate import inflated
from aegui.imaging.dicom.elements import BIG_ENDIAN, DEFLATED, Elements, read_elements, tag_of, text
from aegui.imaging.dicom.palette import through_palette
from aegui.imaging.dicom.pixellayout import PixelLayout, bytes_of, layout_of, stored_values, to_rgb, words_of
from aegui.imaging.series import Stored

_COLOURS = ("Red", "Green", "Blue")
_KEYWORDS = (
    *("SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration", "NumberOfFrames", "Rows", "Columns"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PixelPaddingValue", "PixelPaddingRangeLimit"),
    *("RescaleIntercept", "RescaleSlope", "SharedFunctionalGroupsSequence"),
    *(f"{colour}PaletteColorLookupTable{part}" for colour in _COLOURS for part in ("Descriptor", "Data")),
    *(f"Segmented{colour}PaletteColorLookupTableData" for colour in _COLOURS),
)
_TAGS = {tag_of(keyword) for keyword in _KEYWORDS}
_FLOATS = {0x7FE00008: 4, 0x7FE00009: 8}
_PIXELS = 0x7FE00010
_LONG = (b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV")
_ITEM = b"\xfe\xff\x00\xe0"
_UNDEFINED = 0xFFFFFFFF
_RLE = "1.2.840.10008.1.2.5"
_IMPLICIT, _EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"

# Which decoders are tried, by what the frame says of itself.
_DECODERS: dict[str, tuple[str, ...]] = {
    "rle": ("rle", "rle_in_python"),
    "jpeg": ("pillow", "gdcm"),
    "jpeg lossless": ("gdcm", "pillow"),
    "jpeg-ls": ("charls", "gdcm"),
    "jpeg 2000": ("openjpeg", "pillow", "gdcm"),
}


class PixelFile:
    """Where the frames of one DICOM file lie, and what its header says of them. ValueError if it holds none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._unpacked: bytes | None = None
        with path.open("rb") as file:
            self._size = file.seek(0, 2)
            file.seek(0)
            meta, self.header = read_elements(file, self._size, _TAGS)
            syntax = text(meta, "TransferSyntaxUID")
            if not syntax:
                little = _IMPLICIT if self.header.implicit else _EXPLICIT
                syntax = little if self.header.little else BIG_ENDIAN
            if syntax == DEFLATED:
                self._unpacked = inflated(file, self.header.end + _room(self.header))
                self._size = len(self._unpacked)
            self._find(file if self._unpacked is None else BytesIO(self._unpacked), syntax)

    def words(self, frame: int = 0) -> Stored:
        """All bits of each sample as an uncompressed file has them: (rows, columns[, 3]). ValueError, DecodingError."""
        words, stream = self._words(frame)
        layout = self.layout
        if stream is None or stream.precision > layout.stored:
            return words
        # What such a codec holds above the stored bits is their sign, no overlay.
        return stored_values(words, replace(layout, high=layout.stored - 1, signed=False)) << (
            layout.high + 1 - layout.stored
        )

    def values(self, frame: int = 0) -> Stored:
        """Stored values: the stored bits alone, with their sign; colour as RGB. ValueError, DecodingError."""
        words, stream = self._words(frame)
        layout = self.layout
        if stream is not None and stream.precision <= layout.stored:
            layout = replace(layout, high=layout.stored - 1)  # codecs hold samples, not words
        values = stored_values(words, layout)
        if layout.samples == 3 and _is_ybr(layout, stream):
            return to_rgb(values, layout.stored)
        return through_palette(values, self.header.dataset()) if layout.photometric == "PALETTE COLOR" else values

    def _find(self, file: BinaryIO, syntax: str) -> None:
        """Find the pixel data element, and where in it the frames are."""
        position = self.header.end
        while True:
            file.seek(position)
            tag, kind, begin, length = self._element(file.read(12), position)
            if tag == _PIXELS or tag in _FLOATS:
                break
            if not _PIXELS - 0x10 <= tag < _PIXELS or length == _UNDEFINED:
                raise ValueError("it holds no pixel data")
            position = begin + length  # tables of offsets
        self.layout = layout_of(self.header, syntax, _FLOATS.get(tag, 0))
        self._begin = begin
        self._fragments: list[tuple[int, int]] = []
        self._offsets: list[int] = []
        if length == _UNDEFINED:
            self._read_fragments(file)
            return
        if not self.layout.native:
            raise ValueError("its header says that its pixels are compressed, and they are not")
        self._have = min(length, self._size - begin)
        full = replace(self.layout, photometric="YBR_FULL")
        if self.layout.subsampled and self._have * 8 >= full.frame_bits * full.frames:
            self.layout = full
        self._swapped = kind == b"OW" and self.layout.allocated == 8 and not self.header.little

    def _element(self, head: bytes, position: int) -> tuple[int, bytes, int, int]:
        """Tag, value representation, position of the value and its length."""
        if len(head) < 8:
            raise ValueError("it holds no pixel data")
        order = "<" if self.header.little else ">"
        group, element = struct.unpack_from(f"{order}HH", head)
        tag = group << 16 | element
        if self.header.implicit or not head[4:6].isalpha():  # some writers leave it out here alone
            return tag, b"OW", position + 8, struct.unpack_from(f"{order}I", head, 4)[0]
        kind = head[4:6]
        if kind in _LONG and len(head) == 12:
            return tag, kind, position + 12, struct.unpack_from(f"{order}I", head, 8)[0]
        return tag, kind, position + 8, struct.unpack_from(f"{order}H", head, 6)[0]

    def _read_fragments(self, file: BinaryIO) -> None:
        position, table = self._begin, True
        while position + 8 <= self._size:
            file.seek(position)
            head = file.read(8)
            length: int = struct.unpack_from("<I", head, 4)[0]
            if head[:4] != _ITEM:
                break
            if table:
                count = min(length, self._size - position - 8) // 4
                self._offsets = list(struct.unpack(f"<{count}I", file.read(4 * count)))
                table = False
            else:
                self._fragments.append((position + 8, length))
            position += 8 + length
        if not self._fragments:
            raise ValueError("its compressed pixel data are damaged or missing")

    def _words(self, frame: int) -> tuple[Stored, Stream | None]:
        layout = self.layout
        if not 0 <= frame < layout.frames:
            raise ValueError(f"it has no frame {frame + 1}")
        if self._fragments:
            return self._decoded(frame)
        begin, end = bytes_of(layout, frame)
        if end > self._have:
            raise ValueError("its pixel data are cut off")
        if self._swapped:
            begin, end = begin - begin % 2, min(end + end % 2, self._have)
        return words_of(self._bytes([(self._begin + begin, end - begin)]), layout, frame, swapped=self._swapped), None

    def _bytes(self, parts: list[tuple[int, int]]) -> bytes:
        if any(begin + length > self._size for begin, length in parts):
            raise ValueError("its pixel data are cut off")
        if self._unpacked is not None:
            return b"".join(self._unpacked[begin : begin + length] for begin, length in parts)
        with self._path.open("rb") as file:
            data = []
            for begin, length in parts:
                file.seek(begin)
                data.append(file.read(length))
        return data[0] if len(data) == 1 else b"".join(data)

    def _parts(self, frame: int) -> list[tuple[int, int]]:
        """The fragments of one frame."""
        fragments, frames = self._fragments, self.layout.frames
        if frames == 1:
            return fragments
        if len(fragments) <= frames:
            if frame >= len(fragments):
                raise ValueError(f"it holds {len(fragments)} of its {frames} frames")
            return [fragments[frame]]
        first = fragments[0][0] - 8
        starts = [begin - 8 - first for begin, _ in fragments]
        if len(self._offsets) == frames and set(self._offsets) <= set(starts):
            bounds = [starts.index(offset) for offset in self._offsets]
        else:
            bounds = [i for i, part in enumerate(fragments) if codestream.starts_frame(self._start(part))]
        bounds.append(len(fragments))
        if len(bounds) != frames + 1 or sorted(bounds) != bounds:
            raise ValueError(f"its {len(fragments)} fragments cannot be told apart into {frames} frames")
        return fragments[bounds[frame] : bounds[frame + 1]]

    def _start(self, part: tuple[int, int]) -> bytes:
        return self._bytes([(part[0], min(4, part[1]))])

    def _decoded(self, frame: int) -> tuple[Stored, Stream | None]:
        layout = self.layout
        data = self._bytes(self._parts(frame))
        stream = codestream.examine(data)
        if stream is None and layout.syntax != _RLE:
            name = UID(layout.syntax).name
            raise ValueError(f"no decoder reads {name}" if name != layout.syntax else "its compressed data are damaged")
        if stream is not None and (stream.rows, stream.columns) != (layout.rows, layout.columns):
            raise ValueError(
                f"its header says {layout.columns} × {layout.rows} pixels, "
                f"its compressed data {stream.columns} × {stream.rows}"
            )
        if stream is not None and stream.samples != layout.samples:
            raise ValueError(f"its header says {layout.samples} samples per pixel, its data {stream.samples}")
        told = {
            "syntax": stream.syntax if stream else layout.syntax,
            "precision": stream.precision if stream else 0,
            **{name: getattr(layout, name) for name in ("rows", "columns", "samples", "allocated", "stored", "signed")},
        }
        values = decoding.decode(_DECODERS[stream.kind if stream else "rle"], told, data)
        if values.size != layout.rows * layout.columns * layout.samples:
            raise ValueError("its compressed data hold another number of pixels than its header says")
        colour = (layout.samples,) if layout.samples > 1 else ()
        return values.reshape(layout.rows, layout.columns, *colour), stream


def _is_ybr(layout: PixelLayout, stream: Stream | None) -> bool:
    """Whether decoded colour is still YCbCr."""
    named = layout.photometric in ("YBR_FULL", "YBR_FULL_422")
    if stream is None or stream.kind not in ("jpeg", "jpeg 2000"):
        return named
    if stream.kind == "jpeg 2000":
        return named and not stream.transform
    return named or stream.transform is True


def _room(header: Elements) -> int:
    """Bytes that the pixels of a deflated file can take, with what stands before them."""
    try:
        layout = layout_of(header, DEFLATED)
    except ValueError:
        return 0
    return layout.frames * layout.frame_bits // 8 + 1024
