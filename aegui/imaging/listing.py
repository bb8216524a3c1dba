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
        links: list[tuple[str, str]] = []
        yield from self._walk(str(path), os.path.realpath(path), path, links)
        # Links come last: what lies in the folder itself is found under its own name.
        while links:
            name, target = links.pop(0)
            key = self._key(name)
            if key is None or key in self._folders:
                yield Skipped(Path(name), "A link to a folder that is scanned already.")
            else:
                yield from self._walk(name, target, path, links)

    def _walk(self, top: str, real: str, root: Path, links: list[tuple[str, str]]) -> Iterator[Entry | Skipped | None]:
        waiting = [(top, real)]
        while waiting:
            yield None
            folder, real = waiting.pop()
            key = self._key(folder)
            if key is not None and key in self._folders:
                continue
            if key is not None:
                self._folders.add(key)
            try:
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
                    link = entry.is_symlink()
                    if entry.is_dir():
                        place = os.path.realpath(entry.path) if link else f"{real}{os.sep}{entry.name}"
                        (links if link else inner).append((entry.path, place))
                        continue
                    place = os.path.realpath(entry.path) if link else f"{real}{os.sep}{entry.name}"
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

    def _key(self, folder: str) -> tuple[int, int] | None:
        try:
            state = Path(folder).stat()
        except OSError:
            return None
        return state.st_dev, state.st_ino


def _unreadable(error: OSError) -> str:
    return f"Cannot be opened: {error.strerror or error}."
