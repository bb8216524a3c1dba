"""How a DICOM header says its pixels are laid out, and what turns words into stored values."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from aegui.imaging.dicom.elements import BIG_ENDIAN, Source, text, whole
from aegui.imaging.series import Stored

# Beyond this a header is not believed: 134 million samples in one frame, more than any detector has.
_MOST_SAMPLES = 1 << 27
_RAW = {
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.98",
    "1.2.840.10008.1.2.1.99",
    BIG_ENDIAN,
    "1.2.840.113619.5.2",
}
_CONTAINERS = (8, 16, 32)
_GREY = ("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR", "")


@dataclass(frozen=True, slots=True)
class PixelLayout:
    """The Image Pixel module of one file. floats: 4 or 8 bytes where the pixels are real numbers, else 0."""

    syntax: str
    rows: int
    columns: int
    samples: int
    frames: int
    allocated: int
    stored: int
    high: int
    signed: bool
    photometric: str
    planar: bool
    floats: int = 0

    @property
    def native(self) -> bool:
        """Whether the transfer syntax is one without compression."""
        return self.syntax in _RAW

    @property
    def subsampled(self) -> bool:
        """Whether two neighbours share their colour."""
        return self.photometric == "YBR_FULL_422" and self.native

    @property
    def frame_bits(self) -> int:
        """Length of an uncompressed frame."""
        samples = 2 if self.subsampled else self.samples
        return self.rows * self.columns * samples * (self.floats * 8 or self.allocated)

    @property
    def container(self) -> int:
        """Bits of the type that holds a value."""
        return next(bits for bits in _CONTAINERS if bits >= self.allocated)


def layout_of(header: Source, syntax: str, floats: int = 0) -> PixelLayout:
    """The layout of a header. ValueError, in words, if no image can be laid out so."""
    rows, columns = whole(header, "Rows"), whole(header, "Columns")
    samples = whole(header, "SamplesPerPixel", 1)
    allocated = whole(header, "BitsAllocated")
    stored = whole(header, "BitsStored") or allocated
    photometric = text(header, "PhotometricInterpretation").upper()
    if rows <= 0 or columns <= 0:
        raise ValueError("its header does not say how large the image is")
    if samples not in (1, 3):
        raise ValueError(f"it has {samples} samples per pixel")
    if rows * columns * samples > _MOST_SAMPLES:
        raise ValueError(f"its header claims {columns} × {rows} pixels")
    if not floats and not 1 <= allocated <= 32:
        raise ValueError(f"Bits Allocated is {allocated}" if allocated else "its header has no Bits Allocated")
    if not floats and not 1 <= stored <= allocated:
        raise ValueError(f"it stores {stored} bits in {allocated}")
    if samples == 3 and photometric not in ("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_ICT", "YBR_RCT"):
        raise ValueError(f"its colours are {photometric or 'not named'}")
    if samples == 1 and photometric not in _GREY:
        photometric = "MONOCHROME2"
    high = whole(header, "HighBit", stored - 1)
    return PixelLayout(
        syntax=syntax,
        rows=rows,
        columns=columns,
        samples=samples,
        frames=max(1, whole(header, "NumberOfFrames", 1)),
        allocated=allocated,
        stored=stored,
        high=high if stored - 1 <= high < allocated else stored - 1,
        signed=whole(header, "PixelRepresentation") == 1,
        photometric=photometric,
        planar=samples == 3 and whole(header, "PlanarConfiguration") == 1,
        floats=floats,
    )


def words_of(data: bytes, layout: PixelLayout, frame: int, *, swapped: bool) -> Stored:
    """The words of one uncompressed frame: (rows, columns[, 3]). data: the bytes that the frame touches.

    swapped: the bytes of each pair stand the other way round (8-bit samples written as big endian words).
    """
    order = ">" if layout.syntax == BIG_ENDIAN else "<"
    count = layout.frame_bits // (layout.floats * 8 or layout.allocated)
    if layout.floats:
        values: Stored = np.frombuffer(data, f"{order}f{layout.floats}", count).astype(f"f{layout.floats}")
    elif layout.allocated in _CONTAINERS:
        if swapped:
            pairs = data + b"\0" * (len(data) % 2)
            data = np.frombuffer(pairs, "<u2").byteswap().tobytes()[frame * count % 2 :]
        size = layout.allocated // 8
        values = np.frombuffer(data, f"{order}u{size}", count).astype(f"u{size}", copy=False)
    else:
        values = _from_bits(data, layout, frame * layout.frame_bits % 8, count)
    return _shaped(values, layout)


def _from_bits(data: bytes, layout: PixelLayout, skip: int, count: int) -> Stored:
    """Cells that do not fill bytes follow one another from the lowest bit on."""
    width = layout.allocated
    bits = np.unpackbits(np.frombuffer(data, np.uint8), bitorder="little")[skip : skip + count * width]
    if width == 1:
        return bits
    cells = bits.reshape(count, width)
    out = np.zeros(count, f"u{layout.container // 8}")
    for bit in range(width):
        out |= cells[:, bit].astype(out.dtype) << out.dtype.type(bit)
    return out


def _shaped(values: Stored, layout: PixelLayout) -> Stored:
    rows, columns = layout.rows, layout.columns
    if layout.samples == 1:
        return values.reshape(rows, columns)
    if layout.subsampled:
        first, second, blue, red = values.reshape(-1, 4).T
        pairs = np.stack([first, blue, red, second, blue, red], axis=1)
        return pairs.reshape(rows, columns, 3)
    if layout.planar:
        return np.ascontiguousarray(np.moveaxis(values.reshape(3, rows, columns), 0, -1))
    return values.reshape(rows, columns, 3)


def stored_values(words: Stored, layout: PixelLayout) -> Stored:
    """Only the stored bits of each word, with their sign."""
    if layout.floats:
        return words
    size = layout.container
    values = words.astype(f"u{size // 8}", copy=False)
    shift = layout.high + 1 - layout.stored
    if shift:
        values = values >> values.dtype.type(shift)
    if layout.stored < size:
        values = values & values.dtype.type((1 << layout.stored) - 1)
    if not layout.signed:
        return values
    if layout.stored < size:
        sign = values.dtype.type(1 << layout.stored - 1)
        values = (values ^ sign) - sign
    return values.view(f"i{size // 8}")


def to_rgb(values: Stored, bits: int) -> Stored:
    """Full-range YCbCr to RGB (PS3.3 C.7.6.3.1.2), rounded."""
    top = (1 << bits) - 1
    middle = float(1 << bits - 1)
    light = values[..., 0].astype(np.float64)
    blue, red = values[..., 1] - middle, values[..., 2] - middle
    out = np.stack(
        [
            light + 1.402 * red,
            light - (0.114 * 1.772 / 0.587) * blue - (0.299 * 1.402 / 0.587) * red,
            light + 1.772 * blue,
        ],
        axis=-1,
    )
    return np.clip(np.rint(out), 0, top).astype(values.dtype)


def bytes_of(layout: PixelLayout, frame: int) -> tuple[int, int]:
    """First and last + 1 of the bytes that hold an uncompressed frame."""
    begin = frame * layout.frame_bits
    return begin // 8, math.ceil((begin + layout.frame_bits) / 8)
