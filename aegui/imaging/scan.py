"""Folders, files and zips → series. Every file found ends in one series or among the skipped."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping, Sequence, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import closing
from dataclasses import replace
from itertools import chain
from pathlib import Path

from aegui.errors import UserError
from aegui.events import Done, Event, Events, Found, Progress, Stop
from aegui.imaging import archive
from aegui.imaging.cache import Cache, Item, Result
from aegui.imaging.dicom import dicomdir, grouping
from aegui.imaging.dicom.elements import looks_like_dicom
from aegui.imaging.dicom.headers import Header, read_header
from aegui.imaging.files import images, volumes
from aegui.imaging.files.formats import detached
from aegui.imaging.listing import Entry, Listing
from aegui.imaging.series import DERIVED_HERE, ScanResult, Series, Skipped
from aegui.imaging.text import by_name, natural, shown
from aegui.imaging.written import is_output, outputs, reports

_EVERY = 0.1  # seconds between signs of life
_THREADS = 8
_CHUNK, _LARGEST_CHUNK = 32, 256  # files handed to a thread at a time
_SLOW = 0.004  # seconds per file spent waiting for the drive
_ZIP = (b"PK\x03\x04", b"PK\x05\x06")

_ZIPPED_TWICE = "A zip file within a zip file: unpack it and open the folder."
_NO_IMAGE = "Not an image."
_STOPPED = "Not read: the scan was stopped."


def scan(paths: Sequence[Path]) -> Events:
    """Look through folders, files and zips. Progress while it runs, Found per series, Done(ScanResult)."""
    return _Scan().run([Path(path) for path in paths])


class _Scan:
    """One scan. A request to stop is noted where it arrives, and every step then ends at its next chance."""

    def __init__(self) -> None:
        self._stopped = False
        self._last = time.monotonic()
        self._skipped: list[Skipped] = []
        self._entries: list[Entry] = []
        self._items: list[tuple[Entry, Item]] = []
        self._owned: dict[Path, Path] = {}
        self._recalled: set[str] = set()
        self._result: Result | None = None
        self._sorted = 0
        self._halt = threading.Event()

    def run(self, paths: Sequence[Path]) -> Events:
        yield from self._collect(paths)
        waiting = self._entries
        total = len(waiting)
        self._owned = _owned(waiting)
        if self._owned:
            waiting = [entry for entry in waiting if Path(entry.path) not in self._owned]
        yield from self._tell(Progress(0, total, "Scanning"))
        with closing(Cache()) as cache:
            yield from self._read(cache, waiting, total)
            yield from self._finish(cache)

    def _tell(self, event: Event) -> Events:
        self._last = time.monotonic()
        try:
            yield event
        except Stop:
            self._stopped = True

    def _pulse(self, event: Event) -> Events:
        if time.monotonic() - self._last >= _EVERY:
            yield from self._tell(event)

    def _collect(self, paths: Sequence[Path]) -> Events:
        """Every file there is, each once: what a DICOMDIR names, zips unpacked."""
        listing = Listing()
        zips: list[Path] = []
        for path in paths:
            contents = dicomdir.contents(path) if path.is_file() and dicomdir.is_dicomdir(path) else None
            if contents is None:
                yield from self._list(listing.below(path), zips, path)
                continue
            self._skipped += [Skipped(path, "DICOMDIR: the files it names were scanned."), *contents.missing]
            named = (
                replace(found, root=path.parent) if isinstance(found, Entry) else found
                for file in contents.files
                for found in listing.below(file)
            )
            yield from self._list(named, zips, path)
        for file in zips:
            if self._stopped:
                self._skipped.append(Skipped(file, _STOPPED))
            else:
                yield from self._unpack(file, listing)

    def _list(self, found: Iterator[Entry | Skipped | None], zips: list[Path], path: Path) -> Events:
        for entry in found:
            yield from self._pulse(Progress(len(self._entries), None, "Looking for files"))
            if self._stopped:
                self._skipped.append(Skipped(path, "Not looked through to its end: the scan was stopped."))
                return
            if isinstance(entry, Skipped):
                self._skipped.append(entry)
            elif entry is not None:
                if _is_zip(entry.path):
                    zips.append(Path(entry.path))
                else:
                    self._entries.append(entry)

    def _unpack(self, file: Path, listing: Listing) -> Events:
        before = len(self._entries) + len(self._skipped)
        try:
            for step in archive.unpack(file):
                if self._stopped:
                    self._skipped.append(Skipped(file, _STOPPED))
                    return
                if isinstance(step, Progress):
                    yield from self._tell(step)
                elif isinstance(step, Skipped):
                    self._skipped.append(step)
                else:
                    inner: list[Path] = []
                    yield from self._list(listing.below(step), inner, file)
                    self._skipped += [Skipped(item, _ZIPPED_TWICE, damaged=True) for item in inner]
        except UserError as error:
            self._skipped.append(Skipped(file, error.message, damaged=True))
        except OSError as error:
            self._skipped.append(Skipped(file, f"Cannot be unpacked: {error.strerror or error}.", damaged=True))
        if before == len(self._entries) + len(self._skipped):
            self._skipped.append(Skipped(file, "Empty zip file."))

    def _read(self, cache: Cache, waiting: Sequence[Entry], total: int) -> Events:
        """What is in each file, or, where no file is new, what was made of them the last time."""
        known: list[Entry] = []
        batches = cache.unchanged(waiting)
        while not self._stopped and (batch := next(batches, None)) is not None:
            known += batch
            yield from self._pulse(Progress(0, total, "Scanning"))
        self._result = cache.result(known)
        if self._result is None:
            yield from self._recall(cache, known, total)
        names = {entry.path for entry in known}
        yield from self._inspect_all([entry for entry in waiting if entry.path not in names], total)
        if self._result is not None and self._items:
            self._result = None
            yield from self._recall(cache, known, total)
        for _ in cache.keep([pair for pair in self._items if self._keeps(pair[0])]):
            yield from self._pulse(Progress(total, total, "Scanning"))

    def _recall(self, cache: Cache, known: Sequence[Entry], total: int) -> Events:
        """What earlier scans found in files that have not changed."""
        done = len(self._items)
        for batch in cache.found(known):
            self._items += batch
            self._recalled.update(entry.path for entry, _ in batch)
            yield from self._pulse(Progress(max(done, len(self._recalled)), total, "Scanning"))
        if lost := [entry for entry in known if entry.path not in self._recalled]:
            yield from self._inspect_all(lost, total)

    def _keeps(self, entry: Entry) -> bool:
        """Whether to remember what was found. Skipped files, and what others could change, are looked at each time."""
        return entry.path not in self._recalled and not _is_detached(entry)

    def _inspect_all(self, waiting: Sequence[Entry], total: int) -> Events:
        """Inspect files in a thread; in several where that pays, which is where the drive makes us wait.

        Python runs one thread at a time: on files that are in memory, several take longer than one.
        """
        self._halt.clear()
        before = total - len(waiting)
        known, left_out = len(self._items), len(self._skipped)
        pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="scan")
        running: set[Future[float]] = set()
        position, size, width = 0, _CHUNK, 1
        try:
            while not self._stopped:
                while len(running) < width and position < len(waiting):
                    running.add(pool.submit(self._inspect_some, waiting[position : position + size]))
                    position += size
                if not running:
                    break
                ended, running = wait(running, _EVERY, FIRST_COMPLETED)
                if ended:
                    slow = max(future.result() for future in ended) > _SLOW
                    # On a busy computer every handing over costs time, so that a fast drive gets large chunks.
                    size, width = (_CHUNK, _THREADS) if slow else (min(2 * size, _LARGEST_CHUNK), 1)
                done = len(self._items) - known + len(self._skipped) - left_out
                yield from self._pulse(Progress(before + done, total, "Scanning"))
        finally:
            self._halt.set()
            pool.shutdown(wait=True, cancel_futures=True)
        if self._stopped:
            seen = {entry.path for entry, _ in self._items} | {str(item.file) for item in self._skipped}
            self._skipped += [Skipped(Path(entry.path), _STOPPED) for entry in waiting if entry.path not in seen]
        yield from self._tell(Progress(total, total, "Scanning"))

    def _inspect_some(self, entries: Sequence[Entry]) -> float:
        """Inspect these; returns how many seconds each kept us waiting."""
        wall, busy = time.perf_counter(), time.thread_time()
        for entry in entries:
            if self._halt.is_set():
                break
            item = _inspect(Path(entry.path), entry.root)
            if item == ():
                item = Skipped(Path(entry.path), "Holds no slices.")
            if isinstance(item, Skipped):
                self._skipped.append(item)
            else:
                self._items.append((entry, item))
        return (time.perf_counter() - wall - (time.thread_time() - busy)) / len(entries)

    def _finish(self, cache: Cache) -> Events:
        entries = [entry for entry, _ in self._items]
        result = self._result
        if result is None:
            yield from self._sort_all()
            result = self._result or ([], [])
            if not self._stopped and not any(_is_detached(entry) for entry in entries):
                cache.keep_result(entries, result)
        series, doubles = result
        skipped = [*self._skipped, *doubles]
        used = {file for item in series for file in item.files} if self._owned else set()
        for data, header in self._owned.items():
            if data not in used:
                skipped.append(Skipped(data, f"Belongs to {shown(header.name)}, which was skipped."))
        skipped.sort(key=lambda item: by_name(item.file))
        listed: set[str] = set()
        for report in reports(self._entries):
            listed |= outputs(report)
            yield from self._pulse(Progress(len(entries), len(entries), "Sorting"))
        found: list[Series] = []
        for item in series:
            # Not before the cache, which only knows what a series' own files say.
            found.append(_listed(item, listed))
            yield from self._tell(Found(found[-1]))
        yield Done(ScanResult(tuple(found), tuple(skipped)))

    def _sort_all(self) -> Events:
        """Sort in a thread, because a series of thousands of slices is one long step."""
        total = len(self._items)
        yield from self._pulse(Progress(0, total, "Sorting"))
        self._halt.clear()
        pool = ThreadPoolExecutor(1, thread_name_prefix="sort")
        try:
            sorting = pool.submit(self._sort)
            while not wait([sorting], _EVERY).done:
                yield from self._tell(Progress(self._sorted, total, "Sorting"))
            self._result = sorting.result()
        finally:
            self._halt.set()
            pool.shutdown(wait=True)

    def _sort(self) -> Result:
        """Everything that was found, as series in order and with a label."""
        headers: list[Header] = []
        pictures: list[images.Picture] = []
        series: list[Series] = []
        doubles: list[Skipped] = []
        roots: dict[Path, Path] = {}
        for entry, item in self._items:
            if isinstance(item, Header):
                headers.append(item)
                roots[item.file] = entry.root
            elif isinstance(item, images.Picture):
                pictures.append(item)
                roots[item.file] = entry.root
            else:
                parts = item if isinstance(item, tuple) else (item,)
                series += parts
                roots.update((part.files[0], entry.root) for part in parts)
        self._items = []
        for found, twice in chain(grouping.gather(headers), images.gather(pictures)):
            if self._halt.is_set():
                break
            series += found
            doubles += twice
            self._sorted += sum(len(item.files) for item in found)
        series.sort(key=lambda item: (by_name(item.files[0]), natural(item.uid)))
        return _labelled(series, roots), doubles


def _labelled(series: list[Series], roots: Mapping[Path, Path]) -> list[Series]:
    """Say where each was found; give each patient a label that is the same in every scan, unless two would share it."""
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
    return [_once(replace(item, label=labels[item.patient], root=roots[item.files[0]])) for item in series]


def _listed(item: Series, listed: Set[str]) -> Series:
    """What reports list as written by this program is treated like what says so itself."""
    if not listed or item.derived_here or not is_output(item.files[0], listed):
        return item
    return _once(replace(item, warnings=(*item.warnings, DERIVED_HERE)))


def _once(item: Series) -> Series:
    """What this program wrote is not denoised a second time unless the user insists."""
    if not item.derived_here or item.treat != "denoise":
        return item
    return replace(item, treat="view", reason=f"{DERIVED_HERE}: shown, not denoised again.")


def _is_detached(entry: Entry) -> bool:
    return entry.path.lower().endswith(detached.HEADERS)


def _is_zip(path: str) -> bool:
    if not path.lower().endswith(".zip"):
        return False
    try:
        with Path(path).open("rb") as file:
            return file.read(4) in _ZIP
    except OSError:
        return False


def _owned(entries: Sequence[Entry]) -> dict[Path, Path]:
    """Data files that belong to a volume header: {data file: header}."""
    headers = [Path(entry.path) for entry in entries if _is_detached(entry)]
    if not headers:
        return {}
    present = {Path(entry.path) for entry in entries}
    return {data: file for file in headers for data in detached.companions(file) if data in present}


def _inspect(file: Path, root: Path) -> Item | Skipped:
    suffix = volumes.suffix_of(file)
    try:
        with file.open("rb", buffering=0) as handle:
            start = handle.read(132)
    except OSError as error:
        return Skipped(file, f"Cannot be read: {error.strerror or error}.", damaged=True)
    if not start:
        return Skipped(file, "Empty file.", damaged=True)
    # The content decides: DICOM files carry any name, .png among them.
    if start[128:132] == b"DICM":
        return _signed(read_header(file))
    if suffix in volumes.SUFFIXES:
        return volumes.describe(file, root)
    if suffix in images.SUFFIXES:
        return images.inspect(file, root)
    if suffix == ".zip":
        return Skipped(file, "Damaged, or not a zip file.", damaged=True)
    if looks_like_dicom(start):
        return read_header(file)
    if suffix in (".dcm", ".ima", ".dicom"):
        return Skipped(file, "Not a DICOM file, whatever its name says.", damaged=True)
    return Skipped(file, _NO_IMAGE)


def _signed(found: Header | Skipped) -> Header | Skipped:
    """What bears DICOM's mark and no more than that is the beginning of a file."""
    if isinstance(found, Skipped) and found.reason == _NO_IMAGE:
        return Skipped(found.file, "Damaged DICOM file: it does not say what it holds.", damaged=True)
    return found
