"""MetaImage: .mha with its values, .mhd with values in files of their own."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Literal

import numpy as np

from aegui.errors import UserError
from aegui.imaging.files.formats.detached import companions
from aegui.imaging.files.formats.layout import Affine, Layout, New, volume_words
from aegui.imaging.files.formats.raw import Broken, Packing, Raw, packer

_TYPES = {
    "MET_CHAR": "i1", "MET_UCHAR": "u1", "MET_SHORT": "i2", "MET_USHORT": "u2", "MET_INT": "i4", "MET_UINT": "u4",
    "MET_LONG": "i4", "MET_ULONG": "u4", "MET_LONG_LONG": "i8", "MET_ULONG_LONG": "u8", "MET_FLOAT": "f4",
    "MET_DOUBLE": "f8",
}  # fmt: skip
_NAMES = {code: name for name, code in _TYPES.items() if name not in ("MET_LONG", "MET_ULONG")}
_LONGEST_HEADER = 1 << 20
_ORIGIN = ("Offset", "Position", "Origin")
_TURN = ("TransformMatrix", "Rotation", "Orientation")
# All that says where values lie and of what kind they are, and nothing of whom.
_GEOMETRY = {*_ORIGIN, *_TURN, "ObjectType", "ObjectSubType", "NDims", "BinaryData", "BinaryDataByteOrderMSB",
             "ElementByteOrderMSB", "CompressedData", "CenterOfRotation", "AnatomicalOrientation", "ElementSpacing",
             "ElementSize", "DimSize", "ElementType", "ElementNumberOfChannels", "HeaderSize",
             "ElementDataFile"}  # fmt: skip

Fields = dict[str, str]


def read_header(path: Path) -> tuple[Fields, int]:
    """Keys with their values, in order, and where the values of the image begin. Broken where it is not MetaImage."""
    fields: Fields = {}
    with path.open("rb") as file:
        data = file.read(_LONGEST_HEADER)
    position = 0
    while "ElementDataFile" not in fields:
        end = data.find(b"\n", position)
        line = data[position : end if end >= 0 else len(data)]
        key, mark, value = line.decode("utf-8", "surrogateescape").partition("=")
        if not mark and line.strip():
            raise Broken("Not a MetaImage file, whatever its name says, or its header is damaged.")
        if mark:
            fields[key.strip()] = value.strip()
        position = end + 1 if end >= 0 else len(data)
        if end < 0:
            break
    if "ElementDataFile" not in fields:
        raise Broken("Truncated: it ends within its header.")
    if "DimSize" not in fields or "ElementType" not in fields:
        raise Broken("Damaged: its header gives no size or type.")
    return fields, position


def _true(fields: Fields, *keys: str) -> bool:
    return any(fields.get(key, "").lower()[:1] in ("t", "1") for key in keys)


def _numbers(fields: Fields, *keys: str) -> list[float]:
    for key in keys:
        try:
            if values := [float(word) for word in fields.get(key, "").split()]:
                return values
        except ValueError:
            continue
    return []


def layout(path: Path) -> tuple[Layout, Raw]:
    """What the file holds and where."""
    fields, start = read_header(path)
    try:
        sizes = [int(word) for word in fields["DimSize"].split()]
        channels = int(fields.get("ElementNumberOfChannels", "1"))
        skip = int(fields.get("HeaderSize", "0"))
    except ValueError:
        raise Broken("Damaged: its header gives no sizes.") from None
    if not 2 <= len(sizes) <= 10 or min(sizes) <= 0:
        raise Broken("Holds no values." if sizes and min(sizes) <= 0 else f"{len(sizes)} dimensions: not read.")
    if channels not in (1, 3):
        raise UserError(f"{channels} values per voxel: not read.")
    kind = fields["ElementType"].removesuffix("_ARRAY")
    if kind not in _TYPES:
        raise UserError(f"MetaImage type {kind}: not read.")
    local = fields["ElementDataFile"].upper() == "LOCAL"
    files = [path] if local else companions(path)
    packed: Packing = "zlib" if _true(fields, "CompressedData") else ""
    if fields.get("BinaryData", "True").lower().startswith("f"):
        packed = "text"
    begin = -1 if skip == -1 and not local else (start if local else 0) + max(0, skip)
    roles = "v" * max(0, len(sizes) - 3) + "zyx"[-min(3, len(sizes)) :] + ("c" if channels == 3 else "")
    raw = Raw(
        tuple((file, begin) for file in files),
        np.dtype(_order(fields) + _TYPES[kind]),
        (*sizes[::-1], *((3,) if channels == 3 else ())),
        roles,
        packed,
    )
    claimed = _numbers(fields, "CompressedDataSize")
    if packed == "zlib" and claimed and len(files) == 1 and files[0].stat().st_size < max(0, begin) + claimed[0]:
        raise Broken("Truncated: the file is shorter than its header says.")
    affine, spacing = _place(fields, sizes)
    volumes = raw.size("v")
    depth = sizes[2] if len(sizes) > 2 else 1
    return Layout(
        (volumes, depth, sizes[1], sizes[0]), raw.dtype, channels, affine, spacing, words=volume_words(volumes)
    ), raw


def _order(fields: Fields) -> Literal["<", ">"]:
    return ">" if _true(fields, "BinaryDataByteOrderMSB", "ElementByteOrderMSB") else "<"


def _place(fields: Fields, sizes: list[int]) -> tuple[Affine | None, tuple[float, float, float]]:
    count = len(sizes)
    spacing = _numbers(fields, "ElementSpacing", "ElementSize")
    spacing = [abs(value) for value in spacing] if len(spacing) == count else [1.0] * count
    if count == 2:
        return None, (0.0, spacing[1], spacing[0])
    turn, origin = _numbers(fields, *_TURN), _numbers(fields, *_ORIGIN)
    affine = np.eye(4)
    axes = np.reshape(turn, (count, count))[:3, :3] if len(turn) == count * count else np.eye(3)
    # Each group of numbers is the direction of one axis of the image.
    affine[:3, :3] = axes.T * spacing[:3]
    affine[:3, 3] = origin[:3] if len(origin) == count else [0.0] * 3
    return affine, (spacing[2], spacing[1], spacing[0])


def rewrite(source: Path, target: Path, new: New) -> None:
    """The source's header around new values; one volume where the source held several."""
    fields, _ = read_header(source)
    found, raw = layout(source)
    new = new.ordered(_order(fields))
    fields = {key: value for key, value in fields.items() if not new.clean or key in _GEOMETRY}
    count = len(raw.shape) - (found.channels == 3)
    if found.shape[0] > 1 and int(np.prod(new.shape[:3])) != int(np.prod(found.shape)):
        fields["NDims"] = "3"
        for key in ("DimSize", "ElementSpacing", "ElementSize", *_ORIGIN, "CenterOfRotation"):
            if key in fields:
                fields[key] = " ".join(fields[key].split()[:3])
        for key in _TURN:
            words = fields.get(key, "").split()
            if len(words) == count * count:
                fields[key] = " ".join(words[i * count + j] for i in range(3) for j in range(3))
    if new.dtype != raw.dtype:
        fields["ElementType"] = _NAMES[new.dtype.str[1:]]
    packed: Packing = "zlib" if raw.packed == "zlib" else ""
    fields.pop("CompressedDataSize", None)
    fields.pop("HeaderSize", None)
    if raw.packed == "text":
        fields["BinaryData"] = "True"
    last = fields.pop("ElementDataFile")
    data = target.with_name(f"{target.name}.values")
    with data.open("wb") as file:
        out = packer(file, packed)
        for block in new.blocks():
            out.write(block)
        out.close()
    if packed:
        # Tools of old expect it right after the key it belongs to.
        entries = list(fields.items())
        at = list(fields).index("CompressedData") + 1
        fields = dict([*entries[:at], ("CompressedDataSize", str(data.stat().st_size)), *entries[at:]])
    attached = target.suffix.lower() == ".mha"
    last = "LOCAL" if attached else f"{target.stem}{'.zraw' if packed else '.raw'}"
    fields["ElementDataFile"] = last
    header = "".join(f"{key} = {value}\n" for key, value in fields.items()).encode("utf-8", "surrogateescape")
    with target.open("wb") as file:
        file.write(header)
        if attached:
            with data.open("rb") as values:
                shutil.copyfileobj(values, file, 1 << 20)
    if attached:
        data.unlink()
    else:
        data.replace(target.with_name(last))
