"""What a PNG file says beside its pixels: carried from one file to another, byte for byte."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_ALWAYS = {b"pHYs", b"iCCP", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"sCAL"}
_SAME_LAYOUT = {b"sBIT", b"tRNS", b"bKGD"}  # true only for pixels of the same depth and colours
_TEXTS = {b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME"}


def chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of every whole chunk."""
    position = len(_SIGNATURE)
    while data.startswith(_SIGNATURE) and position + 12 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, position)
        if position + 12 + length > len(data):
            return
        yield kind, data[position + 8 : position + 8 + length]
        position += 12 + length


def facts(path: Path) -> tuple[int, bool]:
    """(bits per sample, whether it is animated)."""
    with path.open("rb") as file:
        data = file.read(1 << 16)
    return data[24], any(kind == b"acTL" for kind, _ in chunks(data))


def carry(source: Path, target: Path, clean: bool) -> None:
    """Give `target` the resolution, profiles and texts of `source`. clean: no texts."""
    old, new = list(chunks(source.read_bytes())), list(chunks(target.read_bytes()))
    wanted = _ALWAYS if clean else _ALWAYS | _TEXTS
    if old[0][1][8:10] == new[0][1][8:10]:
        wanted = wanted | _SAME_LAYOUT
    first = next((i for i, (kind, _) in enumerate(old) if kind == b"IDAT"), len(old))
    out = [
        new[0],
        *(chunk for chunk in old[:first] if chunk[0] in wanted),
        *(chunk for chunk in new[1:-1] if chunk[0] not in wanted),
        *(chunk for chunk in old[first:] if chunk[0] in wanted),
        new[-1],
    ]
    with target.open("wb") as file:
        file.write(_SIGNATURE)
        for kind, content in out:
            file.write(struct.pack(">I", len(content)) + kind + content)
            file.write(struct.pack(">I", zlib.crc32(kind + content)))
