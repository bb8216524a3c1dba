"""Every file below some paths, each once, links followed and loops named."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aegui.imaging.series import Skipped

PARTIAL = ".part"  # how the folders and files end that are still being written


@dataclass(frozen=True, slots=True)
class Entry:
    """A file that was found. stamp: size, and when content and status changed, ns."""

    path: str
    root: Path
    stamp: tuple[int, int, int]


class Listing:
    """Remembers what it has listed, so that a file is found once whatever paths lead to it."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[tuple[int, int]] = set()

    def below(self, path: Path) -> Iterator[Entry | Skipped | None]:
        """The files of a folder, or the one file; None now and then, where a large folder takes its time."""
        try:
            state = path.stat()
        except OSError as error:
            missing = isinstance(error, FileNotFoundError) and not path.is_symlink()
            yield Skipped(path, "Does not exist." if missing else _unreadable(error), damaged=not missing)
            return
        if not stat.S_ISDIR(state.st_mode):
            yield from self._file(str(path), path.parent, os.path.realpath(path), state)
            return
        links: list[str] = []
        yield from self._walk(str(path), os.path.realpath(path), path, links)
        # Links come last: what lies in the folder itself is found under its own name.
        while links:
            yield from self._link(links.pop(0), path, links)

    def _link(self, name: str, root: Path, links: list[str]) -> Iterator[Entry | Skipped | None]:
        try:
            state = Path(name).stat()
        except OSError as error:
            yield Skipped(Path(name), _unreadable(error), damaged=True)
            return
        if not stat.S_ISDIR(state.st_mode):
            yield from self._file(name, root, os.path.realpath(name), state)
        elif _key(state) in self._folders:
            yield Skipped(Path(name), "A link to a folder that is scanned already.")
        else:
            yield from self._walk(name, os.path.realpath(name), root, links)

    def _walk(self, top: str, real: str, root: Path, links: list[str]) -> Iterator[Entry | Skipped | None]:
        waiting = [(top, real)]
        while waiting:
            yield None
            folder, real = waiting.pop()
            try:
                key = _key(Path(folder).stat())
                if key in self._folders:
                    continue
                self._folders.add(key)
                with os.scandir(folder) as entries:
                    found = sorted(entries, key=lambda entry: entry.name)
            except OSError as error:
                yield Skipped(Path(folder), _unreadable(error), damaged=True)
                continue
            inner: list[tuple[str, str]] = []
            for entry in found:
                # Outputs that are still being written are nobody's input.
                if entry.name.startswith(".") and entry.name.endswith(PARTIAL):
                    continue
                try:
                    place = f"{real}{os.sep}{entry.name}"
                    if entry.is_symlink():
                        links.append(entry.path)
                        continue
                    if entry.is_dir():
                        inner.append((entry.path, place))
                        continue
                    # On Windows an entry does not know its times as exactly as the file does.
                    state = entry.stat() if os.name == "posix" else Path(entry.path).stat()
                except OSError as error:
                    yield Skipped(Path(entry.path), _unreadable(error), damaged=True)
                    continue
                yield from self._file(entry.path, root, place, state)
            waiting += reversed(inner)

    def _file(self, path: str, root: Path, real: str, state: os.stat_result) -> Iterator[Entry | Skipped]:
        if real in self._files:
            return
        self._files.add(real)
        if not stat.S_ISREG(state.st_mode):
            yield Skipped(Path(path), "Not a file.")
            return
        yield Entry(path, root, (state.st_size, state.st_mtime_ns, state.st_ctime_ns))


def _key(folder: os.stat_result) -> tuple[int, int]:
    return folder.st_dev, folder.st_ino


def _unreadable(error: OSError) -> str:
    return f"Cannot be opened: {error.strerror or error}."
