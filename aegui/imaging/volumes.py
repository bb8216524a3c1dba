"""Volumes in one file: NIfTI, NRRD, MetaImage (SimpleITK), 3-D .npy, multi-page TIFF."""

from __future__ import annotations

import gzip
import re
import struct
import threading
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tifffile

from aegui.errors import UserError
from aegui.imaging.pixels import OUTSIDE_CT
from aegui.imaging.quiet import itk
from aegui.imaging.series import Geometry, Mask, Pixels, Series, Skipped, Vector
from aegui.imaging.text import digest, made_uid

SUFFIXES = (".nii", ".nii.gz", ".nrrd", ".nhdr", ".mha", ".mhd")
_HEADERS = (".mhd", ".nhdr")
_PACKED = (".zraw", ".gz", ".bz2")
_CT_LIKE = -900  # a grey value this low in a whole-number volume is air in HU
_LARGE = 1 << 28  # bytes; values of larger files are not looked at while scanning


def suffix_of(path: Path) -> str:
    """The suffix in lower case, .nii.gz whole."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def companions(header: Path) -> list[Path]:
    """The data files that an .mhd or .nhdr header names, existing or not."""
    if suffix_of(header) not in _HEADERS:
        return []
    try:
        lines = header.read_bytes()[:65536].decode("latin-1").splitlines()
    except OSError:
        return []
    for i, line in enumerate(lines):
        key, _, value = line.partition("=" if suffix_of(header) == ".mhd" else ":")
        if key.strip().lower() not in ("elementdatafile", "data file", "datafile"):
            continue
        value = value.strip()
        if value.upper().startswith("LIST"):
            return [header.parent / name.strip() for name in lines[i + 1 :] if name.strip()]
        if value.upper() == "LOCAL":
            return []
        parts = value.split()
        if "%" in value and len(parts) >= 4:
            return _numbered(header.parent, parts)
        return [header.parent / value]
    return []


def _numbered(folder: Path, parts: list[str]) -> list[Path]:
    pattern = parts[0]
    if not re.fullmatch(r"[^%]*%0?\d*d[^%]*", pattern):
        return []
    try:
        start, end, step = (int(part) for part in parts[1:4])
    except ValueError:
        return []
    return [folder / (pattern % number) for number in range(start, end + 1, max(1, step))][:100_000]


def describe(path: Path, root: Path) -> Series | Skipped:
    """The series in one volume file."""
    data = companions(path)
    lost = [item for item in data if not item.is_file()]
    if lost:
        return Skipped(path, f"Its data file {lost[0].name} is missing.")
    try:
        return _npy(path, root) if suffix_of(path) == ".npy" else _itk(path, root, data)
    except UserError as error:
        return Skipped(path, error.message)
    except Exception:  # noqa: BLE001 - any broken file is listed, the rest goes on
        return Skipped(path, "Damaged or not a volume: it cannot be read.")


def _npy(path: Path, root: Path) -> Series | Skipped:
    array = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.shape[0] == 0 or min(array.shape) == 0:
        return Skipped(path, "Holds no values.")
    shape = Geometry((0.0, 1.0, 1.0))
    return _series(path, root, (path,), array.shape[0], array.shape[1:3], shape, array.dtype, 1, [])


def describe_tiff(path: Path, root: Path, pages: int, shape: tuple[int, int], dtype: np.dtype[Any]) -> Series:
    """The series in a TIFF of many pages."""
    return _series(path, root, (path,), pages, shape, Geometry((0.0, 1.0, 1.0)), dtype, 1, [])


def _itk(path: Path, root: Path, data: list[Path]) -> Series | Skipped:
    sitk = itk()
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    size, components = reader.GetSize(), reader.GetNumberOfComponents()
    dimension = reader.GetDimension()
    pixel = reader.GetPixelID()
    if dimension not in (2, 3, 4) or min(size) == 0:
        return Skipped(path, f"{dimension} dimensions: not read.")
    if components not in (1, 3) or pixel in (sitk.sitkComplexFloat32, sitk.sitkComplexFloat64):
        return Skipped(path, f"{components} values per voxel: not read.")
    expected = _least_bytes(path, reader, data)
    there = path.stat().st_size + sum(item.stat().st_size for item in data)
    if (_unpacked_bytes(path, expected) if suffix_of(path) == ".nii.gz" else there) < expected:
        return Skipped(path, "Truncated: the file is shorter than its header says.")
    dtype = _dtype(pixel)
    depth = 1 if dimension == 2 else size[2]
    times = size[3] if dimension == 4 else 1
    warnings = [f"{times} volumes in one file, one after the other"] if times > 1 else []
    geometry = _geometry(reader, dimension, depth, times)
    return _series(path, root, (path, *data), depth * times, (size[1], size[0]), geometry, dtype, components, warnings)


def _least_bytes(path: Path, reader: Any, data: list[Path]) -> int:
    """Bytes an uncompressed file must have at least; 0 where that is not known."""
    if suffix_of(path) not in (".nii", ".nii.gz", ".mhd") or any(item.suffix.lower() in _PACKED for item in data):
        return 0
    voxels = int(np.prod(reader.GetSize(), dtype=np.int64)) * int(reader.GetNumberOfComponents())
    if suffix_of(path) == ".mhd":
        return 0 if is_compressed(path) else voxels * _dtype(reader.GetPixelID()).itemsize
    # The type in the file may be smaller than the one that a slope makes of it.
    opener = gzip.open if suffix_of(path) == ".nii.gz" else open
    with opener(path, "rb") as file:
        head = file.read(112)
    order = "<" if head[:4] == b"\x5c\x01\x00\x00" else ">"
    bits, offset = struct.unpack_from(f"{order}h", head, 72)[0], struct.unpack_from(f"{order}f", head, 108)[0]
    if head[:4] not in (b"\x5c\x01\x00\x00", b"\x00\x00\x01\x5c"):
        return 0
    return int(offset) + int(np.prod(reader.GetSize(), dtype=np.int64)) * int(bits) // 8


def _unpacked_bytes(path: Path, expected: int) -> int:
    """Size of what a .gz holds, from its last four bytes, or by unpacking where these do not fit."""
    with path.open("rb") as file:
        file.seek(-4, 2)
        if struct.unpack("<I", file.read(4))[0] == expected & 0xFFFFFFFF:
            return expected
    size = 0
    try:
        with gzip.open(path, "rb") as packed:
            while block := packed.read(1 << 20):
                size += len(block)
    except (EOFError, OSError, zlib.error):
        return size - 1
    return size


def is_compressed(path: Path) -> bool:
    """Whether a volume file is stored compressed."""
    suffix = suffix_of(path)
    if suffix == ".nii.gz":
        return True
    start = path.read_bytes()[:4096] if suffix in (*_HEADERS, ".mha", ".nrrd") else b""
    return b"CompressedData = True" in start or b"encoding: gz" in start


def _dtype(pixel: int) -> np.dtype[Any]:
    sitk = itk()
    names = {
        "uint8": (sitk.sitkUInt8, sitk.sitkVectorUInt8),
        "int8": (sitk.sitkInt8, sitk.sitkVectorInt8),
        "uint16": (sitk.sitkUInt16, sitk.sitkVectorUInt16),
        "int16": (sitk.sitkInt16, sitk.sitkVectorInt16),
        "uint32": (sitk.sitkUInt32, sitk.sitkVectorUInt32),
        "int32": (sitk.sitkInt32, sitk.sitkVectorInt32),
        "uint64": (sitk.sitkUInt64, sitk.sitkVectorUInt64),
        "int64": (sitk.sitkInt64, sitk.sitkVectorInt64),
        "float32": (sitk.sitkFloat32, sitk.sitkVectorFloat32),
        "float64": (sitk.sitkFloat64, sitk.sitkVectorFloat64),
    }
    return np.dtype(next(name for name, ids in names.items() if pixel in ids))


def _geometry(reader: Any, dimension: int, depth: int, times: int) -> Geometry:
    spacing, origin = reader.GetSpacing(), reader.GetOrigin()
    matrix = np.asarray(reader.GetDirection(), float).reshape(dimension, dimension)
    if dimension == 2:
        return Geometry((0.0, spacing[1], spacing[0]))
    row, column, along = matrix[:3, 0], matrix[:3, 1], matrix[:3, 2]
    start = np.asarray(origin[:3], float)
    points = [start + k * spacing[2] * along for k in range(depth)] * times
    positions: tuple[Vector, ...] = tuple((float(p[0]), float(p[1]), float(p[2])) for p in points)
    axes = tuple(float(value) for value in (*row, *column))
    return Geometry((float(spacing[2]) if depth > 1 else 0.0, spacing[1], spacing[0]), axes, positions)


def _series(
    path: Path,
    root: Path,
    files: tuple[Path, ...],
    slices: int,
    shape: tuple[int, ...],
    geometry: Geometry,
    dtype: np.dtype[Any],
    channels: int,
    warnings: list[str],
) -> Series:
    hounsfield = channels == 1 and dtype.kind != "u" and _middle_looks_like_ct(path)
    notes = list(warnings)
    if hounsfield:
        notes.append("Taken for CT by its values")
    if slices == 1:
        notes.append("One slice only")
    stem = path.name[: len(path.name) - len(suffix_of(path))]
    where = str(path.resolve())
    subject = re.match(r"sub-[A-Za-z0-9]+", stem)
    return Series(
        uid=made_uid("volume", where),
        study_uid=made_uid("folder", path.resolve().parent),
        patient=digest("name", subject.group().lower()) if subject else digest("volume", where),
        label="",
        study_date="",
        modality="CT" if hounsfield else "OT",
        description=stem,
        form="volume",
        files=files,
        rows=int(shape[0]),
        columns=int(shape[1]),
        slices=int(slices),
        geometry=geometry,
        unit="HU" if hounsfield else "",
        channels=channels,
        bits=dtype.itemsize * 8,
        warnings=tuple(notes),
        root=root,
    )


def _middle_looks_like_ct(path: Path) -> bool:
    if path.stat().st_size > _LARGE:
        return False
    values = load(path)
    return looks_like_ct(values[values.shape[0] // 2])


def looks_like_ct(values: npt.NDArray[Any]) -> bool:
    """Whether grey values of a slice without a header can only be Hounsfield units."""
    low, high = float(np.nanmin(values)), float(np.nanmax(values))
    return -4096 <= low <= _CT_LIKE and 0 < high <= 32767


def load(path: Path) -> npt.NDArray[Any]:
    """All values: (slices, rows, columns), colour with a last axis of 3. Mapped from the file where possible."""
    if suffix_of(path) == ".npy":
        return np.asarray(np.load(path, mmap_mode="r", allow_pickle=False))
    if suffix_of(path) in (".tif", ".tiff"):
        pages = tifffile.imread(path)
        return np.asarray(pages.reshape(-1, *pages.shape[-2:]))
    sitk = itk()
    values = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    colour = values.shape[-1:] if values.ndim > 2 and _components(path) == 3 else ()
    height, width = values.shape[-3:-1] if colour else values.shape[-2:]
    return np.asarray(values.reshape(-1, height, width, *colour))


def _components(path: Path) -> int:
    sitk = itk()
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    return int(reader.GetNumberOfComponents())


class VolumeSource:
    """A volume file. It is loaded at the first read; .npy stays on the disk."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self._values: npt.NDArray[Any] | None = None
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.series.slices

    def stored(self, index: int) -> npt.NDArray[Any]:
        """Slice `index` in the file's own type."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        with self._lock:
            if self._values is None:
                path = self.series.files[0]
                try:
                    self._values = load(path)
                except Exception as error:
                    raise UserError(
                        f"{path.name} cannot be read.", "The file may be cut off or damaged. Copy it again."
                    ) from error
            return np.asarray(self._values[index])

    def read(self, index: int) -> Pixels:
        """Slice `index`; values that are not numbers read as 0."""
        values = np.array(self.stored(index), np.float32)
        return values if np.isfinite(values).all() else np.nan_to_num(values, copy=False, posinf=0.0, neginf=0.0)

    def valid(self, index: int) -> Mask:
        """False where there is no number, and in CT outside the field of view."""
        values = self.stored(index)
        if values.ndim == 3:
            return np.ones(values.shape[:2], bool)
        mask = np.isfinite(values) if values.dtype.kind == "f" else np.ones(values.shape, bool)
        return mask & (values > OUTSIDE_CT) if self.series.modality == "CT" else mask

    def close(self) -> None:
        """Release the values."""
        with self._lock:
            self._values = None
