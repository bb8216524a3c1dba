"""What inspection found of each file, and what sorting made of them, kept from scan to scan.

One SQLite file that only its owner can read. It is never needed: where it cannot be opened, read or written, the
scan goes on without it. It holds what the window shows anyway, and Patient IDs as digests only.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import fields
from functools import cache
from itertools import zip_longest
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from aegui import __version__
from aegui.errors import UserError
from aegui.imaging.dicom.frames import Frames
from aegui.imaging.dicom.headers import KEPT, Header
from aegui.imaging.files.images import Picture
from aegui.imaging.listing import Entry
from aegui.imaging.series import Series, Skipped
from aegui.imaging.text import digest
from aegui.paths import cache_home

Item = Header | Picture | Series | tuple[Series, ...]
Result = tuple[list[Series], list[Skipped]]  # what belongs together, and what was there twice

_KINDS: dict[str, Any] = {
    "header": Header,
    "picture": Picture,
    "series": Series,
    "several": tuple[Series, ...],
    "result": Result,
}
_CODE = Path(__file__).parent
_BATCH = 400  # files
_MOST = 200_000  # files remembered
_KEEP = 60 * 86400  # seconds without use
_REFRESH = 86400  # seconds after which the last use is noted again
_SETTLED = 3_000_000_000  # ns: a file changed more recently may change again unnoticed
_WAIT = 0.5  # seconds for another process's scan


@cache
def _sources(folder: Path) -> list[tuple[str, int, int]]:
    """What changes when the code does; nothing in the frozen program, which changes with its version only."""
    return [(file.name, (state := file.stat()).st_size, state.st_mtime_ns) for file in sorted(folder.rglob("*.py"))]


def _schema() -> int:
    """A number that changes with the program and with what is kept."""
    names = [
        (kind.__name__, [(f.name, str(f.type)) for f in fields(kind)]) for kind in (Header, Frames, Picture, Series)
    ]
    return int(digest(__version__, names, KEPT, _sources(_CODE))[:7], 16)


class Cache:
    """Open for one scan. Every method works, and does nothing, where there is no usable file."""

    def __init__(self) -> None:
        self._file: sqlite3.Connection | None = None
        try:
            path = _path()
            try:
                self._file = _open(path)
            except sqlite3.DatabaseError as error:
                if isinstance(error, sqlite3.OperationalError):
                    return  # locked, or not ours to write
                clear()
                self._file = _open(path)
        except (OSError, UserError, sqlite3.Error):
            self._file = None

    def unchanged(self, entries: Sequence[Entry]) -> Iterator[list[Entry]]:
        """Those that are known as they are now, in batches."""
        now = int(time.time())
        for start in range(0, len(entries), _BATCH):
            rows = self._select("used", entries[start : start + _BATCH])
            if stale := [(now, os.fsencode(entry.path)) for entry, used in rows if now - used > _REFRESH]:
                self._write("UPDATE items SET used = ? WHERE path = ?", stale)
            yield [entry for entry, _ in rows]

    def found(self, entries: Sequence[Entry]) -> Iterator[list[tuple[Entry, Item]]]:
        """What inspection found in unchanged files, in batches."""
        for start in range(0, len(entries), _BATCH):
            rows = self._select("kind, item", entries[start : start + _BATCH])
            try:
                known = [(entry, _decoded(entry, kind, item)) for entry, kind, item in rows]
            except (TypeError, ValueError, KeyError):
                known = []
            yield known

    def _select(self, columns: str, entries: Sequence[Entry]) -> list[Any]:
        """(entry, *columns) of each that is known as it is now."""
        asked = {os.fsencode(entry.path): entry for entry in entries}
        marks = ",".join("?" * len(asked))
        query = f"SELECT path, size, modified, changed, {columns} FROM items WHERE path IN ({marks})"
        try:
            rows = list(self._read(query, list(asked)))
        except sqlite3.Error:
            return []
        return [(asked[row[0]], *row[4:]) for row in rows if row[1:4] == asked[row[0]].stamp]

    def keep(self, items: Sequence[tuple[Entry, Item]]) -> Iterator[int]:
        """Remember what was found, in one transaction; yields how many so far."""
        now = int(time.time())
        settled = [pair for pair in items if _settled(pair[0])]
        for start in range(0, len(settled), _BATCH):
            rows = [row for entry, item in settled[start : start + _BATCH] if (row := _encoded(entry, item, now))]
            self._write("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            yield start + len(rows)
        if settled:
            self._forget("items", now, _MOST)

    def result(self, entries: Sequence[Entry]) -> Result | None:
        """What sorting made of exactly these files, as they are now, when last they were scanned together."""
        roots, files = _together(entries)
        series: list[Series] = []
        doubles: list[Skipped] = []
        now = last = int(time.time())
        query = "SELECT files, used, part FROM results WHERE roots = ? ORDER BY place"
        try:
            for known, used, part in self._read(query, [roots]):
                if known != files:
                    return None
                more = _adapter("result").validate_json(part)
                series += more[0]
                doubles += more[1]
                last = used
        except (sqlite3.Error, TypeError, ValueError):
            return None
        if now - last > _REFRESH:
            self._write("UPDATE results SET used = ? WHERE roots = ?", [(now, roots)])
        return (series, doubles) if series else None

    def keep_result(self, entries: Sequence[Entry], result: Result) -> None:
        """Remember what sorting made of these files."""
        if not all(map(_settled, entries)):
            return
        now = int(time.time())
        together = _together(entries)
        parts = enumerate(zip_longest(_dealt(result[0]), _dealt(result[1])))
        rows = (
            (*together, now, place, _adapter("result").dump_json((series or [], doubles or [])))
            for place, (series, doubles) in parts
        )
        old = "DELETE FROM results WHERE roots = ?", [together[:1]]
        self._write(*old)
        try:
            self._write("INSERT INTO results VALUES (?, ?, ?, ?, ?)", rows)
        except ValueError:  # a name that is no Unicode
            self._write(*old)
        self._forget("results", now, _MOST // _BATCH)

    def _forget(self, table: str, now: int, most: int) -> None:
        self._write(f"DELETE FROM {table} WHERE used < ?", [(now - _KEEP,)])
        oldest = f"SELECT rowid FROM {table} ORDER BY used DESC, rowid DESC LIMIT -1 OFFSET ?"
        self._write(f"DELETE FROM {table} WHERE rowid IN ({oldest})", [(most,)])
        if self._file is not None:  # sorting may take long, and other scans write too
            with suppress(sqlite3.Error):
                self._file.commit()

    def close(self) -> None:
        """Write what was remembered."""
        if self._file is not None:
            with suppress(sqlite3.Error), closing(self._file) as file:
                file.commit()
            self._file = None

    def _read(self, query: str, values: Sequence[Any]) -> Iterator[Any]:
        return iter(()) if self._file is None else self._file.execute(query, values)

    def _write(self, command: str, rows: Iterable[tuple[Any, ...]]) -> None:
        if self._file is None:
            return
        try:
            self._file.executemany(command, rows)
        except sqlite3.Error:
            with suppress(sqlite3.Error):
                self._file.rollback()
            with suppress(sqlite3.Error):
                self._file.close()
            self._file = None


def clear() -> None:
    """Forget everything."""
    path = _path()
    for name in (path, path.with_name(f"{path.name}-journal")):
        name.unlink(missing_ok=True)


def _path() -> Path:
    return cache_home() / "scans.sqlite"


def _open(path: Path) -> sqlite3.Connection:
    if not path.exists():
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    file = sqlite3.connect(path, timeout=_WAIT, check_same_thread=False)
    try:
        # What a crash loses here is found again by the next scan.
        file.execute("PRAGMA synchronous = OFF")
        schema = _schema()
        if file.execute("PRAGMA user_version").fetchone()[0] != schema:
            file.executescript(
                f"""
                PRAGMA auto_vacuum = FULL;
                BEGIN IMMEDIATE;
                DROP TABLE IF EXISTS items;
                DROP TABLE IF EXISTS results;
                CREATE TABLE items (path BLOB PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER,
                                    used INTEGER, kind TEXT, item BLOB);
                CREATE INDEX used ON items (used);
                CREATE TABLE results (roots TEXT, files TEXT, used INTEGER, place INTEGER, part BLOB,
                                      PRIMARY KEY (roots, place));
                PRAGMA user_version = {schema};
                COMMIT;
                """
            )
    except BaseException:
        file.close()
        raise
    return file


def _settled(entry: Entry) -> bool:
    return entry.stamp[1] < time.time_ns() - _SETTLED


def _together(entries: Sequence[Entry]) -> tuple[str, str]:
    """(what tells one set of scanned folders from others, what tells their files from those of another time)."""
    found = sorted((entry.path, str(entry.root), entry.stamp) for entry in entries)
    roots = sorted({root for _, root, _ in found})
    return _hash(roots), _hash(found)


def _hash(words: object) -> str:
    # Unlike a name, its representation can always be encoded.
    return hashlib.sha256(repr(words).encode()).hexdigest()


def _dealt(items: list[Any]) -> Iterator[list[Any]]:
    """Runs of not many more than a batch of files."""
    run: list[Any] = []
    count = 0
    for item in items:
        run.append(item)
        count += len(item.files) if isinstance(item, Series) else 1
        if count >= _BATCH:
            yield run
            run, count = [], 0
    if run:
        yield run


@cache
def _adapter(kind: str) -> TypeAdapter[Any]:
    return TypeAdapter(_KINDS[kind])


def _decoded(entry: Entry, kind: str, text: bytes) -> Item:
    item: Item = _adapter(kind).validate_json(text)
    if kind == "header":
        # Not kept: reading a second path for each file would take as long as all the rest.
        object.__setattr__(item, "file", Path(entry.path))
    return item


def _encoded(entry: Entry, item: Item, now: int) -> tuple[Any, ...] | None:
    kind = "several" if isinstance(item, tuple) else type(item).__name__.lower()
    try:
        text = _adapter(kind).dump_json(item, exclude={"file"} if kind == "header" else None)
    except ValueError:  # a name that is no Unicode
        return None
    return (os.fsencode(entry.path), *entry.stamp, now, kind, text)
