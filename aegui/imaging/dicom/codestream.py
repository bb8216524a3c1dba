"""What a compressed frame says of itself, before any decoder sees it."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

Kind = Literal["jpeg", "jpeg lossless", "jpeg-ls", "jpeg 2000"]

_HEAD = 1 << 16  # bytes of boxes before a JPEG 2000 stream
_START = b"\xff\x4f\xff\x51"
# Start-of-frame markers that some decoder reads, and the transfer syntax for it.
_FRAMES: dict[int, tuple[Kind, str]] = {
    0xC0: ("jpeg", "1.2.840.10008.1.2.4.50"),
    0xC1: ("jpeg", "1.2.840.10008.1.2.4.51"),
    0xC2: ("jpeg", "1.2.840.10008.1.2.4.50"),
    0xC3: ("jpeg lossless", "1.2.840.10008.1.2.4.57"),
    0xF7: ("jpeg-ls", "1.2.840.10008.1.2.4.80"),
}
_OTHER_FRAMES = {0xC5, 0xC6, 0xC7, 0xC9, 0xCA, 0xCB, 0xCD, 0xCE, 0xCF}
_BARE = {0x01, *range(0xD0, 0xD9)}  # markers without a length


@dataclass(frozen=True, slots=True)
class Stream:
    """transform: whether colour was turned into YCbCr, as the stream itself says; None where it does not say."""

    kind: Kind
    syntax: str
    rows: int
    columns: int
    samples: int
    precision: int
    transform: bool | None = None


def examine(data: bytes) -> Stream | None:
    """The kind and size of a compressed frame; None if it is none of the known ones. ValueError if it is broken."""
    try:
        if data[:2] == b"\xff\xd8":
            return _jpeg(data)
        if data[:4] == _START or data[4:8] == b"jP  ":
            return _jpeg_2000(data)
    except (struct.error, IndexError) as error:
        raise ValueError("its compressed data end early") from error
    return None


def starts_frame(data: bytes) -> bool:
    """Whether a fragment that starts with these bytes begins a frame."""
    return data[:3] == b"\xff\xd8\xff" or data[:4] == _START


def _jpeg(data: bytes) -> Stream:
    position, transform = 2, None
    while True:
        if data[position] != 0xFF:
            raise ValueError("its JPEG header is damaged")
        marker = data[position + 1]
        if marker == 0xFF:  # fill
            position += 1
            continue
        if marker in _BARE:
            position += 2
            continue
        (length,) = struct.unpack_from(">H", data, position + 2)
        if marker == 0xEE and length >= 14 and data[position + 4 : position + 9] == b"Adobe":
            transform = data[position + 15] != 0
        if marker in _FRAMES:
            kind, syntax = _FRAMES[marker]
            precision, rows, columns, samples = struct.unpack_from(">BHHB", data, position + 4)
            if kind == "jpeg" and precision > 8:
                syntax = "1.2.840.10008.1.2.4.51"
            return Stream(kind, syntax, rows, columns, samples, precision, transform)
        if marker in _OTHER_FRAMES:
            raise ValueError("no decoder reads this kind of JPEG (hierarchical or arithmetic)")
        if marker in (0xD9, 0xDA) or length < 2:
            raise ValueError("its JPEG header is damaged")
        position += 2 + length


def _jpeg_2000(data: bytes) -> Stream:
    start = data.find(_START, 0, _HEAD)
    if start < 0:
        raise ValueError("its JPEG 2000 header is damaged")
    right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
    (samples,) = struct.unpack_from(">H", data, start + 40)
    # Scod follows the component sizes in COD; its 5th byte says whether colour was transformed.
    coding = data.find(b"\xff\x52", start + 42 + 3 * samples, start + 42 + 3 * samples + _HEAD)
    transform = bool(data[coding + 8]) if coding >= 0 else None
    precision = (data[start + 42] & 0x7F) + 1
    return Stream("jpeg 2000", "1.2.840.10008.1.2.4.90", bottom - top, right - left, samples, precision, transform)
