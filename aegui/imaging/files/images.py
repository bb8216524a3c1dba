"""Folders of images: PNG, JPEG, TIFF, BMP and 2-D .npy, one slice per file."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from aegui.errors import UserError
from aegui.imaging.files import volumes
from aegui.imaging.files.formats import arrays, picture, tiff
from aegui.imaging.recent import Recent
from aegui.imaging.series import INVERTED, Geometry, Mask, Pixels, Series, Skipped, Stored
from aegui.imaging.text import digest, made_uid, natural
from aegui.imaging.values import OUTSIDE_CT, finite, looks_like_ct, numbers, single

SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".npy", ".gif")
_ENDINGS = re.compile(r"(\.(dcm|dicom|ima|nii|gz|png|jpe?g|tiff?|bmp|npy))+$", re.IGNORECASE)
_MARK = r"(?:im|img|image|slice|sl|frame|fr|z)"
_LAST_NUMBER = re.compile(rf"[-_ .]*(?:{_MARK}[-_ .]*)?\d+$", re.IGNORECASE)
_MARKED_NUMBER = re.compile(rf"[-_ .]+{_MARK}[-_ .]*\d+$", re.IGNORECASE)
_CACHED = 16  # more than are read ahead, kept as neighbours, denoised and written at once


@dataclass(frozen=True, slots=True)
class Picture:
    """What scanning keeps of one image file. spacing: mm, (y, x). inverted: low values are bright."""

    file: Path
    root: Path
    rows: int
    columns: int
    channels: int
    bits: int
    spacing: tuple[float, float] | None = None
    problem: str = ""
    inverted: bool = False


def patient_stem(path: Path) -> str:
    """The part of a file name that says whose it is: SC-HF-I-06 of SC-HF-I-06-IM-0001-0079.dcm.png."""
    stem = _ENDINGS.sub("", path.name)
    stem = _LAST_NUMBER.sub("", stem)
    while (shorter := _MARKED_NUMBER.sub("", stem)) != stem:
        stem = shorter
    return re.sub(rf"[-_ .]+{_MARK}$", "", stem, flags=re.IGNORECASE).strip("-_ .")


def inspect(path: Path, root: Path) -> Picture | Series | tuple[Series, ...] | Skipped:
    """One image file. A 3-D array or a TIFF of many pages is a series of its own, or several."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".npy":
            return _inspect_npy(path, root)
        if suffix in tiff.SUFFIXES:
            return _inspect_tiff(path, root)
        return Picture(path, root, *picture.inspect(path))
    except Exception as error:  # noqa: BLE001 - any broken file is listed, the rest goes on
        return volumes.skipped(path, error, f"a {suffix[1:].upper()} image")


def _inspect_npy(path: Path, root: Path) -> Picture | Series | tuple[Series, ...] | Skipped:
    array = arrays.npy(path)
    layout = array.layout()
    if len(array.shape) == 3 and layout.channels == 1:
        return volumes.describe(path, root)
    return Picture(path, root, layout.shape[2], layout.shape[3], layout.channels, layout.dtype.itemsize * 8)


def _inspect_tiff(path: Path, root: Path) -> Picture | Series | tuple[Series, ...] | Skipped:
    found = tiff.layouts(path)
    layout = found.get("")
    if layout is None or layout.shape[:2] != (1, 1):
        return volumes.describe(path, root)
    layout = layout.placed()
    spacing = None if layout.spacing[1:] == (1.0, 1.0) else layout.spacing[1:]
    rows, columns = layout.shape[2:]
    facts = (rows, columns, layout.channels, layout.dtype.itemsize * 8, spacing, layout.problem, layout.inverted)
    return Picture(path, root, *facts)


def gather(pictures: Sequence[Picture]) -> Iterator[tuple[list[Series], list[Skipped]]]:
    """One series per folder, patient prefix, file type, size and channels."""
    groups: dict[tuple[object, ...], list[Picture]] = defaultdict(list)
    for item in pictures:
        stem = patient_stem(item.file)
        kind = ".jpg" if item.file.suffix.lower() == ".jpeg" else item.file.suffix.lower()
        form = (item.rows, item.columns, item.channels, item.bits, item.spacing, item.problem, item.inverted)
        groups[(item.file.parent, stem, kind, *form)].append(item)
    for members in groups.values():
        yield [_series(members)], []


def _series(members: list[Picture]) -> Series:
    members = sorted(members, key=lambda item: natural(item.file.name))
    first = members[0]
    folder = first.file.parent.resolve()
    stem = patient_stem(first.file)
    # A prefix with letters and digits names somebody; "slice" or "img" only does within its folder.
    telling = bool(re.search(r"[A-Za-z]", stem) and re.search(r"\d", stem))
    key = digest("name", stem.casefold()) if telling else digest("name", folder, stem.casefold())
    parts = (folder, stem, first.file.suffix.lower(), first.rows, first.columns, first.channels, first.bits)
    grey = first.channels == 3 and first.bits == 8 and not first.problem and _all_grey(members)
    hounsfield = first.file.suffix.lower() == ".npy" and first.channels == 1 and _looks_like_ct(members)
    notes = ("Taken for CT by its values",) if hounsfield else ()
    return Series(
        uid=made_uid(
            "images", *parts, first.problem, *(first.spacing or ()), *(["inverted"] if first.inverted else [])
        ),
        study_uid=made_uid("folder", folder),
        patient=key,
        label="",
        study_date="",
        modality="CT" if hounsfield else "OT",
        description=folder.name,
        form="images",
        files=tuple(item.file for item in members),
        rows=first.rows,
        columns=first.columns,
        slices=len(members),
        geometry=Geometry((0.0, *(first.spacing or (1.0, 1.0))), measured=first.spacing is not None),
        unit="HU" if hounsfield else "",
        channels=1 if grey else first.channels,
        acquisition=INVERTED if first.inverted else {},
        bits=first.bits,
        warnings=(*notes, "One slice only") if len(members) == 1 else notes,
        treat="view" if first.problem else "denoise",
        reason=first.problem,
        root=first.root,
    )


def _looks_like_ct(members: list[Picture]) -> bool:
    try:
        values = load(members[len(members) // 2].file)
    except UserError:
        return False
    return values.dtype.kind != "u" and looks_like_ct(values)


def _all_grey(members: list[Picture]) -> bool:
    """Whether colour files hold grey slices, judged by the first, the middle and the last."""
    for item in {members[0].file, members[len(members) // 2].file, members[-1].file}:
        try:
            values = load(item)
        except UserError:
            return False
        if not is_grey(values):
            return False
    return True


def is_grey(values: Stored) -> bool:
    """Whether all three channels are the same."""
    return bool((values[..., 0] == values[..., 1]).all() and (values[..., 0] == values[..., 2]).all())


def load(path: Path) -> Stored:
    """The values of one image in the file's own type: (rows, columns) or (rows, columns, 3). UserError if broken."""
    try:
        if path.suffix.lower() not in (".npy", *tiff.SUFFIXES):
            return picture.load(path)
        stack = volumes.open_stack(path)
        try:
            return stack.slice(0)
        finally:
            stack.close()
    except Exception as error:
        raise UserError(
            f"{path.name} cannot be read.", "The image may be cut off or damaged. Copy it again, or leave it out."
        ) from error


class ImageSource:
    """A folder of images, read one by one."""

    def __init__(self, series: Series) -> None:
        self.series = series
        self._slices: Recent[Stored] = Recent(_CACHED)

    def __len__(self) -> int:
        return self.series.slices

    @property
    def partial(self) -> bool:
        """Whether only the upper bits of the files are read."""
        return self.series.reason.endswith(picture.HALF_READ)

    def stored(self, index: int) -> Stored:
        """Slice `index` in the file's own type."""
        if not 0 <= index < len(self):
            raise IndexError(index)
        recent = self._slices.get(index)
        if recent is not None:
            return recent
        path = self.series.files[index]
        values = load(path)
        if values.shape[:2] != (self.series.rows, self.series.columns):
            raise UserError(f"{path.name} has changed its size.", "Scan the folder again.")
        if values.ndim == 3 and self.series.channels == 1:
            if not is_grey(values):
                raise UserError(
                    f"{path.name} is in colour, the other images of its series are grey.",
                    "Move it to another folder and scan again.",
                )
            values = np.ascontiguousarray(values[..., 0])
        self._slices.keep(index, values)
        return values

    def read(self, index: int) -> Pixels:
        """Slice `index`; values that are not numbers read as 0."""
        return finite(single(self.stored(index)))

    def valid(self, index: int) -> Mask:
        """False where there is no number that 32 bits hold, and in CT outside the field of view."""
        values = self.stored(index)
        mask = numbers(values)
        return mask & (values > OUTSIDE_CT) if self.series.modality == "CT" else mask

    def close(self) -> None:
        """Forget decoded slices."""
        self._slices.clear()
