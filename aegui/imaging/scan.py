"""Folders, files and zips → series. Every file found ends in one series or among the skipped."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from aegui.errors import UserError
from aegui.events import Done, Events, Found, Progress
from aegui.imaging import archive, dicom, images, volumes
from aegui.imaging.headers import Header, looks_like_dicom, read_header
from aegui.imaging.quiet import quiet
from aegui.imaging.series import ScanResult, Series, Skipped
from aegui.imaging.text import natural

_EVERY = 0.15  # seconds between signs of life
_THREADS = 4
_ZIP = b"PK\x03\x04"
_PARTIAL = ".part"

_Item = Header | images.Picture | Series | Skipped


def scan(paths: Sequence[Path]) -> Events:
    """Look through folders, files and zips. Progress while it runs, Found per series, Done(ScanResult)."""
    files: list[tuple[Path, Path]] = []
    skipped: list[Skipped] = []
    pulse = _Pulse()
    seen: set[Path] = set()
    for path in paths:
        for entry in _listed(Path(path)):
            if isinstance(entry, Skipped):
                skipped.append(entry)
            else:
                real = entry[0].resolve()
                if real not in seen:
                    seen.add(real)
                    files.append(entry)
            if pulse.due():
                yield Progress(len(files), None, "Looking for files")
    plain: list[tuple[Path, Path]] = []
    for file, root in files:
        if not _is_zip(file):
            plain.append((file, root))
            continue
        try:
            for step in archive.unpack(file):
                if isinstance(step, Progress):
                    yield step
                else:
                    found = [entry for entry in _listed(step) if not isinstance(entry, Skipped)]
                    plain += found
                    if not found:
                        skipped.append(Skipped(file, "Empty zip file."))
        except UserError as error:
            skipped.append(Skipped(file, error.message))
        except OSError as error:
            skipped.append(Skipped(file, f"Cannot be unpacked: {error.strerror or error}."))
    owned = _owned(plain)
    waiting = [entry for entry in plain if entry[0] not in owned]
    items: list[_Item] = []
    yield Progress(0, len(plain), "Scanning")
    with ThreadPoolExecutor(_THREADS, thread_name_prefix="scan") as pool:
        bite = 64
        at = 0
        while at < len(waiting):
            started = time.monotonic()
            with quiet():
                items += pool.map(_inspect, waiting[at : at + bite])
            at += bite
            # Slow drives get smaller bites, so that progress keeps coming.
            seconds = time.monotonic() - started
            bite = max(4, min(512, int(bite * _EVERY / max(seconds, 1e-3))))
            yield Progress(min(at, len(waiting)) + len(owned), len(plain), "Scanning")
    yield from _finish(items, skipped, owned, pulse)


def _finish(items: list[_Item], skipped: list[Skipped], owned: dict[Path, Path], pulse: _Pulse) -> Events:
    series = [item for item in items if isinstance(item, Series)]
    skipped += [item for item in items if isinstance(item, Skipped)]
    with quiet():
        more, doubles = dicom.gather([item for item in items if isinstance(item, Header)])
    if pulse.due():
        yield Progress(len(items), len(items), "Sorting")
    series += more + images.gather([item for item in items if isinstance(item, images.Picture)])
    skipped += doubles
    used = {file for item in series for file in item.files}
    for data, header in owned.items():
        if data not in used:
            skipped.append(Skipped(data, f"Belongs to {header.name}, which was skipped."))
    series.sort(key=lambda item: (natural(item.files[0].parent), natural(item.files[0].name), natural(item.uid)))
    labelled = _labelled(series)
    for item in labelled:
        yield Found(item)
    skipped.sort(key=lambda item: natural(item.file))
    yield Done(ScanResult(tuple(labelled), tuple(skipped)))


def _labelled(series: list[Series]) -> list[Series]:
    """Give each patient a pseudonym that is the same in every scan, unless two patients would share it."""
    taken: dict[str, int] = {}
    for key in sorted({item.patient for item in series}):
        wish = int(key[:8], 16) % 10_000
        while wish in taken.values():
            wish = (wish + 1) % 10_000 if len(taken) < 10_000 else len(taken)
        taken[key] = wish
    return [replace(item, label=f"ANON-{taken[item.patient]:04d}") for item in series]


class _Pulse:
    """Says when it is time for another sign of life."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def due(self) -> bool:
        now = time.monotonic()
        if now - self._last < _EVERY:
            return False
        self._last = now
        return True


def _listed(path: Path) -> Iterator[tuple[Path, Path] | Skipped]:
    """(file, root) of every file below a path, in natural order."""
    if path.is_file():
        yield path, path.parent
        return
    if not path.is_dir():
        yield Skipped(path, "Does not exist.")
        return
    problems: list[Skipped] = []

    def note(error: OSError) -> None:
        problems.append(Skipped(Path(error.filename or path), f"Cannot be opened: {error.strerror or error}."))

    for folder, folders, names in os.walk(path, onerror=note):
        # Outputs that are still being written are nobody's input.
        folders[:] = sorted(
            (name for name in folders if not (name.startswith(".") and name.endswith(_PARTIAL))), key=natural
        )
        for name in sorted(names, key=natural):
            file = Path(folder) / name
            if not (name.startswith(".") and name.endswith(_PARTIAL)):
                yield file, path
    yield from problems


def _is_zip(path: Path) -> bool:
    if path.suffix.lower() != ".zip":
        return False
    try:
        with path.open("rb") as file:
            return file.read(4) in (_ZIP, b"PK\x05\x06")
    except OSError:
        return False


def _owned(files: list[tuple[Path, Path]]) -> dict[Path, Path]:
    """Data files that belong to a volume header: {data file: header}."""
    present = {file for file, _ in files}
    return {data: file for file, _ in files for data in volumes.companions(file) if data in present}


def _inspect(entry: tuple[Path, Path]) -> _Item:
    file, root = entry
    suffix = volumes.suffix_of(file)
    if not file.is_file():
        return Skipped(file, "Not a file.")
    try:
        with file.open("rb") as handle:
            start = handle.read(132)
    except OSError as error:
        return Skipped(file, f"Cannot be read: {error.strerror or error}.")
    if not start:
        return Skipped(file, "Empty file.")
    # The content decides: DICOM files carry any name, .png among them.
    if start[128:132] == b"DICM":
        return read_header(file, root)
    if suffix in volumes.SUFFIXES:
        return volumes.describe(file, root)
    if suffix in images.SUFFIXES:
        return images.inspect(file, root)
    if suffix == ".zip":
        return Skipped(file, "Damaged, or not a zip file.")
    if looks_like_dicom(start):
        return read_header(file, root)
    if suffix in (".dcm", ".ima", ".dicom"):
        return Skipped(file, "Not a DICOM file, whatever its name says.")
    return Skipped(file, "Not an image.")
