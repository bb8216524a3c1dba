"""Outputs grow under a temporary name beside their final place and are renamed when they are whole."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from aegui.errors import UserError
from aegui.imaging.removed import SUFFIX

_PART = ".part"
_OURS = re.compile(r"\..*\.[a-z0-9_]{8}\.part")  # as mkdtemp names them below
_ABANDONED = 86400.0  # seconds since anything was added


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn what goes wrong on the disk into words."""
    try:
        yield
    except OSError as error:
        # pydicom raises another one from it, its traceback as the message.
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        raise UserError(
            f"Cannot write to {folder}: {cause.strerror or cause}.",
            "Choose another output folder, or see that the disk has room and you may write there.",
        ) from error


def _clear(folder: Path) -> None:
    """Remove what a program that was killed left behind; another one may be at work on what is younger."""
    for item in folder.glob(f".*{_PART}"):
        with suppress(OSError):
            ours = _OURS.fullmatch(item.name) and item.is_dir() and not item.is_symlink()
            if ours and time.time() - item.stat().st_mtime > _ABANDONED:
                shutil.rmtree(item, ignore_errors=True)


class Staging:
    """A temporary folder inside the output folder, named so that scans pass it by."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        with writing(folder):
            folder.mkdir(parents=True, exist_ok=True)
            _clear(folder)
            self.path = Path(tempfile.mkdtemp(prefix=f".{name[:40]}.", suffix=_PART, dir=folder))

    def publish_folder(self) -> Path:
        """Rename the whole folder into place; never over something that is there."""
        with writing(self.folder):
            # mkdtemp makes a folder only its owner can enter; outputs follow the user's own umask.
            umask = os.umask(0)
            os.umask(umask)
            self.path.chmod(0o777 & ~umask)
            final = self.folder / self.name
            number = 1
            while os.path.lexists(final):
                number += 1
                final = self.folder / f"{self.name}_{number}"
            self.path.rename(final)
        return final

    def publish_files(self) -> Path:
        """Move the files into the output folder, the one called `name` last; returns that one."""
        final = self.folder / self.name
        moved: list[Path] = []
        try:
            with writing(self.folder):
                others = [item for item in sorted(self.path.iterdir()) if item.name != self.name]
                for item in [*others, self.path / self.name]:
                    moved += [item.replace(self.folder / item.name)]
                self.path.rmdir()
        except UserError:
            for item in moved:
                item.unlink(missing_ok=True)
            raise
        return final

    def discard(self) -> None:
        """Remove what was written."""
        shutil.rmtree(self.path, ignore_errors=True)


class SeriesFolders:
    """The folder of a derived series and, where it is kept, that of the removed noise: both appear, or neither."""

    def __init__(self, folder: Path, name: str, *, noise: bool) -> None:
        self.denoised = Staging(folder, name)
        self.noise: Staging | None = None
        if noise:
            try:
                self.noise = Staging(folder, f"{name}{SUFFIX}")
            except UserError:
                self.denoised.discard()
                raise

    def publish(self) -> Path:
        """Rename them into place, the noise after the denoised one's name; returns that."""
        final = self.denoised.publish_folder()
        if self.noise is not None:
            self.noise.name = f"{final.name}{SUFFIX}"
            try:
                self.noise.publish_folder()
            except UserError:
                shutil.rmtree(final, ignore_errors=True)
                raise
        return final

    def discard(self) -> None:
        """Remove what was written."""
        self.denoised.discard()
        if self.noise is not None:
            self.noise.discard()


class Spool:
    """Slices of one shape on disk, in any order. No memory map: a full disk would end the program with it."""

    def __init__(self, path: Path, count: int, shape: tuple[int, ...], dtype: npt.DTypeLike) -> None:
        self.path = path
        self._count = count
        self._shape = shape
        self.dtype = np.dtype(dtype).newbyteorder("<")
        self._size = int(np.prod(shape)) * self.dtype.itemsize
        with writing(path.parent):
            self._file = path.open("w+b", buffering=0)

    def __len__(self) -> int:
        return self._count

    def __setitem__(self, place: int, values: npt.NDArray[Any]) -> None:
        data = memoryview(np.ascontiguousarray(values, self.dtype).tobytes())
        with writing(self.path.parent):
            self._file.seek(place * self._size)
            while data:
                data = data[self._file.write(data) :]

    def __getitem__(self, place: int) -> npt.NDArray[Any]:
        if not 0 <= place < self._count:
            raise IndexError(place)
        self._file.seek(place * self._size)
        data = bytearray(self._size)
        if self._file.readinto(data) != self._size:
            raise ValueError(f"slice {place} was not written")
        return np.frombuffer(data, self.dtype).reshape(self._shape)

    def close(self) -> None:
        """Close the file, which stays."""
        self._file.close()

    def discard(self) -> None:
        """Close and remove the file."""
        self._file.close()
        self.path.unlink(missing_ok=True)
