"""NIfTI-1 and NIfTI-2 in one file, plain or gzipped."""

from __future__ import annotations

import gzip
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aegui.errors import UserError
from aegui.imaging.formats.layout import Affine, Layout, New, derived_note
from aegui.imaging.formats.raw import Broken, Packing, Raw, packer

_TYPES = {
    2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 128: "u1", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8",
}  # fmt: skip
_RGB = 128
_UNREAD = {1: "One-bit image: not a scan.", 2304: "Colours with transparency: not read."} | dict.fromkeys(
    (32, 1792, 2048), "Complex numbers: not read."
)
_CODES = {"u1": 2, "i2": 4, "i4": 8, "f4": 16, "f8": 64, "i1": 256, "u2": 512, "u4": 768, "i8": 1024, "u8": 1280}
_METRES = {1: 1000.0, 3: 0.001}  # NIfTI's units of length in mm; 0 (unknown) is taken for mm, as everywhere
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # NIfTI counts to the right, the anterior and the head
_Field = tuple[int, str]
_FIELDS: dict[int, dict[str, _Field]] = {
    348: {
        "data_type": (4, "10s"), "db_name": (14, "18s"), "dim": (40, "8h"), "datatype": (70, "h"),
        "bitpix": (72, "h"), "pixdim": (76, "8f"),
        "vox_offset": (108, "f"), "scl_slope": (112, "f"), "scl_inter": (116, "f"), "xyzt_units": (123, "B"),
        "descrip": (148, "80s"), "aux_file": (228, "24s"), "qform_code": (252, "h"), "sform_code": (254, "h"),
        "quatern": (256, "3f"), "qoffset": (268, "3f"), "srow": (280, "12f"), "intent_name": (328, "16s"),
        "magic": (344, "4s"),
    },
    540: {
        "magic": (4, "8s"), "datatype": (12, "h"), "bitpix": (14, "h"), "dim": (16, "8q"), "pixdim": (104, "8d"),
        "vox_offset": (168, "q"), "scl_slope": (176, "d"), "scl_inter": (184, "d"), "descrip": (240, "80s"),
        "aux_file": (320, "24s"), "qform_code": (344, "i"), "sform_code": (348, "i"), "quatern": (352, "3d"),
        "qoffset": (376, "3d"), "srow": (400, "12d"), "xyzt_units": (500, "i"), "intent_name": (508, "16s"),
    },
}  # fmt: skip
_TEXTS = ("data_type", "db_name", "descrip", "aux_file", "intent_name")
_LARGEST_1 = 32767  # what an axis of NIfTI-1 may hold
_UNITS_MM = 2


@dataclass(frozen=True)
class Header:
    """The bytes of a header, to the first voxel. size: 348 or 540."""

    data: bytes
    order: str
    size: int
    packed: Packing

    def get(self, name: str) -> tuple[Any, ...]:
        """The values of a field."""
        offset, code = _FIELDS[self.size][name]
        return struct.unpack_from(self.order + code, self.data, offset)

    def one(self, name: str) -> Any:
        """The value of a field that has one."""
        return self.get(name)[0]

    def changed(self, **fields: Any) -> Header:
        """A copy with other values; fields that this version does not have are passed over."""
        data = bytearray(self.data)
        for name, value in fields.items():
            if name in _FIELDS[self.size]:
                offset, code = _FIELDS[self.size][name]
                struct.pack_into(self.order + code, data, offset, *(value if isinstance(value, tuple) else (value,)))
        return Header(bytes(data), self.order, self.size, self.packed)


def read_header(path: Path) -> Header:
    """Header and extensions. Broken where it is not NIfTI."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream: Any = gzip.GzipFile(fileobj=file) if zipped else file
        try:
            start = stream.read(544)
            order, size = _kind(start)
            head = Header(start, order, size, "gzip" if zipped else "")
            offset = max(size, int(head.one("vox_offset")) if np.isfinite(head.one("vox_offset")) else 0)
            if offset > 1 << 26:
                raise Broken("Damaged: its values begin nowhere near its header.")
            data = start[:offset] + stream.read(max(0, offset - len(start)))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Broken("Truncated or damaged: its header cannot be unpacked.") from error
    if len(data) < offset:
        raise Broken("Truncated: it ends within its header.")
    return Header(data, order, size, "gzip" if zipped else "")


def _kind(start: bytes) -> tuple[str, int]:
    for order in "<>":
        for size in (348, 540):
            if len(start) >= size and struct.unpack_from(order + "i", start)[0] == size:
                magic = start[344:348] if size == 348 else start[4:8]
                if magic in (b"n+1\0", b"n+2\0"):
                    return order, size
                if magic in (b"ni1\0", b"ni2\0"):
                    raise UserError("Header of a two-file NIfTI: not read. Save it as one .nii file.")
    raise Broken("Not a NIfTI file, whatever its name says, or its header is damaged.")


def layout(path: Path) -> tuple[Layout, Raw]:
    """What the file holds and where."""
    head = read_header(path)
    dims = head.get("dim")
    if not 1 <= dims[0] <= 7:
        raise Broken(f"Damaged: it claims {dims[0]} dimensions.")
    code = head.one("datatype")
    if code not in _TYPES:
        raise UserError(_UNREAD.get(code, f"NIfTI data type {code}: not read."))
    sizes = [int(n) for n in dims[1 : dims[0] + 1]]
    if min(sizes) <= 0:
        raise Broken("Holds no values.")
    sizes += [1] * (3 - len(sizes))
    roles = "v" * (len(sizes) - 3) + "zyx" + ("c" if code == _RGB else "")
    shape = (*sizes[::-1], *((3,) if code == _RGB else ()))
    dtype = np.dtype(head.order + _TYPES[code])
    raw = Raw(((path, 0),), dtype, shape, roles, head.packed, len(head.data))
    slope, intercept = float(head.one("scl_slope")), float(head.one("scl_inter"))
    if not np.isfinite(slope) or slope == 0 or not np.isfinite(intercept) or code == _RGB:
        slope, intercept = 1.0, 0.0
    affine, spacing, notes = _place(head)
    volumes = raw.size("v")
    found = Layout(
        (volumes, sizes[2], sizes[1], sizes[0]),
        dtype,
        3 if code == _RGB else 1,
        affine,
        spacing,
        (slope, intercept),
        _words(path, volumes),
        (*notes, *derived_note(head.one("descrip").decode("latin-1"))),
    )
    return found, raw


def _words(path: Path, volumes: int) -> tuple[str, ...]:
    """Volumes are points in time unless a table of b-values beside the file says what else they are."""
    if volumes < 2:
        return ()
    name = path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem
    try:
        weights = (path.parent / f"{name}.bval").read_text("ascii")[:65536].split()
    except (OSError, ValueError):
        weights = []
    if len(weights) == volumes:
        return tuple(f"b-value {weight}, volume {i + 1} of {volumes}" for i, weight in enumerate(weights))
    return tuple(f"Volume {i + 1} of {volumes}" for i in range(volumes))


def _place(head: Header) -> tuple[Affine | None, tuple[float, float, float], tuple[str, ...]]:
    unit = _METRES.get(int(head.one("xyzt_units")) & 7, 1.0)
    step = [abs(float(value)) * unit for value in head.get("pixdim")[1:4]]
    spacing = (step[2] if np.isfinite(step[2]) else 0.0, step[1], step[0])
    sform = np.eye(4)
    sform[:3] = np.reshape(head.get("srow"), (3, 4))
    scale = np.diag([unit, unit, unit, 1.0])
    qform = _qform(head)
    both = head.one("sform_code") > 0 and head.one("qform_code") > 0
    notes: tuple[str, ...] = ()
    if both and np.isfinite(sform).all() and not np.allclose(sform, qform, atol=1e-2 * max(step[0] / unit, 1e-6)):
        notes = ("Two unequal positions in the header: the sform was taken",)
    if head.one("sform_code") <= 0 and head.one("qform_code") <= 0:
        return None, spacing, notes
    chosen = sform if head.one("sform_code") > 0 else qform
    return (_LPS @ scale @ chosen if np.isfinite(chosen).all() else np.full((4, 4), np.nan)), spacing, notes


def _qform(head: Header) -> Affine:
    b, c, d = (float(value) for value in head.get("quatern"))
    pixdim = [float(value) for value in head.get("pixdim")[:4]]
    if not np.isfinite([b, c, d, *pixdim]).all() or max(abs(b), abs(c), abs(d)) > 1.01:
        return np.full((4, 4), np.nan)
    a = np.sqrt(max(0.0, 1.0 - (b * b + c * c + d * d)))
    turn = np.array(
        [
            [a * a + b * b - c * c - d * d, 2 * (b * c - a * d), 2 * (b * d + a * c)],
            [2 * (b * c + a * d), a * a + c * c - b * b - d * d, 2 * (c * d - a * b)],
            [2 * (b * d - a * c), 2 * (c * d + a * b), a * a + d * d - b * b - c * c],
        ]
    )
    affine = np.eye(4)
    affine[:3, :3] = turn * [abs(pixdim[1]), abs(pixdim[2]), abs(pixdim[3]) * (-1.0 if pixdim[0] < 0 else 1.0)]
    affine[:3, 3] = head.get("qoffset")
    return affine


def rewrite(source: Path, target: Path, new: New) -> None:
    """The source's header, whole, around new values; one volume where the source held several."""
    head = read_header(source)
    dims = list(head.get("dim"))
    if int(np.prod(dims[1 : dims[0] + 1])) != int(np.prod(new.shape[:3])):
        dims = [3, dims[1], dims[2], dims[3], 1, 1, 1, 1]
    fields: dict[str, Any] = {"dim": tuple(dims)}
    if new.dtype != np.dtype(head.order + _TYPES[head.one("datatype")]):
        fields |= {"datatype": _CODES[new.dtype.str[1:]], "bitpix": new.dtype.itemsize * 8}
    if new.scale != _scale(head):
        fields |= {"scl_slope": new.scale[0], "scl_inter": new.scale[1]}
    if new.clean:
        start = head.size + 4
        fields |= dict.fromkeys(_TEXTS, b"") | {"vox_offset": start}
        head = Header(head.data[: head.size] + bytes(4), head.order, head.size, head.packed)
    _write(target, head.changed(**fields), new)


def _scale(head: Header) -> tuple[float, float]:
    slope, intercept = float(head.one("scl_slope")), float(head.one("scl_inter"))
    return (slope, intercept) if np.isfinite([slope, intercept]).all() and slope != 0 else (1.0, 0.0)


def create(target: Path, new: New, affine: Affine, words: str) -> None:
    """A new NIfTI-1 file, NIfTI-2 where an axis is too long. affine: (column, row, slice) → LPS, mm."""
    slices, rows, columns = new.shape[:3]
    size = 348 if max(slices, rows, columns) <= _LARGEST_1 else 540
    data = bytearray(size + 4)
    struct.pack_into("<i", data, 0, size)
    if size == 540:
        data[4:12] = b"n+2\0\r\n\x1a\n"
    packed: Packing = "gzip" if target.name.endswith(".gz") else ""
    ras = _LPS @ affine
    steps = np.linalg.norm(ras[:3, :3], axis=0)
    colour = len(new.shape) == 4
    head = Header(bytes(data), "<", size, packed).changed(
        dim=(3, columns, rows, slices, 1, 1, 1, 1),
        datatype=_RGB if colour else _CODES[new.dtype.str[1:]],
        bitpix=24 if colour else new.dtype.itemsize * 8,
        vox_offset=size + 4,
        scl_slope=new.scale[0],
        scl_inter=new.scale[1],
        xyzt_units=_UNITS_MM,
        descrip=words.encode("ascii", "replace")[:79],
        sform_code=1,
        srow=tuple(float(value) for value in ras[:3].ravel()),
    )
    if size == 348:
        head = head.changed(magic=b"n+1\0")
    turn, flip = ras[:3, :3] / steps, 1.0
    if np.linalg.det(turn) < 0:
        turn, flip = turn * [1.0, 1.0, -1.0], -1.0
    head = head.changed(pixdim=(flip, *(float(step) for step in steps), 0.0, 0.0, 0.0, 0.0))
    # Slices that are stacked at an angle fit no quaternion; a reader that knows only those must not misplace them.
    if np.abs(turn.T @ turn - np.eye(3)).max() < 1e-4:
        offset = tuple(float(value) for value in ras[:3, 3])
        head = head.changed(qform_code=1, quatern=_quaternion(turn), qoffset=offset)
    _write(target, head, new)


def _quaternion(turn: Affine) -> tuple[float, float, float]:
    """(b, c, d) with a ≥ 0, of a rotation."""
    xx, yx, zx = turn[:, 0]
    xy, yy, zy = turn[:, 1]
    xz, yz, zz = turn[:, 2]
    matrix = np.array(
        [
            [xx - yy - zz, 0, 0, 0],
            [xy + yx, yy - xx - zz, 0, 0],
            [xz + zx, yz + zy, zz - xx - yy, 0],
            [zy - yz, xz - zx, yx - xy, xx + yy + zz],
        ]
    )
    vector = np.linalg.eigh(matrix)[1][:, -1]
    vector = -vector if vector[3] < 0 else vector
    return float(vector[0]), float(vector[1]), float(vector[2])


def _write(target: Path, head: Header, new: New) -> None:
    with target.open("wb") as file:
        out = packer(file, head.packed)
        out.write(head.data)
        for block in new.blocks():
            out.write(block)
        out.close()
