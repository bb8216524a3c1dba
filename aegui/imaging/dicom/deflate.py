"""Deflated data sets, unpacked no further than common sense allows."""

from __future__ import annotations

import struct
import zlib
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from aegui.errors import UserError
from aegui.imaging.dicom.elements import DEFLATED

_MOST = 1 << 29  # bytes
_EXPLICIT = "1.2.840.10008.1.2.1"


def begins_at(head: bytes) -> int:
    """Where the data set begins, by the length that the file meta gives of itself. ValueError without it."""
    if head[128:136] != b"DICM\x02\0\0\0" or len(head) < 144:
        raise ValueError("its file meta is damaged")
    return 144 + int(struct.unpack_from("<I", head, 140)[0])


def inflated(file: BinaryIO, limit: int) -> bytes:
    """The data set of a deflated file, its first `limit` bytes. ValueError if it is damaged."""
    file.seek(0)
    file.seek(begins_at(file.read(144)))
    try:
        return zlib.decompressobj(-zlib.MAX_WBITS).decompress(file.read(), min(limit, _MOST))
    except zlib.error as error:
        raise ValueError("its deflated data are damaged") from error


def unpacked(path: Path) -> BytesIO | None:
    """A deflated file as it would be without deflation; None if it is none."""
    with path.open("rb") as file:
        head = file.read(4096)
        try:
            begin = begins_at(head)
        except ValueError:
            return None
        if DEFLATED.encode() not in head[:begin]:
            return None
        try:
            data = inflated(file, _MOST)
        except ValueError as error:
            raise UserError(f"{path.name} cannot be read: {error}.", "Copy it again from its source.") from error
    if len(data) == _MOST:
        raise UserError(f"{path.name} unpacks to more than {_MOST >> 20} MB.", "Unpack it with another program.")
    meta = head[:begin].replace(DEFLATED.encode(), _EXPLICIT.encode().ljust(len(DEFLATED), b"\0"))
    return BytesIO(meta + data)
