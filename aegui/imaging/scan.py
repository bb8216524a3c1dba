"""Folders, files and zips → series. Every file found ends in one series or among the skipped."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import replace
from itertools import chain
from pathlib import Path

from aegui.errors import UserError
from aegui.events import Done, Event, Events, Found, Progress, Stop
from aegui.imaging import archive, dicom, images, volumes
from aegui.imaging.elements import looks_like_dicom
from aegui.imaging.headers import Header, read_header
from aegui.imaging.series import ScanResult, Series, Skipped
from aegui.imaging.text import natural

_EVERY = 0.15  # seconds between signs of life
_THREADS = 4
_AHEAD = 64  # files handed to the threads at a time
_ZIP = b"PK\x03\x04"
_PARTIAL = ".part"

_Item = Header | images.Picture | Series | tuple[Series, ...] | Skipped


def scan(paths: Sequence[Path]) -> Events:
    """Look through folders, files and zips. Progress while it runs, Found per series, Done(ScanResult)."""
    skipped: list[Skipped] = []
    items: list[_Item] = []
    files = yield from _collect(paths, skipped)
    owned = _owned(files)
    waiting = [entry for entry in files if entry[0] not in owned]
    try:
        yield from _inspect_all(waiting, len(owned), items)
    except Stop:
        skipped += [Skipped(file, "Not read: the scan was stopped.") for file, _ in waiting[len(items) :]]
    yield from _finish(items, skipped, owned)


def _collect(paths: Sequence[Path], skipped: list[Skipped]) -> Generator[Event, None, list[tuple[Path, Path]]]:
    """(file, root) of every file there is, each once, zips unpacked."""
    pulse = _Pulse()
    seen: set[Path] = set()
    files: list[tuple[Path, Path]] = []
    zips: list[Path] = []
    for path in paths:
        for entry in _listed(Path(path)):
            if pulse.due():
                yield Progress(len(files), None, "Looking for files")
            if isinstance(entry, Skipped):
                skipped.append(entry)
                continue
            real = entry[0].resolve()
            if real in seen:
                continue
            seen.add(real)
            if _is_zip(entry[0]):
                zips.append(entry[0])
            else:
                files.append(entry)
    for file in zips:
        try:
            for step in archive.unpack(file):
                if isinstance(step, Progress):
                    yield step
                    continue
                found = [entry for entry in _listed(step) if not isinstance(entry, Skipped)]
                files += found
                if not found:
                    skipped.append(Skipped(file, "Empty zip file."))
        except UserError as error:
            skipped.append(Skipped(file, error.message))
        except OSError as error:
            skipped.append(Skipped(file, f"Cannot be unpacked: {error.strerror or error}."))
    return files


def _inspect_all(waiting: Sequence[tuple[Path, Path]], before: int, items: list[_Item]) -> Events:
    """Inspect files in threads, which pays on slow drives; results come in order."""
    total = before + len(waiting)
    yield Progress(before, total, "Scanning")
    pulse = _Pulse()
    pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="scan")
    queue: deque[Future[_Item]] = deque()
    try:
        rest = iter(waiting)
        while True:
            while len(queue) < _AHEAD and (entry := next(rest, None)) is not None:
                queue.append(pool.submit(_inspect, entry))
            if not queue:
                break
            if not queue[0].done():
                wait([queue[0]], timeout=_EVERY)
            if queue[0].done():
                items.append(queue.popleft().result())
            if pulse.due():
                yield Progress(before + len(items), total, "Scanning")
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    yield Progress(total, total, "Scanning")


def _finish(items: list[_Item], skipped: list[Skipped], owned: dict[Path, Path]) -> Events:
    pulse = _Pulse()
    series = [item for item in items if isinstance(item, Series)]
    series += [part for item in items if isinstance(item, tuple) for part in item]
    skipped += [item for item in items if isinstance(item, Skipped)]
    headers = [item for item in items if isinstance(item, Header)]
    pictures = [item for item in items if isinstance(item, images.Picture)]
    sorted_in = 0
    for found, doubles in chain(dicom.gather(headers), images.gather(pictures)):
        series += found
        skipped += doubles
        sorted_in += sum(len(item.files) for item in found)
        if pulse.due():
            yield Progress(sorted_in, len(headers) + len(pictures), "Sorting")
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
    keys = sorted({item.patient for item in series})
    room = max(10_000, 2 * len(keys))
    taken: set[int] = set()
    labels: dict[str, str] = {}
    for key in keys:
        number = int(key[:8], 16) % room
        while number in taken:
            number = (number + 1) % room
        taken.add(number)
        labels[key] = f"ANON-{number:04d}"
    return [replace(item, label=labels[item.patient]) for item in series]


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
        return read_header(file)
    if suffix in volumes.SUFFIXES:
        return volumes.describe(file, root)
    if suffix in images.SUFFIXES:
        return images.inspect(file, root)
    if suffix == ".zip":
        return Skipped(file, "Damaged, or not a zip file.")
    if looks_like_dicom(start):
        return read_header(file)
    if suffix in (".dcm", ".ima", ".dicom"):
        return Skipped(file, "Not a DICOM file, whatever its name says.")
    return Skipped(file, "Not an image.")
