"""NIfTI-1 and NIfTI-2 in one file, plain or gzipped."""

from __future__ import annotations

import gzip
import math
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from aegui.errors import UserError
from aegui.imaging.files.formats.layout import Affine, Layout, New, derived_note, volume_words
from aegui.imaging.files.formats.raw import Broken, Packing, Raw, packer

_UNREAD = {1: "One-bit image: not a scan.", 2304: "Colours with transparency: not read."} | dict.fromkeys(
    (32, 1792, 2048), "Complex numbers: not read."
)
_METRES = {1: 1000.0, 3: 0.001}  # NIfTI's units of length in mm; 0 (unknown) is taken for mm, as everywhere
_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # NIfTI counts to the right, the anterior and the head
_LONGEST_HEADER = 540  # bytes, of NIfTI-2
_LARGEST_1 = 32767  # what an axis of NIfTI-1 may hold


@dataclass(frozen=True)
class Header:
    """fields: a header of nibabel. tail: what lies between it and the first voxel as it is: extensions, mostly."""

    fields: Any
    tail: bytes
    packed: Packing

    @property
    def length(self) -> int:
        """Bytes before the first voxel."""
        return int(self.fields.sizeof_hdr) + len(self.tail)


def read_header(path: Path) -> Header:
    """Header and extensions. Broken where it is not NIfTI."""
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        stream: Any = gzip.GzipFile(fileobj=file) if zipped else file
        try:
            start = stream.read(_LONGEST_HEADER)
            fields = _fields(start)
            told = float(fields["vox_offset"])
            offset = max(fields.sizeof_hdr, int(told) if np.isfinite(told) else 0)
            if offset > 1 << 26:
                raise Broken("Damaged: its values begin nowhere near its header.")
            data = start[:offset] + stream.read(max(0, offset - len(start)))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            raise Broken("Truncated or damaged: its header cannot be unpacked.") from error
    if len(data) < offset:
        raise Broken("Truncated: it ends within its header.")
    return Header(fields, data[fields.sizeof_hdr :], "gzip" if zipped else "")


def _fields(start: bytes) -> Any:
    """Unchecked: nibabel would mend what is wrong, and a file must leave as it came."""
    from nibabel import Nifti1Header, Nifti2Header

    for kind in (Nifti1Header, Nifti2Header):
        for order in ("little", "big"):
            if len(start) < kind.sizeof_hdr or int.from_bytes(start[:4], order) != kind.sizeof_hdr:
                continue
            fields = kind(start[: kind.sizeof_hdr], order, check=False)
            if fields["magic"] == kind.single_magic:
                return fields
            if fields["magic"] == kind.pair_magic:
                raise UserError("Header of a two-file NIfTI: not read. Save it as one .nii file.")
    raise Broken("Not a NIfTI file, whatever its name says, or its header is damaged.")


def _values(fields: Any) -> tuple[np.dtype[Any], int]:
    """Type and number of the values of a voxel."""
    code = int(fields["datatype"])
    try:
        dtype = fields.get_data_dtype()
    except KeyError:
        dtype = np.dtype(np.void)
    if dtype.names == ("R", "G", "B"):
        return np.dtype("u1"), 3
    if dtype.kind not in "iuf" or dtype.itemsize > 8:
        raise UserError(_UNREAD.get(code, f"NIfTI data type {code}: not read."))
    return dtype, 1


def _scale(fields: Any) -> tuple[float, float]:
    """Slope and intercept; colours have none, whatever the fields say."""
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    used = np.isfinite([slope, intercept]).all() and slope != 0 and _values(fields)[1] == 1
    return (slope, intercept) if used else (1.0, 0.0)


@np.errstate(invalid="ignore")  # damaged headers hold NaNs of every kind
def layout(path: Path) -> tuple[Layout, Raw]:
    """What the file holds and where."""
    head = read_header(path)
    fields = head.fields
    count, *sizes = fields["dim"].tolist()
    if not 1 <= count <= 7:
        raise Broken(f"Damaged: it claims {count} dimensions.")
    dtype, channels = _values(fields)
    sizes = sizes[:count] + [1] * (3 - count)
    if min(sizes) <= 0:
        raise Broken("Holds no values.")
    roles = "v" * (len(sizes) - 3) + "zyx" + ("c" if channels == 3 else "")
    shape = (*sizes[::-1], *((3,) if channels == 3 else ()))
    raw = Raw(((path, 0),), dtype, shape, roles, head.packed, head.length)
    affine, spacing, notes = _place(fields)
    volumes = raw.size("v")
    found = Layout(
        (volumes, sizes[2], sizes[1], sizes[0]),
        dtype,
        channels,
        affine,
        spacing,
        _scale(fields),
        _words(path, volumes),
        (*notes, *derived_note(fields["descrip"].item().decode("latin-1"))),
    )
    return found, raw


def _words(path: Path, volumes: int) -> tuple[str, ...]:
    """Volumes are points in time unless a table of b-values beside the file says what else they are."""
    words = volume_words(volumes)
    if not words:
        return ()
    name = path.name[: -len(".nii.gz")] if path.name.lower().endswith(".nii.gz") else path.stem
    try:
        weights = (path.parent / f"{name}.bval").read_text("ascii")[:65536].split()
    except (OSError, ValueError):
        weights = []
    if len(weights) == volumes:
        return tuple(f"b-value {weight}, volume {i + 1} of {volumes}" for i, weight in enumerate(weights))
    return words


def _place(fields: Any) -> tuple[Affine | None, tuple[float, float, float], tuple[str, ...]]:
    unit = _METRES.get(int(fields["xyzt_units"]) & 7, 1.0)
    step = [abs(value) * unit for value in fields["pixdim"][1:4].tolist()]
    spacing = (step[2] if np.isfinite(step[2]) else 0.0, step[1], step[0])
    sform, qform = fields.get_sform(), _qform(fields)
    scale = np.diag([unit, unit, unit, 1.0])
    both = fields["sform_code"] > 0 and fields["qform_code"] > 0
    notes: tuple[str, ...] = ()
    if both and np.isfinite(sform).all() and not np.allclose(sform, qform, atol=1e-2 * max(step[0] / unit, 1e-6)):
        notes = ("Two unequal positions in the header: the sform was taken",)
    if fields["sform_code"] <= 0 and fields["qform_code"] <= 0:
        return None, spacing, notes
    chosen = sform if fields["sform_code"] > 0 else qform
    return (_LPS @ scale @ chosen if np.isfinite(chosen).all() else np.full((4, 4), np.nan)), spacing, notes


def _qform(fields: Any) -> Affine:
    """As get_qform, which refuses what many programs write: rounded quaternions, and no sign of the slices."""
    from nibabel.quaternions import quat2mat

    vector = np.array([float(fields[f"quatern_{axis}"]) for axis in "bcd"])
    sign, *steps = fields["pixdim"][:4].tolist()
    if not np.isfinite([*vector, sign, *steps]).all() or np.abs(vector).max() > 1.01:
        return np.full((4, 4), np.nan)
    affine = np.eye(4)
    affine[:3, :3] = quat2mat([np.sqrt(max(0.0, 1.0 - vector @ vector)), *vector]) * np.abs(steps)
    affine[:3, 2] *= -1.0 if sign < 0 else 1.0
    affine[:3, 3] = [float(fields[f"qoffset_{axis}"]) for axis in "xyz"]
    return affine


def rewrite(source: Path, target: Path, new: New) -> None:
    """The source's header, whole, around new values; one volume where the source held several."""
    head = read_header(source)
    fields, tail = head.fields, head.tail
    new = new.ordered(fields.endianness)
    count, *sizes = fields["dim"].tolist()
    if math.prod(sizes[:count]) != math.prod(new.shape[:3]):
        fields["dim"] = [3, *sizes[:3], 1, 1, 1, 1]
    if new.dtype != _values(fields)[0]:
        fields.set_data_dtype(new.dtype)
    if new.scale != _scale(fields):
        fields.set_slope_inter(*new.scale)
    if new.clean:
        for name in fields:
            if fields[name].dtype.kind == "S" and name != "magic":
                fields[name] = b""
        fields["vox_offset"], tail = fields.single_vox_offset, bytes(4)
    _write(target, Header(fields, tail, head.packed), new)


def create(target: Path, new: New, affine: Affine, words: str, *, measured: bool) -> None:
    """A new NIfTI-1 file, NIfTI-2 where an axis is too long. affine: (column, row, slice) → LPS, mm if measured."""
    from nibabel import Nifti1Header, Nifti2Header

    slices, rows, columns = new.shape[:3]
    fields = (Nifti1Header if max(slices, rows, columns) <= _LARGEST_1 else Nifti2Header)(endianness="<")
    fields.set_data_shape((columns, rows, slices))
    fields.set_data_dtype("RGB" if len(new.shape) == 4 else new.dtype)
    fields.set_slope_inter(*new.scale)
    fields.set_xyzt_units("mm" if measured else "unknown")
    fields["vox_offset"] = fields.single_vox_offset
    fields["descrip"] = words.encode("ascii", "replace")[:79]
    ras = _LPS @ affine
    turn = ras[:3, :3] / np.linalg.norm(ras[:3, :3], axis=0)
    # Slices that are stacked at an angle fit no quaternion; a reader that knows only those must not misplace them.
    square = np.abs(turn.T @ turn - np.eye(3)).max() < 1e-4
    fields.set_qform(ras, "scanner" if square else "unknown")
    fields.set_sform(ras, "scanner")
    _write(target, Header(fields, bytes(4), "gzip" if target.name.endswith(".gz") else ""), new)


def _write(target: Path, head: Header, new: New) -> None:
    with target.open("wb") as file:
        out = packer(file, head.packed)
        out.write(head.fields.binaryblock + head.tail)
        for block in new.blocks():
            out.write(block)
        out.close()
