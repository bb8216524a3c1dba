"""Zip files → a folder in the cache. Nothing a zip says about names or sizes is trusted."""

from __future__ import annotations

import shutil
import stat
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from aegui.errors import UserError
from aegui.events import Progress
from aegui.imaging.text import digest
from aegui.paths import cache_home

_BLOCK = 1 << 20
_SMALL = 1 << 29  # bytes; a zip that unpacks to less is never a bomb
_RATIO = 250  # unpacked : packed, beyond which a large zip is refused
_MOST_FILES = 200_000
_MARGIN = 1 << 29  # bytes of disk left free
_KEEP_SECONDS = 7 * 86400
_RESERVED = {"CON", "PRN", "AUX", "NUL", *(f"COM{i}" for i in range(1, 10)), *(f"LPT{i}" for i in range(1, 10))}


def unpack(path: Path, every: float = 0.2) -> Iterator[Progress | Path]:
    """Unpack into the cache, telling progress; the folder comes last. An unchanged zip is unpacked once."""
    home = cache_home() / "archives"
    state = path.stat()
    folder = home / digest(path.resolve(), state.st_size, state.st_mtime_ns)
    _prune(home, folder)
    if folder.is_dir():
        folder.touch()
        yield folder
        return
    partial = home / f".{folder.name}.part"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    try:
        yield from _extract(path, partial, every)
        partial.replace(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    yield folder


def _prune(home: Path, keep: Path) -> None:
    """Patients' slices do not stay in the cache for ever."""
    if not home.is_dir():
        return
    for item in home.iterdir():
        if item != keep and time.time() - item.stat().st_mtime > _KEEP_SECONDS:
            shutil.rmtree(item, ignore_errors=True)


def _extract(path: Path, folder: Path, every: float) -> Iterator[Progress]:
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(f"{path.name} is damaged or not a zip file.", "Copy it again from its source.") from error
    with archive:
        members = [item for item in archive.infolist() if not item.is_dir()]
        if len(members) > _MOST_FILES:
            raise UserError(f"{path.name} holds more than {_MOST_FILES} files.", "Unpack it and open the folder.")
        allowed = _budget(path, folder)
        written = 0
        last = time.monotonic()
        for number, member in enumerate(members):
            target = _target(folder, member)
            if target is None:
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                with archive.open(member) as source, target.open("wb") as out:
                    while block := source.read(_BLOCK):
                        written += len(block)
                        if written > allowed:
                            raise UserError(
                                f"{path.name} unpacks to more than the disk or common sense allows.",
                                "Unpack it yourself and open the folder.",
                            )
                        out.write(block)
                        if time.monotonic() - last > every:
                            last = time.monotonic()
                            yield Progress(number, len(members), f"Unpacking {path.name}")
            except RuntimeError as error:
                raise UserError(f"{path.name} is protected by a password.", "Unpack it and open the folder.") from error
            except (zipfile.BadZipFile, NotImplementedError, EOFError, OSError, ValueError) as error:
                raise UserError(
                    f"{path.name} cannot be unpacked: {member.filename[-60:]} is damaged.",
                    "Copy it again from its source, or unpack it and open the folder.",
                ) from error


def _budget(path: Path, folder: Path) -> int:
    free = shutil.disk_usage(folder).free - _MARGIN
    return max(0, min(free, max(_SMALL, path.stat().st_size * _RATIO)))


def _target(folder: Path, member: zipfile.ZipInfo) -> Path | None:
    """Where a member goes; None for links and for names that point outside."""
    if stat.S_ISLNK(member.external_attr >> 16):
        return None
    pure = PurePosixPath(member.filename.replace("\\", "/"))
    parts = [part for part in pure.parts if part not in ("/", ".")]
    if not parts or ".." in parts or pure.is_absolute() or ":" in parts[0]:
        return None
    if any(part.split(".")[0].upper() in _RESERVED for part in parts):
        return None
    target = folder.joinpath(*parts)
    return target if target.resolve().is_relative_to(folder.resolve()) else None
