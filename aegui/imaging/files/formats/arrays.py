"""NumPy files: .npy with one array, .npz with several. Never pickles."""

from __future__ import annotations

import math
import threading
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from aegui.errors import UserError
from aegui.imaging.files.formats.layout import Layout, New
from aegui.imaging.files.formats.raw import Broken, Packing, Raw, RawStack
from aegui.imaging.series import Stored

_LOCAL_HEADER = 30  # bytes before the name in a zip's local header
_MOST_ARRAYS = 10_000


def is_colour(shape: tuple[int, ...]) -> bool:
    """Whether an array of three axes is one colour picture and no stack."""
    return len(shape) == 3 and shape[2] == 3 and min(shape[:2]) > 4


def refusal(shape: tuple[int, ...], dtype: np.dtype[Any]) -> str:
    """Why an array is no stack of slices; "" if it is."""
    if dtype.hasobject:
        return "Array of Python objects: refused, it may hold a program."
    if dtype.kind not in "uif" or dtype.itemsize > 8:
        return f"Array of {dtype.name}: not an image."
    if min(shape, default=0) <= 0:
        return "Holds no values."
    return "" if len(shape) in (2, 3) else f"Array of {len(shape)} dimensions: not an image."


def _header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """(shape, Fortran order, dtype) of the array that begins here; the file is left at its values."""
    try:
        version = np.lib.format.read_magic(file)
        if version == (1, 0):
            shape, fortran, dtype = np.lib.format.read_array_header_1_0(file)
        elif version in ((2, 0), (3, 0)):
            # Version 3 only allows more characters in the names of fields, which images have none of.
            shape, fortran, dtype = np.lib.format.read_array_header_2_0(file)
        else:
            raise Broken("Not a NumPy file, whatever its name says.")
    except (ValueError, EOFError) as error:
        raise Broken("Not a NumPy file, whatever its name says, or its header is damaged.") from error
    return tuple(int(n) for n in shape), bool(fortran), np.dtype(dtype)


@dataclass(frozen=True)
class Array:
    """One array. offset: of its values in the file, or behind the start of its member of an .npz."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype[Any]
    offset: int

    def layout(self) -> Layout:
        """Of the slices in it."""
        colour = is_colour(self.shape)
        slices = 1 if colour or len(self.shape) == 2 else self.shape[0]
        rows, columns = self.shape[:2] if colour else self.shape[-2:]
        return Layout((1, slices, rows, columns), self.dtype, 3 if colour else 1)

    def raw(self, path: Path, start: int = 0, packed: Packing = "", skip: int = 0) -> Raw:
        """Where its values are. An array whose first axis varies fastest is one block: its slices lie scattered."""
        if self.fortran:
            shape = (1, *self.shape[::-1])
            return Raw(((path, start),), self.dtype, shape, "z" + "v" * (len(shape) - 3) + "yx", packed, skip)
        roles = "yxc" if is_colour(self.shape) else "zyx"[-len(self.shape) :]
        return Raw(((path, start),), self.dtype, self.shape, roles, packed, skip)


def _array(file: IO[bytes]) -> Array:
    shape, fortran, dtype = _header(file)
    if reason := refusal(shape, dtype):
        raise UserError(reason)
    return Array(shape, fortran, dtype, file.tell())


def npy(path: Path) -> Array:
    """The array of a .npy file. UserError where it is no image, Broken where it is cut off."""
    with path.open("rb") as file:
        array = _array(file)
    array.raw(path, array.offset).check()
    return array


def npz(path: Path) -> tuple[dict[str, Array], list[str]]:
    """The arrays of an .npz that are stacks of slices, by name, and what of it is none."""
    found: dict[str, Array] = {}
    others: list[UserError] = []
    with _archive(path) as archive:
        for info in archive.infolist()[:_MOST_ARRAYS]:
            try:
                found[info.filename] = _member(archive, info, path)
            except UserError as error:
                others.append(error)
            except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError):
                others.append(Broken(f"“{info.filename[:60]}” is damaged or packed in an unusual way."))
    if not found:
        raise others[0] if others else UserError("Holds no arrays.")
    return found, [error.message for error in others]


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> Array:
    if not info.filename.endswith(".npy"):
        raise UserError(f"“{info.filename[:60]}” is no array.")
    with archive.open(info) as file:
        array = _array(file)
    need = array.offset + math.prod(array.shape) * array.dtype.itemsize
    if info.file_size != need:
        raise Broken(f"“{info.filename[:60]}” does not hold what its header says.")
    _place(path, info, array).check()
    return array


def _place(path: Path, info: zipfile.ZipInfo, array: Array) -> Raw:
    """Where the values of a member lie in the archive."""
    with path.open("rb") as file:
        file.seek(info.header_offset + _LOCAL_HEADER - 4)
        lengths = file.read(4)
    start = info.header_offset + _LOCAL_HEADER
    start += int.from_bytes(lengths[:2], "little") + int.from_bytes(lengths[2:], "little")
    if info.compress_type == zipfile.ZIP_STORED:
        return array.raw(path, start + array.offset)
    if info.compress_type != zipfile.ZIP_DEFLATED:
        raise UserError(f"“{info.filename[:60]}” is packed in an unusual way: not read.")
    return array.raw(path, start, "deflate", array.offset)


def _archive(path: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(path)
    except zipfile.BadZipFile as error:
        raise Broken("Damaged, or not an NPZ file.") from error


def stack(path: Path, part: str) -> RawStack | FortranStack:
    """The slices of a .npy, or of one array of an .npz."""
    if not part:
        array = npy(path)
        raw = array.raw(path, array.offset)
    else:
        with _archive(path) as archive:
            info = archive.getinfo(part)
            array = _member(archive, info, path)
            raw = _place(path, info, array)
    return FortranStack(raw, array) if array.fortran else RawStack(raw)


class FortranStack:
    """An array whose first axis varies fastest: it is read whole, once."""

    def __init__(self, raw: Raw, array: Array) -> None:
        self._raw = raw
        self._array = array
        self._values: Stored | None = None
        self._lock = threading.Lock()  # slices are read ahead by several threads

    def slice(self, index: int) -> Stored:
        """Slice `index`."""
        with self._lock:
            if self._values is None:
                source = RawStack(self._raw)
                try:
                    whole = np.frombuffer(source.whole(), self._array.dtype)
                finally:
                    source.close()
                self._values = whole.reshape(self._array.shape, order="F")
            values = self._values
        return np.ascontiguousarray(values if values.ndim == 2 or is_colour(values.shape) else values[index])

    def close(self) -> None:
        """Forget the values."""
        self._values = None


def rewrite(source: Path, part: str, target: Path, new: New) -> None:
    """The values as .npy, or as the only array of an .npz."""
    if not part:
        shape = npy(source).shape
        with target.open("wb") as file:
            _write(file, shape, new)
        return
    with _archive(source) as archive:
        info = archive.getinfo(part)
        shape = _member(archive, info, source).shape
    with zipfile.ZipFile(target, "w") as archive:
        fresh = zipfile.ZipInfo("arr_0.npy" if new.clean else part, (1980, 1, 1, 0, 0, 0))
        fresh.compress_type = info.compress_type
        with archive.open(fresh, "w", force_zip64=True) as member:
            _write(member, shape, new)


def _write(file: Any, shape: tuple[int, ...], new: New) -> None:
    header = {"descr": np.lib.format.dtype_to_descr(new.dtype), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for block in new.blocks():
        file.write(block)
