"""Several slices in one file: NIfTI, NRRD, MetaImage, TIFF, .npy and .npz. Read slice by slice."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np

from aegui.errors import UserError
from aegui.imaging.files.formats import arrays, metaimage, nifti, nrrd, tiff
from aegui.imaging.files.formats.detached import companions
from aegui.imaging.files.formats.layout import Layout, New, Stack
from aegui.imaging.files.formats.raw import Broken, Raw, RawStack
from aegui.imaging.recent import Recent
from aegui.imaging.series import INVERTED, Mask, Pixels, Series, Skipped, Stored, bits_of_values
from aegui.imaging.text import digest, made_uid
from aegui.imaging.values import OUTSIDE_CT, finite, looks_like_ct, numbers, single

_HEADERS: dict[str, ModuleType] = {
    ".nii": nifti,
    ".nii.gz": nifti,
    ".nrrd": nrrd,
    ".nhdr": nrrd,
    ".mha": metaimage,
    ".mhd": metaimage,
}
SUFFIXES = (*_HEADERS, ".npz")
_LARGE = 1 << 28  # bytes; values of larger packed files are not looked at while scanning


def suffix_of(path: Path) -> str:
    """The suffix in lower case, .nii.gz whole."""
    name = path.name.lower()
    return ".nii.gz" if name.endswith(".nii.gz") else path.suffix.lower()


def describe(path: Path, root: Path) -> Series | tuple[Series, ...] | Skipped:
    """The series in one volume file, a series for each volume of each of its arrays."""
    data = companions(path)
    home = _absolute(path.parent)
    if not all(_absolute(item).is_relative_to(home) for item in data):
        return Skipped(path, "It names a data file outside its own folder: not read.", damaged=True)
    lost = [item for item in data if not item.is_file()]
    if lost:
        return Skipped(path, f"Its data file {lost[0].name} is missing.", damaged=True)
    try:
        found: list[Series] = []
        for part, layout, notes in _layouts(path):
            found += _series(path, root, tuple(data), part, layout.placed(), notes)
    except Exception as error:  # noqa: BLE001 - any broken file is listed, the rest goes on
        return skipped(path, error, "a volume")
    if len(found) == 1:
        return found[0]
    return tuple(replace(one, uid=f"{one.uid}#{i + 1}" if i else one.uid) for i, one in enumerate(found))


def _absolute(path: Path) -> Path:
    """Without “..”; links stay as they are, the user made them."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - resolve() would follow links


def skipped(path: Path, error: Exception, kind: str) -> Skipped:
    """What to say of a file that could not be read. kind: what it should have been, with its article."""
    if isinstance(error, UserError):
        return Skipped(path, error.message, isinstance(error, Broken))
    if isinstance(error, FileNotFoundError):
        return Skipped(path, "It is no longer there.")
    if isinstance(error, OSError) and error.errno is not None:
        return Skipped(path, f"Cannot be read: {error.strerror or error}.", damaged=True)
    return Skipped(path, f"Damaged, or not {kind}.", damaged=True)


def _layouts(path: Path) -> list[tuple[str, Layout, list[str]]]:
    """(part, what it is, what to say of it) of each array that is a stack of slices."""
    suffix = suffix_of(path)
    if suffix in _HEADERS:
        layout, raw = _HEADERS[suffix].layout(path)
        raw.check()
        return [("", layout, [])]
    if suffix == ".npz":
        found, others = arrays.npz(path)
        return [(name, array.layout(), others if i == 0 else []) for i, (name, array) in enumerate(found.items())]
    if suffix == ".npy":
        return [("", arrays.npy(path).layout(), [])]
    return [(part, layout, []) for part, layout in tiff.layouts(path).items()]


def _series(
    path: Path, root: Path, data: tuple[Path, ...], part: str, layout: Layout, others: list[str]
) -> list[Series]:
    volumes, slices, rows, columns = layout.shape
    unsigned = layout.dtype.kind == "u" and layout.scale[1] >= 0
    grey = layout.channels == 1 and not unsigned and not layout.problem
    hounsfield = grey and _middle_looks_like_ct(path, part, layout)
    notes = [*layout.notes, *others, *layout.remarks()]
    if hounsfield:
        notes.append("Taken for CT by its values")
    if slices == 1:
        notes.append("One slice only")
    stem = path.name[: len(path.name) - len(suffix_of(path))].removesuffix(".ome")
    where = str(path.resolve())
    subject = re.match(r"sub-[A-Za-z0-9]+", stem)
    name = part.removesuffix(".npy") if suffix_of(path) == ".npz" else f"Image {int(part) + 1}" if part else ""
    first = Series(
        uid=made_uid("volume", where),
        study_uid=made_uid("folder", path.resolve().parent),
        patient=digest("name", subject.group().lower()) if subject else digest("volume", where),
        label="",
        study_date="",
        modality="CT" if hounsfield else "OT",
        description=f"{stem} · {name}" if name else stem,
        form="volume",
        files=(path, *data),
        rows=rows,
        columns=columns,
        slices=slices,
        geometry=layout.geometry(),
        unit="HU" if hounsfield else "",
        channels=layout.channels,
        acquisition=INVERTED if layout.inverted else {},
        bits=bits_of_values(layout.dtype.itemsize * 8, layout.scale),
        warnings=tuple(notes),
        treat="view" if layout.problem else "denoise",
        reason=layout.problem,
        root=root,
        part=part,
    )
    if volumes == 1:
        return [first]
    return [_volume(first, i, layout.words[i]) for i in range(volumes)]


def _volume(first: Series, number: int, words: str) -> Series:
    start = number * first.slices
    return replace(
        first,
        description=f"{first.description} · {words}",
        frames=tuple(range(start, start + first.slices)),
        acquisition={**first.acquisition, **({"temporal": number + 1} if words.startswith("Volume") else {})},
    )


def _middle_looks_like_ct(path: Path, part: str, layout: Layout) -> bool:
    volumes, slices, rows, columns = layout.shape
    large = volumes * slices * rows * columns * layout.dtype.itemsize > _LARGE
    suffix = suffix_of(path)
    if suffix in _HEADERS:
        raw = _HEADERS[suffix].layout(path)[1]
        if large and raw.packed:
            return False
        values = raw.peek(slices // 2)
    else:
        if large and suffix == ".npz":
            return False
        stack = open_stack(path, part)
        try:
            values = stack.slice(slices // 2)
        finally:
            stack.close()
    return looks_like_ct(values * layout.scale[0] + layout.scale[1] if layout.scale != (1.0, 0.0) else values)


def open_stack(path: Path, part: str = "") -> Stack:
    """The slices of one array of a file."""
    suffix = suffix_of(path)
    if suffix in _HEADERS:
        raw = _HEADERS[suffix].layout(path)[1]
        return _borrowed(path, raw) if raw.packed and raw.size("v") > 1 else RawStack(raw)
    if suffix in tiff.SUFFIXES:
        return tiff.TiffStack(path, part)
    return arrays.stack(path, part)


class _Borrowed:
    """A stack that stays unpacked for the other volumes of its file: hundreds, often, of one measurement."""

    def __init__(self, stack: RawStack) -> None:
        self._stack = stack

    def slice(self, index: int) -> Stored:
        """Slice `index`."""
        return self._stack.slice(index)

    def close(self) -> None:
        """Another file of volumes will take its place."""


_lender = threading.Lock()
_lent: tuple[object, RawStack] | None = None


def _borrowed(path: Path, raw: Raw) -> _Borrowed:
    global _lent
    state = path.stat()
    key = (path, state.st_size, state.st_mtime_ns)
    with _lender:
        if _lent is None or _lent[0] != key:
            if _lent is not None:
                _lent[1].close()
            _lent = (key, RawStack(raw))
        return _Borrowed(_lent[1])


def rewrite(series: Series, target: Path, new: New) -> None:
    """`new` in the format of the series, with its header."""
    path = series.files[0]
    suffix = suffix_of(path)
    if suffix in _HEADERS:
        _HEADERS[suffix].rewrite(path, target, new)
    elif suffix in tiff.SUFFIXES:
        tiff.rewrite(path, series.part, target, new)
    else:
        arrays.rewrite(path, series.part, target, new)


class VolumeSource:
    """A volume file, or one volume of it. Nothing but the slice asked for is kept in memory, unless it is packed."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self._stack: Stack | None = None
        self._scale: tuple[float, float] | None = None
        self._last: Recent[Stored] = Recent(1)  # read() and valid() ask for the same slice
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return self.series.slices

    @property
    def scale(self) -> tuple[float, float]:
        """Slope and intercept that make stored values real."""
        if self._scale is None:
            path = self.series.files[0]
            form = _HEADERS.get(suffix_of(path))
            with self._named():
                self._scale = (1.0, 0.0) if form is None else form.layout(path)[0].scale
        return self._scale

    def stored(self, index: int) -> Stored:
        """Slice `index` in the file's own type."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        last = self._last.get(index)
        if last is not None:
            return last
        number = self.series.frames[index] if self.series.frames else index
        with self._named():
            values = np.asarray(self._opened().slice(number))
        if values.shape[:2] != (self.series.rows, self.series.columns):
            raise UserError(f"{self.series.files[0].name} has changed its size.", "Scan the folder again.")
        self._last.keep(index, values)
        return values

    def _opened(self) -> Stack:
        with self._lock:
            if self._stack is None:
                self._stack = open_stack(self.series.files[0], self.series.part)
            return self._stack

    @contextmanager
    def _named(self) -> Iterator[None]:
        """What goes wrong with the file, in words that name it."""
        name = self.series.files[0].name
        try:
            yield
        except UserError as error:
            if name in error.message:
                raise
            raise UserError(f"{name}: {error.message}", error.hint or "Scan the folder again.") from error
        except Exception as error:
            raise UserError(f"{name} cannot be read.", "The file may be cut off or damaged. Copy it again.") from error

    def real(self, values: Stored) -> Stored:
        """Stored values in real units."""
        slope, intercept = self.scale
        return values if (slope, intercept) == (1.0, 0.0) else values.astype(np.float64) * slope + intercept

    def read(self, index: int) -> Pixels:
        """Slice `index` in real units; values that are not numbers read as 0."""
        return finite(single(self.real(self.stored(index))))

    def valid(self, index: int) -> Mask:
        """False where there is no number that 32 bits hold, and in CT outside the field of view."""
        values = self.real(self.stored(index))
        mask = numbers(values)
        return mask & (values > OUTSIDE_CT) if self.series.modality == "CT" else mask

    def close(self) -> None:
        """Release the file."""
        self._last.clear()
        with self._lock:
            if self._stack is not None:
                self._stack.close()
                self._stack = None
