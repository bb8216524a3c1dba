"""The elements of a DICOM header, read the short way: a scan must not cost more than a bare pydicom loop.

Only the elements asked for are cut out of the file, and decoded when they are asked for. Whatever is not plain
(big endian, unknown value representations, sequences, text that is not ASCII) goes through pydicom.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Collection, Mapping
from typing import Any, BinaryIO, Protocol

import pydicom
from pydicom.charset import convert_encodings, decode_bytes
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.multival import MultiValue
from pydicom.tag import BaseTag

DEFLATED = "1.2.840.10008.1.2.1.99"
BIG_ENDIAN = "1.2.840.10008.1.2.2"
_IMPLICIT = "1.2.840.10008.1.2"
_BLOCK = 1 << 16
_UNDEFINED = 0xFFFFFFFF
_LONGEST_HEADER = 1 << 26  # bytes kept of a deflated file
_MOST_INFLATED = 1 << 31
_DEEPEST = 40  # sequences within sequences
_SHORT = {b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FL", b"FD", b"IS", b"LO", b"LT"}
_SHORT |= {b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"}
_LONG = {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
_VRS = _SHORT | _LONG
_TEXT = {"AE", "AS", "CS", "DA", "DS", "DT", "IS", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT"}
_CODED = {"LO", "LT", "PN", "SH", "ST", "UC", "UT"}  # written in the Specific Character Set
_NUMBERS = {"US": "H", "SS": "h", "UL": "I", "SL": "i", "FL": "f", "FD": "d"}
# What private elements hold, where the file itself does not say: b-values, and the number of tiles of a mosaic.
_PRIVATE = {0x0019100A: "US", 0x0019100C: "IS", 0x20011003: "FL", 0x00431039: "IS"}

_EXPLICIT_HEAD = struct.Struct("<HH2sH").unpack_from
_IMPLICIT_HEAD = struct.Struct("<HHI").unpack_from
_LENGTH = struct.Struct("<I").unpack_from

_tags: dict[str, int] = {}
_vrs: dict[int, str] = {}


def tag_of(keyword: str) -> int:
    """The tag of a keyword; private elements are written as eight digits ("0019100C")."""
    tag = _tags.get(keyword)
    if tag is None:
        known = tag_for_keyword(keyword)
        tag = _tags[keyword] = int(keyword, 16) if known is None else int(known)
    return tag


def _vr_of(tag: int) -> str:
    vr = _vrs.get(tag)
    if vr is None:
        try:
            vr = dictionary_VR(tag)
        except KeyError:
            vr = _PRIVATE.get(tag, "UN")
        _vrs[tag] = vr
    return vr


class Odd(Exception):  # noqa: N818 - a request to pydicom, not an error
    """The file is built in a way that only pydicom reads."""


class Elements:
    """What was cut out of one header, by keyword.

    end: where the pixel data element begins, or what the file lacks. head: the bytes there. size: of the
    whole. implicit, little: how values are written.
    """

    def __init__(
        self,
        raw: Mapping[int, tuple[str, bytes]],
        *,
        implicit: bool,
        little: bool,
        end: int = 0,
        head: bytes = b"",
        size: int = 0,
    ) -> None:
        self.end = end
        self.head = head
        self.size = size
        self._raw = raw
        self.implicit = implicit
        self.little = little
        self._dataset: Dataset | None = None

    @classmethod
    def of(cls, dataset: Dataset, end: int = 0, head: bytes = b"", size: int = 0) -> Elements:
        """The elements of what pydicom has read."""
        raw = {
            int(tag): (element.VR or "", element.value or b"")
            for tag, element in dataset.items()
            if isinstance(element, RawDataElement)
        }
        implicit, little = dataset.original_encoding
        made = cls(raw, implicit=bool(implicit), little=little is not False, end=end, head=head, size=size)
        made._dataset = dataset
        return made

    def __contains__(self, keyword: str) -> bool:
        return tag_of(keyword) in self._raw or (self._dataset is not None and keyword in self._dataset)

    def get(self, keyword: str) -> Any:
        """The value, a list when there are several, None when there is none."""
        tag = tag_of(keyword)
        found = self._raw.get(tag)
        if found is None:
            # Sequences of undefined length are read by pydicom at once.
            return None if self._dataset is None else self._dataset.get(keyword)
        vr, value = found
        if not value:
            return None
        if not vr or vr == "UN":
            vr = _vr_of(tag)
        if vr in _TEXT:
            if value.isascii() and b"\x1b" not in value:
                words = value.decode("ascii").strip(" \0")
            elif vr in _CODED:
                words = self._decoded(value)
            else:
                words = value.decode("latin-1").strip(" \0")
            return words.split("\\") if "\\" in words and vr not in ("LT", "ST", "UT") else words
        if vr in _NUMBERS:
            letter = _NUMBERS[vr]
            size = struct.calcsize(letter)
            count = len(value) // size
            numbers = struct.unpack_from(f"{'<' if self.little else '>'}{count}{letter}", value)
            return numbers[0] if count == 1 else list(numbers)
        return self.dataset().get(keyword)

    def _decoded(self, value: bytes) -> str:
        names = self.get("SpecificCharacterSet") or "ISO_IR 6"
        return str(decode_bytes(value, convert_encodings(names), {"\\", "^", "="})).strip(" \0")

    def dataset(self) -> Dataset:
        """The same elements as pydicom has them."""
        if self._dataset is None:
            self._dataset = Dataset(
                {
                    BaseTag(tag): RawDataElement(
                        BaseTag(tag), vr or None, len(value), value, 0, self.implicit, self.little
                    )
                    for tag, (vr, value) in self._raw.items()
                }
            )
            names = self.get("SpecificCharacterSet") or "ISO_IR 6"
            self._dataset.set_original_encoding(self.implicit, self.little, convert_encodings(names))
        return self._dataset


def read_elements(
    file: BinaryIO, size: int, tags: Collection[int], whole_when: Callable[[Elements], bool] | None = None
) -> tuple[Elements, Elements]:
    """(file meta, data set) of an open file of `size` bytes: these tags, or all if `whole_when` finds so, no pixels.

    Raises whatever pydicom raises for a file that is no DICOM file.
    """
    try:
        return _Walker(file, size, tags, whole_when).read()
    except (Odd, struct.error):
        meta, found = _by_pydicom(file, size, list(tags))
        return _by_pydicom(file, size, None) if whole_when and whole_when(found) else (meta, found)


def _by_pydicom(file: BinaryIO, size: int, tags: list[int] | None) -> tuple[Elements, Elements]:
    file.seek(0)
    dataset = pydicom.dcmread(file, stop_before_pixels=True, specific_tags=tags, force=True)
    end = file.tell()
    return Elements.of(dataset.file_meta), Elements.of(dataset, end, file.read(12), size)


class _Walker:
    """Goes from element to element of a little endian file."""

    def __init__(
        self, file: BinaryIO, size: int, tags: Collection[int], whole_when: Callable[[Elements], bool] | None
    ) -> None:
        self._file = file
        self._size = size
        self._whole_when = whole_when
        self._tags = tags
        self._data = file.read(_BLOCK)

    def read(self) -> tuple[Elements, Elements]:
        begin = 132 if self._data[128:132] == b"DICM" else 0
        meta: dict[int, tuple[str, bytes]] = {}
        position = self._walk(begin, False, meta, None, 0x00030000)
        if position > self._size:
            raise EOFError("cut within its file meta")
        syntax = meta.get(0x00020010, ("", b""))[1].strip(b" \0").decode("latin-1")
        if syntax == BIG_ENDIAN:
            raise Odd
        if syntax == DEFLATED:
            position = self._inflate(position)
        start = self._data[position : position + 6]
        explicit = start[4:6] in _VRS
        # Some files are written in the other way than their meta says, and old ones say nothing.
        if len(start) < 6 or (syntax and explicit == (syntax == _IMPLICIT)) or start[1] > start[0]:
            raise Odd
        found = self._cut(position, explicit, self._tags)
        if self._whole_when and self._whole_when(found):
            found = self._cut(position, explicit, None)
        return Elements(meta, implicit=False, little=True), found

    def _cut(self, position: int, explicit: bool, tags: Collection[int] | None) -> Elements:
        raw: dict[int, tuple[str, bytes]] = {}
        end = self._walk(position, not explicit, raw, tags, 0x7FE00008)
        head = self._data[end : end + 12]
        return Elements(raw, implicit=not explicit, little=True, end=end, head=head, size=self._size)

    def _inflate(self, position: int) -> int:
        """Replace the data by what is packed behind `position`: as much as a header may need, the rest is counted."""
        packed = zlib.decompressobj(-zlib.MAX_WBITS)
        source, kept, self._size = self._data[position:], [], 0
        while source and not packed.eof and self._size < _MOST_INFLATED:
            block = packed.decompress(source, _BLOCK)
            source = packed.unconsumed_tail or self._file.read(_BLOCK)
            if self._size < _LONGEST_HEADER:
                kept.append(block)
            self._size += len(block)
        self._data = b"".join(kept)
        return 0

    def _need(self, end: int) -> bool:
        """See that the file is there up to `end`; False where it is shorter."""
        if end <= len(self._data):
            return True
        if end > self._size:
            return False
        # A deflated file has been read to its end.
        self._data += self._file.read(max(end - len(self._data), _BLOCK))
        return end <= len(self._data)

    def _walk(
        self,
        position: int,
        implicit: bool,
        found: dict[int, tuple[str, bytes]],
        tags: Collection[int] | None,
        stop: int,
        depth: int = 0,
    ) -> int:
        """Cut the wanted elements out until a tag ≥ `stop`; the position of that, or of what the file lacks."""
        data = self._data
        while True:
            if position + 12 > len(data):
                self._need(min(position + _BLOCK, self._size))
                data = self._data
                if position + 8 > len(data):
                    return position
            if implicit:
                group, element, length = _IMPLICIT_HEAD(data, position)
                name, begin = b"", position + 8
            else:
                group, element, name, length = _EXPLICIT_HEAD(data, position)
                begin = position + 8
            tag = group << 16 | element
            if tag >= stop:
                return position
            if name in _LONG:
                (length,) = _LENGTH(data, begin)
                begin += 4
            elif not implicit and name not in _SHORT:
                raise Odd
            if length == _UNDEFINED:
                end, position = self._sequence(begin, implicit, name, depth)
                data = self._data
            else:
                end = position = int(begin + length)
                if end > len(data):
                    if not self._need(end):
                        return end
                    data = self._data
            if tags is None or tag in tags:
                found[tag] = (name.decode("ascii"), data[begin:end])

    def _sequence(self, position: int, implicit: bool, name: bytes, depth: int) -> tuple[int, int]:
        """(end of the items, what follows) of a sequence of undefined length."""
        if depth > _DEEPEST or (name and name != b"SQ"):
            raise Odd
        while True:
            if not self._need(position + 8):
                raise Odd
            group, element, length = _IMPLICIT_HEAD(self._data, position)
            if group != 0xFFFE:
                raise Odd
            if element == 0xE0DD:
                return position, position + 8
            if element != 0xE000:
                raise Odd
            position += 8
            position = self._item(position, implicit, depth) if length == _UNDEFINED else position + length

    def _item(self, position: int, implicit: bool, depth: int) -> int:
        """What follows an item of undefined length."""
        end = self._walk(position, implicit, {}, (), 0xFFFE0000, depth + 1)
        if not self._need(end + 8) or self._data[end : end + 4] != b"\xfe\xff\x0d\xe0":
            raise Odd
        return end + 8


class Source(Protocol):
    """Whatever gives elements by keyword: a pydicom Dataset, Elements, a Header, a mapping of plain values."""

    def get(self, keyword: str, /) -> Any:
        """The value, None when absent."""
        ...


def looks_like_dicom(start: bytes) -> bool:
    """Whether a file that starts like this (≥ 132 bytes if it has them) is DICOM, with or without the preamble."""
    if start[128:132] == b"DICM":
        return True
    if len(start) < 12 or start[:4] == b"\x00\x00\x00\x00":
        return False
    group, element = struct.unpack("<HH", start[:4])
    if group == 0x0800 and start[4:6] in _VRS:  # big endian
        return True
    if group not in (0x0002, 0x0008) or element > 0x0060:
        return False
    if start[4:6] in _VRS:
        return True
    return bool(struct.unpack("<I", start[4:8])[0] <= 128)


def text(dataset: Source, keyword: str) -> str:
    """The value as stripped text, "" when absent, empty or broken."""
    try:
        value = dataset.get(keyword)
        if isinstance(value, MultiValue | list | tuple):
            value = "\\".join(map(str, value))
        return "" if value is None else str(value).strip().strip("\x00")
    except Exception:  # noqa: BLE001 - a broken element must not lose the file
        return ""


def shown(dataset: Source, keyword: str) -> str:
    """The text on one line, without what moves a terminal's cursor or turns the direction of writing."""
    return " ".join("".join(c if c.isprintable() else " " for c in text(dataset, keyword)).split())


def floats(dataset: Source, keyword: str, count: int) -> tuple[float, ...] | None:
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


def number(dataset: Source, keyword: str) -> float | None:
    """One number, None when absent or broken."""
    try:
        value = dataset.get(keyword)
        if value is None:
            return None
        if isinstance(value, MultiValue | list | tuple):
            value = value[0]
        found = float(value)
    except Exception:  # noqa: BLE001 - a broken element must not lose the file
        return None
    return found if abs(found) < 1e9 else None


def whole(dataset: Source, keyword: str, default: int = 0) -> int:
    """One whole number."""
    value = number(dataset, keyword)
    return default if value is None else int(value)


def texts(dataset: Source, keyword: str) -> tuple[str, ...]:
    """All values as text."""
    try:
        value = dataset.get(keyword)
    except Exception:  # noqa: BLE001 - a broken element must not lose the file
        return ()
    if value is None or value == "":
        return ()
    items = list(value) if isinstance(value, MultiValue | list | tuple) else [value]
    return tuple(str(item).strip() for item in items)
