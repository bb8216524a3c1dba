"""Voxels behind a volume header: plain or packed bytes, read slice by slice, never a whole volume at once."""

from __future__ import annotations

import bz2
import gzip
import io
import math
import struct
import tempfile
import threading
import weakref
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

import numpy as np

from aegui.errors import UserError
from aegui.imaging.limits import believable, room
from aegui.imaging.series import Stored
from aegui.paths import cache_home

Packing = Literal["", "gzip", "zlib", "deflate", "bzip2", "text"]
LARGEST_SLICE = 178_956_970  # pixels
_MOST_BYTES = 1 << 46
_BLOCK = 1 << 20
_IN_MEMORY = 1 << 27  # bytes; larger volumes are unpacked to the disk
_LONGEST_TEXT = 1 << 29


class Broken(UserError):  # noqa: N818 - it names the file, not the code
    """The file should hold slices but is cut off, damaged or contradicts itself."""


@dataclass(frozen=True)
class Raw:
    """Where the voxels of one volume file lie.

    files: (data file, offset of its first byte; −1: the data are its last bytes), each an equal share of the slowest
    axis. shape: as stored, slowest axis first. roles: a letter per axis: v volumes, z slices, y rows, x columns,
    c colours. skip: bytes to pass over after unpacking.
    """

    files: tuple[tuple[Path, int], ...]
    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    roles: str
    packed: Packing = ""
    skip: int = 0

    def size(self, role: str) -> int:
        """Product of the axes with this role; 1 without any."""
        return math.prod(n for n, r in zip(self.shape, self.roles, strict=True) if r == role)

    @property
    def length(self) -> int:
        """Bytes of all voxels."""
        return math.prod(self.shape) * self.dtype.itemsize

    @property
    def inner(self) -> tuple[tuple[int, ...], str]:
        """Shape and roles of the axes that vary within one step of z."""
        start = self.roles.index("z") + 1 if "z" in self.roles else _first_in_plane(self.roles)
        return self.shape[start:], self.roles[start:]

    def arranged(self, values: Stored) -> Stored:
        """A slice (rows, columns[, colours]) with its axes in the order of the file."""
        order = [role for role in self.inner[1] if role in "yxc"]
        return values if values.ndim == 2 else np.moveaxis(values, (0, 1, 2), [order.index(role) for role in "yxc"])

    def check(self) -> None:
        """UserError or Broken where the header claims what cannot be, or what the file does not hold."""
        if min(self.shape, default=0) <= 0:
            raise Broken("Holds no values.")
        spatial = [role for role in self.roles if role in "zyx"]
        outer = self.roles[: len(self.roles) - len(self.inner[1])]
        if spatial not in (["z", "y", "x"], ["y", "x"]) or set(outer) - set("vz"):
            raise UserError("Its axes are stored in an unusual order: not read.")
        if self.size("y") * self.size("x") > LARGEST_SLICE or self.length > _MOST_BYTES:
            words = " × ".join(str(n) for n in self.shape[::-1])
            raise Broken(f"Its header claims {words} values, which cannot be.")
        if math.prod(self.shape[: len(outer)]) % len(self.files):
            raise Broken("Its slices do not spread evenly over its data files.")
        there = sum(max(0, path.stat().st_size - max(0, offset)) for path, offset in self.files)
        if self.packed:
            self._check_packed(there)
        elif there < self.skip + self.length:
            raise Broken(f"Truncated: {there * 100 // (self.skip + self.length)} % of its values are there.")

    def _check_packed(self, there: int) -> None:
        need = self.skip + self.length
        if self.packed == "text":
            if there > _LONGEST_TEXT or there < 2 * math.prod(self.shape) - 1:
                raise Broken("Truncated: it holds fewer values than its header says.")
            return
        if need > believable(there):
            raise Broken(f"Its header claims {_gigabytes(need)}, packed in {_gigabytes(there)}: refused.")
        if self.packed == "gzip" and len(self.files) == 1 and _gzip_size(self.files[0][0]) == need & 0xFFFFFFFF:
            return
        have = 0
        try:
            for chunk in self._chunks():
                have += len(chunk)
                if have >= need:
                    return
        except (EOFError, OSError, zlib.error) as error:
            raise Broken(f"Truncated or damaged: {have * 100 // need} % of its values can be unpacked.") from error
        raise Broken(f"Truncated: {have * 100 // need} % of its values are there.")

    def _chunks(self) -> Iterator[bytes]:
        """The unpacked bytes of all files, in turn."""
        for path, offset in self.files:
            with path.open("rb") as file:
                file.seek(max(0, offset))
                yield from _unpacked(file, self.packed, self.dtype)

    def peek(self, index: int) -> Stored:
        """One slice, without keeping anything else; for a look while scanning."""
        if not self.packed or self.packed == "text":
            stack = RawStack(self)
            try:
                return stack.slice(index)
            finally:
                stack.close()
        start, count = self._place(index)
        start += self.skip
        kept = bytearray()
        position = 0
        for chunk in self._chunks():
            kept += chunk[max(0, start - position) : max(0, start + count - position)]
            position += len(chunk)
            if position >= start + count:
                break
        if len(kept) < count:
            raise Broken("Truncated: the file is shorter than its header says.")
        return self._picked(bytes(kept), index)

    def _place(self, index: int) -> tuple[int, int]:
        """First byte and number of bytes of the block that holds a slice."""
        block = math.prod(self.inner[0]) * self.dtype.itemsize
        volume, plane = divmod(index, self.size("z"))
        inside = math.prod(n for n, role in zip(*self.inner, strict=True) if role == "v")
        return ((volume // inside) * self.size("z") + plane) * block, block

    def _picked(self, block: bytes, index: int) -> Stored:
        """The slice in its block, colours last."""
        shape, roles = self.inner
        values = np.frombuffer(block, self.dtype).reshape(shape)
        sizes = [n for n, role in zip(shape, roles, strict=True) if role == "v"]
        if sizes:
            which = iter(np.unravel_index((index // self.size("z")) % math.prod(sizes), sizes))
            values = values[tuple(int(next(which)) if role == "v" else slice(None) for role in roles)]
        order = [role for role in roles if role in "yxc"]
        if "c" in order:
            values = np.moveaxis(values, order.index("c"), -1)
        return np.ascontiguousarray(values)


def _first_in_plane(roles: str) -> int:
    return min((i for i, role in enumerate(roles) if role in "yxc"), default=0)


def _gigabytes(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 1e8 else f"{size / 1e6:.1f} MB"


def _gzip_size(path: Path) -> int:
    """What a gzip file says of its unpacked size, modulo 2³²."""
    with path.open("rb") as file:
        if file.seek(0, 2) < 18:
            return -1
        file.seek(-4, 2)
        return int(struct.unpack("<I", file.read(4))[0])


def _unpacked(file: IO[bytes], packed: Packing, dtype: np.dtype[Any]) -> Iterator[bytes]:
    if packed in ("zlib", "deflate"):
        unpacker = zlib.decompressobj(47 if packed == "zlib" else -zlib.MAX_WBITS)
        while not unpacker.eof and (block := unpacker.unconsumed_tail or file.read(_BLOCK)):
            yield unpacker.decompress(block, _BLOCK)
        yield unpacker.flush()
        return
    if packed == "text":
        words = file.read(_LONGEST_TEXT).split()
        wide = np.float64 if dtype.kind == "f" else np.uint64 if dtype.kind == "u" else np.int64
        yield np.array(words).astype(wide).astype(dtype).tobytes()
        return
    stream: Any = gzip.GzipFile(fileobj=file) if packed == "gzip" else bz2.BZ2File(file)
    with stream:
        while block := stream.read(_BLOCK):
            yield block


class RawStack:
    """The slices of all volumes of a file, one volume after the other."""

    def __init__(self, raw: Raw) -> None:
        self.raw = raw
        self._lock = threading.Lock()
        self._whole: IO[bytes] | None = None

    def slice(self, index: int) -> Stored:
        """Slice `index` as stored, (rows, columns[, 3]). UserError where the file does not hold it."""
        start, count = self.raw._place(index)
        block = self._read(start, count)
        return self.raw._picked(block, index)

    def whole(self) -> bytes:
        """All values, as stored."""
        return self._read(0, self.raw.length)

    def close(self) -> None:
        """Drop what was unpacked."""
        with self._lock:
            if self._whole is not None:
                self._whole.close()
                self._whole = None

    def _read(self, start: int, count: int) -> bytes:
        name = self.raw.files[0][0].name
        try:
            if self.raw.packed:
                with self._lock:
                    if self._whole is None:
                        self._whole = _unpack(self.raw)
                        weakref.finalize(self, self._whole.close)
                    self._whole.seek(self.raw.skip + start)
                    block = self._whole.read(count)
            else:
                block = self._read_plain(start, count)
        except OSError as error:
            why = error.strerror or "the file may be cut off or damaged"
            raise UserError(f"{name} cannot be read: {why}.", "Copy it again, or make room on the disk.") from error
        except (EOFError, ValueError, zlib.error) as error:
            raise UserError(f"{name} cannot be read.", "The file may be cut off or damaged. Copy it again.") from error
        if len(block) < count:
            raise UserError(f"{name} is cut off.", "Copy the file again.")
        return block

    def _read_plain(self, start: int, count: int) -> bytes:
        # Plain reads: a mapped file that is cut off or lies on a lost drive would end the whole program.
        share = self.raw.length // len(self.raw.files)
        parts = []
        while count > 0:
            number, inside = divmod(start, share)
            if number >= len(self.raw.files):
                break
            path, offset = self.raw.files[number]
            piece = min(count, share - inside)
            with path.open("rb") as file:
                begin = offset + self.raw.skip if offset >= 0 else file.seek(0, 2) - share
                file.seek(begin + inside)
                parts.append(file.read(piece))
            start, count = start + piece, count - piece
        return b"".join(parts)


def _unpack(raw: Raw) -> IO[bytes]:
    """All bytes in memory, or in a file that has no name and goes with the program."""
    need = raw.skip + raw.length
    if need <= _IN_MEMORY:
        out: IO[bytes] = io.BytesIO()
    else:
        home = cache_home()
        if need > room(home):
            raise UserError(
                f"{raw.files[0][0].name} unpacks to {_gigabytes(need)}, more than the disk has free.", "Make room."
            )
        out = tempfile.TemporaryFile(dir=home)  # noqa: SIM115 - the caller keeps it open
    written = 0
    try:
        for chunk in raw._chunks():
            written += out.write(chunk[: need - written])
            if written >= need:
                break
    except BaseException:
        out.close()
        raise
    if written < need:
        out.close()
        raise UserError(f"{raw.files[0][0].name} is cut off.", "Copy the file again.")
    return out


def packer(file: IO[bytes], packed: Packing) -> Any:
    """A file object that packs what is written to it into `file`; close it before `file`."""
    if packed == "gzip":
        # No name and no time inside: the same values give the same bytes.
        return gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6, mtime=0)
    if packed == "bzip2":
        return bz2.BZ2File(file, "wb")
    return _Zlib(file) if packed == "zlib" else _Plain(file)


class _Plain:
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def write(self, data: bytes) -> None:
        self._file.write(data)

    def close(self) -> None:
        self._file.flush()


class _Zlib(_Plain):
    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file)
        self._packer = zlib.compressobj(6)

    def write(self, data: bytes) -> None:
        self._file.write(self._packer.compress(data))

    def close(self) -> None:
        self._file.write(self._packer.flush())
        self._file.flush()
