"""What inspection found of each file, kept from scan to scan.

One SQLite file that only its owner can read. It is never needed: where it cannot be opened, read or written, the
scan goes on without it. It holds what the window shows anyway, and Patient IDs as digests only.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from aegui import __version__
from aegui.imaging.frames import Frames
from aegui.imaging.headers import KEPT, Header
from aegui.imaging.images import Picture
from aegui.imaging.listing import Entry
from aegui.imaging.series import Series
from aegui.imaging.text import digest
from aegui.paths import cache_home

Item = Header | Picture | Series | tuple[Series, ...]

_KINDS: dict[str, Any] = {"header": Header, "picture": Picture, "series": Series, "several": tuple[Series, ...]}
_LISTS: dict[str, Any] = {
    "header": list[Header],
    "picture": list[Picture],
    "series": list[Series],
    "several": list[tuple[Series, ...]],
}
_READERS: dict[str, TypeAdapter[list[Any]]] = {}
_WRITERS: dict[str, TypeAdapter[Any]] = {}
_BATCH = 400
_MOST = 200_000  # files remembered
_KEEP = 60 * 86400  # seconds without use
_REFRESH = 86400  # seconds after which the last use is noted again
_SETTLED = 3_000_000_000  # ns: a file changed more recently may change again unnoticed
_WAIT = 0.5  # seconds for another process's scan


def _schema() -> int:
    """A number that changes with the program and with what is kept."""
    names = [
        (kind.__name__, [(f.name, str(f.type)) for f in fields(kind)]) for kind in (Header, Frames, Picture, Series)
    ]
    return int(digest(__version__, names, KEPT)[:7], 16)


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
        except (OSError, sqlite3.Error):
            self._file = None

    def found(self, entries: Sequence[Entry]) -> Iterator[list[tuple[Entry, Item]]]:
        """What is known of unchanged files, in batches."""
        now = int(time.time())
        for start in range(0, len(entries), _BATCH):
            batch = {os.fsencode(entry.path): entry for entry in entries[start : start + _BATCH]}
            yield self._found(batch, now)

    def _found(self, batch: dict[bytes, Entry], now: int) -> list[tuple[Entry, Item]]:
        rows: dict[str, list[tuple[Entry, bytes]]] = {kind: [] for kind in _KINDS}
        stale: list[bytes] = []
        marks = ",".join("?" * len(batch))
        query = f"SELECT path, size, modified, changed, used, kind, item FROM items WHERE path IN ({marks})"
        try:
            for path, size, modified, changed, used, kind, item in self._read(query, list(batch)):
                entry = batch[path]
                if (size, modified, changed) == entry.stamp:
                    rows[kind].append((entry, item))
                    if now - used > _REFRESH:
                        stale.append(path)
            known = [pair for kind, pairs in rows.items() if pairs for pair in _decoded(kind, pairs)]
        except (sqlite3.Error, ValidationError, TypeError, ValueError, KeyError):
            return []
        if stale:
            self._write("UPDATE items SET used = ? WHERE path = ?", [(now, path) for path in stale])
        return known

    def keep(self, items: Sequence[tuple[Entry, Item]]) -> Iterator[int]:
        """Remember what was found, in one transaction; yields how many so far."""
        now = int(time.time())
        settled = [pair for pair in items if pair[0].stamp[1] < time.time_ns() - _SETTLED]
        for start in range(0, len(settled), _BATCH):
            rows = [row for entry, item in settled[start : start + _BATCH] if (row := _encoded(entry, item, now))]
            self._write("INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
            yield start + len(rows)
        if settled:
            self._write("DELETE FROM items WHERE used < ?", [(now - _KEEP,)])
            newest = "SELECT used FROM items ORDER BY used DESC LIMIT 1 OFFSET ?"
            self._write(f"DELETE FROM items WHERE used <= ({newest})", [(_MOST,)])

    def close(self) -> None:
        """Write what was remembered."""
        if self._file is not None:
            with suppress(sqlite3.Error), closing(self._file) as file:
                file.commit()
            self._file = None

    def _read(self, query: str, values: Sequence[Any]) -> Iterator[Any]:
        return iter(()) if self._file is None else iter(self._file.execute(query, values))

    def _write(self, command: str, rows: Sequence[tuple[Any, ...]]) -> None:
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
                CREATE TABLE items (path BLOB PRIMARY KEY, size INTEGER, modified INTEGER, changed INTEGER,
                                    used INTEGER, kind TEXT, item BLOB);
                CREATE INDEX used ON items (used);
                PRAGMA user_version = {schema};
                COMMIT;
                """
            )
    except BaseException:
        file.close()
        raise
    return file


def _decoded(kind: str, pairs: list[tuple[Entry, bytes]]) -> Iterator[tuple[Entry, Item]]:
    if kind not in _READERS:
        _READERS[kind] = TypeAdapter(_LISTS[kind])
    items = _READERS[kind].validate_json(b"[" + b",".join(item for _, item in pairs) + b"]")
    for (entry, _), item in zip(pairs, items, strict=True):
        if kind == "header":
            # Not kept: a second Path for each file would take as long as all the rest.
            object.__setattr__(item, "file", Path(entry.path))
        yield entry, item


def _encoded(entry: Entry, item: Item, now: int) -> tuple[Any, ...] | None:
    kind = "several" if isinstance(item, tuple) else type(item).__name__.lower()
    if kind not in _WRITERS:
        _WRITERS[kind] = TypeAdapter(_KINDS[kind])
    try:
        text = _WRITERS[kind].dump_json(item, exclude={"file"} if kind == "header" else None)
    except ValueError:  # a name that is no Unicode
        return None
    return (os.fsencode(entry.path), *entry.stamp, now, kind, text)
