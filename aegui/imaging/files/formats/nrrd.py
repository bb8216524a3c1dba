"""NRRD with attached (.nrrd) or detached (.nhdr) header."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np

from aegui.errors import UserError
from aegui.imaging.files.formats.detached import companions
from aegui.imaging.files.formats.layout import Affine, Layout, New, derived_note, volume_words
from aegui.imaging.files.formats.raw import Broken, Packing, Raw, packer
from aegui.imaging.files.formats.resolution import LENGTHS

_TYPES = {
    "i1": ("signed char", "int8", "int8_t"),
    "u1": ("uchar", "unsigned char", "uint8", "uint8_t"),
    "i2": ("short", "short int", "signed short", "signed short int", "int16", "int16_t"),
    "u2": ("ushort", "unsigned short", "unsigned short int", "uint16", "uint16_t"),
    "i4": ("int", "signed int", "int32", "int32_t"),
    "u4": ("uint", "unsigned int", "uint32", "uint32_t"),
    "i8": ("longlong", "long long", "long long int", "signed long long", "signed long long int", "int64", "int64_t"),
    "u8": ("ulonglong", "unsigned long long", "unsigned long long int", "uint64", "uint64_t"),
    "f4": ("float",),
    "f8": ("double",),
}
_ENCODINGS: dict[str, Packing] = {
    "raw": "", "gz": "gzip", "gzip": "gzip", "bz2": "bzip2", "bzip2": "bzip2", "txt": "text", "text": "text",
    "ascii": "text",
}  # fmt: skip
_NAMES = {"i1": "int8", "u1": "uint8", "i2": "int16", "u2": "uint16", "i4": "int32", "u4": "uint32", "i8": "int64",
          "u8": "uint64", "f4": "float", "f8": "double"}  # fmt: skip
# Signs that turn a space into LPS; what else there is counts in some scanner's own axes and is taken as it is.
_SPACES = {"right-anterior-superior": (-1, -1, 1), "ras": (-1, -1, 1), "left-anterior-superior": (1, -1, 1),
           "las": (1, -1, 1)}  # fmt: skip
_COLOURS = ("rgb-color", "3-color", "vector", "3-vector")  # ITK calls colours a vector
_LISTS = ("list", "time", "none", "???", "stub", "scalar")
_SPATIAL = ("domain", "space")
_PER_AXIS = ("sizes", "spacings", "thicknesses", "axismins", "axismaxs", "centers", "centerings", "kinds", "labels",
             "units", "spacedirections")  # fmt: skip
# All that says where values lie and of what kind they are, and nothing of whom.
_GEOMETRY = {*_PER_AXIS, "type", "dimension", "space", "spacedimension", "spaceorigin", "spaceunits", "encoding",
             "endian", "measurementframe", "min", "max"} - {"labels"}  # fmt: skip
_LONGEST_HEADER = 1 << 22


@dataclass(frozen=True)
class Header:
    """lines: of the header, without the empty one that ends it. fields: name, in lower case without spaces → text."""

    lines: tuple[str, ...]
    fields: dict[str, str]
    length: int

    def sizes(self) -> list[int]:
        """Fastest axis first, as all lists per axis."""
        try:
            return [int(word) for word in self.fields["sizes"].split()]
        except (KeyError, ValueError):
            raise Broken("Damaged: its header gives no sizes.") from None

    def words(self, name: str) -> list[str]:
        """The words of a field per axis, texts in quotes and vectors in brackets whole; [] without it."""
        return re.findall(r"\"[^\"]*\"|\([^)]*\)|\S+", self.fields.get(name, ""))


def _name(key: str) -> str:
    return key.strip().lower().replace(" ", "")


def read_header(path: Path) -> Header:
    """Broken where it is not NRRD."""
    with path.open("rb") as file:
        data = file.read(_LONGEST_HEADER)
    if not data.startswith(b"NRRD000"):
        raise Broken("Not an NRRD file, whatever its name says.")
    end = re.search(rb"\r?\n\r?\n", data)
    text = data[: end.start()] if end else data
    if end is None and not re.search(rb"\ndata ?file:", data, re.IGNORECASE):
        raise Broken("Truncated: it ends within its header.")
    lines = tuple(text.decode("utf-8", "surrogateescape").replace("\r\n", "\n").rstrip("\n").split("\n"))
    fields = {}
    for i, line in enumerate(lines[1:], 1):
        key, mark, value = line.partition(":")
        if mark and not line.startswith("#") and not value.startswith("="):
            fields[_name(key)] = value.strip()
            if _name(key) == "datafile" and value.strip().startswith("LIST"):
                lines = lines[: i + 1]
                break
    return Header(lines, fields, end.end() if end else len(data))


def _data_files(path: Path, head: Header) -> tuple[tuple[Path, int], ...]:
    skip = int(head.fields.get("byteskip", "0") or 0)
    files = companions(path) if "datafile" in head.fields else [path]
    start = head.length if files == [path] else 0
    lines = int(head.fields.get("lineskip", "0") or 0)
    out = []
    for file in files:
        begin = start
        if lines > 0:
            with file.open("rb") as stream:
                stream.seek(begin)
                for _ in range(min(lines, 100_000)):
                    stream.readline(_LONGEST_HEADER)
                begin = stream.tell()
        out.append((file, -1 if skip == -1 else begin + max(0, skip)))
    return tuple(out)


def layout(path: Path) -> tuple[Layout, Raw]:
    """What the file holds and where."""
    head = read_header(path)
    sizes = head.sizes()
    if not 2 <= len(sizes) <= 16 or min(sizes) <= 0:
        raise Broken("Holds no values." if sizes and min(sizes) <= 0 else f"{len(sizes)} dimensions: not read.")
    word = head.fields.get("type", "").lower()
    code = next((code for code, names in _TYPES.items() if word in names), "")
    if not code:
        raise UserError(f"NRRD type “{word}”: not read.")
    encoding = head.fields.get("encoding", "raw").lower()
    if encoding not in _ENCODINGS:
        raise UserError(f"NRRD encoding “{encoding}”: not read.")
    order = _order(head)
    roles = _roles(head, sizes, code)
    spatial = [i for i, role in enumerate(roles) if role in "xyz"]
    packed = _ENCODINGS[encoding]
    raw = Raw(_data_files(path, head), np.dtype(order + code), tuple(sizes[::-1]), roles[::-1], packed)
    affine, spacing = _place(head, spatial)
    volumes = raw.size("v")
    found = Layout(
        (volumes, raw.size("z"), raw.size("y"), raw.size("x")),
        raw.dtype,
        3 if "c" in roles else 1,
        affine,
        spacing,
        words=_words(head, volumes),
        notes=derived_note("\n".join(head.lines)),
    )
    return found, raw


def _words(head: Header, volumes: int) -> tuple[str, ...]:
    # A list of diffusion directions is no list of repeats.
    word = "b-value, volume" if any(line.startswith("DWMRI_") for line in head.lines) else "Volume"
    return volume_words(volumes, word)


def _roles(head: Header, sizes: list[int], code: str) -> str:
    """A letter per axis, fastest first."""
    kinds = [kind.lower() for kind in head.words("kinds")]
    directions = head.words("spacedirections")
    roles = []
    spatial = iter("xyz")
    for i, size in enumerate(sizes):
        kind = kinds[i] if i < len(kinds) else "???"
        if kind in _COLOURS and size == 3 and code == "u1":
            roles.append("c")
        elif kind not in _SPATIAL and kind not in _LISTS:
            raise UserError(f"{size} values per voxel: not read.")
        elif directions and len(directions) == len(sizes):
            roles.append("v" if directions[i].lower() == "none" else next(spatial, "v"))
        elif kind in _SPATIAL or kind in ("???", "none"):
            roles.append(next(spatial, "v"))
        else:
            roles.append("v")
    if roles.count("y") != 1 or roles.count("c") > 1:
        raise UserError("Its axes are no stack of slices: not read.")
    return "".join(roles)


def _vector(word: str) -> list[float]:
    try:
        return [float(part) for part in word.strip("()").split(",")]
    except ValueError:
        return []


def _place(head: Header, spatial: list[int]) -> tuple[Affine | None, tuple[float, float, float]]:
    space = _without_time(head.fields.get("space", "").lower())
    unit = next((_length(word) for word in head.words("spaceunits")), 1.0)
    words = head.words("spacedirections")
    vectors = [_vector(words[i])[:3] for i in spatial if i < len(words)]
    if vectors and len(vectors) == len(spatial) == 3 and all(len(vector) == 3 for vector in vectors):
        signs = np.array(_SPACES.get(space, (1, 1, 1)), float)
        affine = np.eye(4)
        affine[:3, :3] = (np.asarray(vectors) * signs * unit).T
        origin = _vector(head.fields.get("spaceorigin", ""))[:3]
        affine[:3, 3] = np.asarray(origin if len(origin) == 3 else [0.0] * 3) * signs * unit
        return affine, (0.0, 1.0, 1.0)
    steps = [1.0, 1.0, 0.0]
    if vectors and len(vectors) == len(spatial):
        steps[: len(vectors)] = [float(np.linalg.norm(vector)) * unit for vector in vectors]
    elif head.words("spacings"):
        given = head.words("spacings")
        for place, axis in enumerate(spatial):
            value = float(given[axis]) if axis < len(given) else float("nan")
            unit = next((_length(word) for word in head.words("units")[axis:]), 1.0)
            steps[place] = abs(value) * unit
    return None, (steps[2], steps[1], steps[0])


def _order(head: Header) -> Literal["<", ">"]:
    """Of bytes; little-endian where it is not told."""
    return ">" if head.fields.get("endian", "").lower() == "big" else "<"


def _without_time(space: str) -> str:
    """A space of three dimensions for one whose fourth is time."""
    return space.removesuffix("-time") if "-" in space else space.removesuffix("t") if len(space) == 4 else space


def _length(word: str) -> float:
    """A unit of length in mm; 1 where it is none."""
    return LENGTHS.get(word.strip('"').lower(), 1.0)


def rewrite(source: Path, target: Path, new: New) -> None:
    """The source's header around new values; one volume where the source held several."""
    head = read_header(source)
    found, raw = layout(source)
    if raw.packed != "text":
        new = new.ordered(_order(head))
    keep = list(range(len(head.sizes())))
    if found.shape[0] > 1 and int(np.prod(new.shape[:3])) != int(np.prod(found.shape)):
        keep = [i for i, role in enumerate(raw.roles[::-1]) if role != "v"]
    lines = [head.lines[0]]
    for line in head.lines[1:]:
        key, mark, value = line.partition(":")
        name = _name(key)
        if line.startswith("#") or not mark or value.startswith("="):
            lines += [] if new.clean else [line]
            continue
        if name in ("datafile", "lineskip", "byteskip") or (new.clean and name not in _GEOMETRY):
            continue
        changed = value
        if len(keep) < len(head.sizes()):
            changed = _reduced(head, name, value, keep)
        if name == "type" and new.dtype != raw.dtype:
            changed = f" {_NAMES[new.dtype.str[1:]]}"
        elif name == "encoding" and raw.packed == "text":
            changed = " raw"
        lines.append(f"{key}:{changed}" if changed != value else line)
    if raw.packed == "text" or (new.dtype.itemsize > 1 and "endian" not in head.fields):
        lines = [line for line in lines if _name(line.partition(":")[0]) != "endian"]
        lines.append(f"endian: {'big' if new.dtype.str[0] == '>' else 'little'}")
    new = replace(new, slices=(raw.arranged(values) for values in new.slices))
    _write(target, lines, "" if raw.packed == "text" else raw.packed, new)


def _reduced(head: Header, name: str, value: str, keep: list[int]) -> str:
    """The text of a field for the axes that stay."""
    words = head.words(name)
    if name == "dimension":
        return f" {len(keep)}"
    if name in _PER_AXIS:
        words = [words[i] for i in keep if i < len(words)]
    if name in ("spacedirections", "spaceorigin"):
        words = [f"({','.join(word.strip('()').split(',')[:3])})" if "(" in word else word for word in words]
    if name == "spaceunits":
        words = words[:3]
    if name == "space":
        words = [_without_time(value.strip())]
    return " 3" if name == "spacedimension" else f" {' '.join(words)}"


def create(target: Path, new: New, affine: Affine, unit: str, words: str, *, measured: bool) -> None:
    """A new file, gzipped. affine: (column, row, slice) → LPS, mm if measured. unit: of values. words: how made."""
    colour = len(new.shape) == 4
    sizes = [*new.shape[3:], new.shape[2], new.shape[1], new.shape[0]]
    vectors = ["none"] * colour + [_bracket(affine[:3, i]) for i in range(3)]
    lines = [
        "NRRD0005",
        f"# {' '.join(words.split())}",
        f"type: {_NAMES[new.dtype.str[1:]]}",
        f"dimension: {len(sizes)}",
        "space: left-posterior-superior",
        f"sizes: {' '.join(str(n) for n in sizes)}",
        f"space directions: {' '.join(vectors)}",
        f"kinds: {'RGB-color ' if colour else ''}domain domain domain",
        f"endian: {'big' if new.dtype.str[0] == '>' else 'little'}",
        "encoding: gzip",
        *(['space units: "mm" "mm" "mm"'] if measured else []),
        f"space origin: {_bracket(affine[:3, 3])}",
    ]
    if unit:
        lines.append(f'sample units: "{unit}"')
    _write(target, lines, "gzip", new)


def _bracket(values: Affine) -> str:
    return f"({','.join(repr(float(value)) for value in values)})"


def _write(target: Path, lines: list[str], packed: Packing, new: New) -> None:
    data = target
    if target.suffix.lower() == ".nhdr":
        data = target.with_suffix({"gzip": ".raw.gz", "bzip2": ".raw.bz2"}.get(packed, ".raw"))
        lines = [*lines, f"data file: {data.name}"]
    header = "\n".join(lines).encode("utf-8", "surrogateescape") + b"\n"
    if data != target:
        target.write_bytes(header)
    with data.open("wb") as file:
        if data == target:
            file.write(header + b"\n")
        out = packer(file, packed)
        for block in new.blocks():
            out.write(block)
        out.close()
