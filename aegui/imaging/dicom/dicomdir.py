"""DICOMDIR, the table of contents of a CD or a file set (PS3.10): the files that it names."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pydicom
from pydicom.filereader import read_file_meta_info

from aegui.imaging.dicom.elements import texts
from aegui.imaging.series import Skipped
from aegui.imaging.text import shown

CLASS = "1.2.840.10008.1.3.10"


@dataclass(frozen=True)
class Contents:
    """files: what is there. missing: what is named and not there, or not within the folder of the DICOMDIR."""

    files: tuple[Path, ...]
    missing: tuple[Skipped, ...]


def is_dicomdir(path: Path) -> bool:
    """Whether a file is a DICOMDIR, whatever it is called."""
    try:
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM":
                return False
        return str(read_file_meta_info(path).get("MediaStorageSOPClassUID", "")) == CLASS
    except Exception:  # noqa: BLE001 - a broken file is looked at as any other
        return False


def contents(path: Path) -> Contents:
    """What a DICOMDIR names. A broken one names nothing."""
    folder = path.parent
    home = folder.resolve()
    listing = _Names()
    files: dict[Path, None] = {}
    missing: list[Skipped] = []
    for parts in _references(path):
        name = "/".join(parts)
        if any(part in ("", ".", "..") or "/" in part or "\\" in part or ":" in part for part in parts):
            missing.append(Skipped(folder / shown(name), f"Named by {path.name}, but not a name that may be read."))
            continue
        file = listing.find(folder, parts)
        if file is None:
            missing.append(Skipped(folder.joinpath(*parts), f"Named by {path.name}, but missing.", damaged=True))
        elif not file.resolve().is_relative_to(home):
            missing.append(Skipped(file, f"Named by {path.name}, but it lies outside its folder."))
        else:
            files[file] = None
    return Contents(tuple(files), tuple({item.file: item for item in missing}.values()))


def summary(path: Path) -> str:
    """What a scan of the folder says about a DICOMDIR in it."""
    found = contents(path)
    lost = len(found.missing)
    words = f" {lost} of the {lost + len(found.files)} files it names {'is' if lost == 1 else 'are'} not there."
    return "DICOMDIR: only lists other files." + (words if lost else "")


def _references(path: Path) -> Iterable[tuple[str, ...]]:
    try:
        dataset = pydicom.dcmread(path, specific_tags=[0x00041220], force=True)
        records: Any = dataset.get("DirectoryRecordSequence") or ()
        return list(dict.fromkeys(parts for item in records if (parts := texts(item, "ReferencedFileID"))))
    except Exception:  # noqa: BLE001 - a broken DICOMDIR names nothing
        return ()


class _Names:
    """Finds files whose names differ in case or carry a version, as CDs do: DICOM/IM1 is dicom/im1;1."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, Path]] = {}

    def find(self, folder: Path, parts: tuple[str, ...]) -> Path | None:
        exact = folder.joinpath(*parts)
        if exact.is_file():
            return exact
        for part in parts:
            found = self._names(folder).get(part.casefold())
            if found is None:
                return None
            folder = found
        return folder if folder.is_file() else None

    def _names(self, folder: Path) -> dict[str, Path]:
        if folder not in self._folders:
            try:
                names = sorted(folder.iterdir())
            except OSError:
                names = []
            self._folders[folder] = {item.name.casefold().split(";")[0].rstrip("."): item for item in names}
        return self._folders[folder]
