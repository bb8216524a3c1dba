"""Zip files → a folder in the cache. Nothing a zip says about names or sizes is trusted."""

from __future__ import annotations

import errno
import json
import shutil
import stat
import time
import zipfile
import zlib
from collections.abc import Generator, Iterator
from pathlib import Path, PurePosixPath

from aegui.errors import UserError
from aegui.events import Progress
from aegui.imaging.limits import believable, room
from aegui.imaging.series import Skipped
from aegui.imaging.text import digest, is_device, shown
from aegui.paths import cache_home

_BLOCK = 1 << 20
_MOST_FILES = 200_000
_KEEP_SECONDS = 7 * 86400
_LOCKED = 1  # flag bit of an encrypted member
_Packed = tuple[str, str, bool]


def unpack(path: Path, every: float = 0.2) -> Iterator[Progress | Skipped | Path]:
    """Unpack into the cache: progress, members that stay packed, and the folder last, named as the zip file is.

    An unchanged zip is unpacked once.
    """
    home = cache_home() / "archives"
    state = path.stat()
    folder = home / digest(path.resolve(), path.name, state.st_size, state.st_mtime_ns)
    left = folder.with_suffix(".json")
    _prune(home, folder.name)
    if not folder.is_dir():
        partial = home / f".{folder.name}.part"
        shutil.rmtree(partial, ignore_errors=True)
        (partial / path.name).mkdir(parents=True)
        try:
            packed = yield from _extract(path, partial / path.name, every)
            left.write_text(json.dumps(packed), "utf-8")
            partial.replace(folder)
        finally:
            shutil.rmtree(partial, ignore_errors=True)
    folder.touch()
    for name, reason, damaged in json.loads(left.read_text("utf-8")) if left.is_file() else ():
        yield Skipped(Path(f"{path}/{name}"), reason, damaged)
    yield folder / path.name


def _prune(home: Path, keep: str) -> None:
    """Patients' slices do not stay in the cache for ever."""
    if not home.is_dir():
        return
    for item in home.iterdir():
        if item.name.startswith(keep) or time.time() - item.stat().st_mtime < _KEEP_SECONDS:
            continue
        if item.is_dir():
            shutil.rmtree(item, ignore_errors=True)
        else:
            item.unlink(missing_ok=True)


def _extract(path: Path, folder: Path, every: float) -> Generator[Progress, None, list[_Packed]]:
    """Unpack what can be; (name, reason, whether it is damaged) of each member that cannot."""
    try:
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError) as error:
        raise UserError(
            f"{shown(path.name)} is damaged or not a zip file.", "Copy it again from its source."
        ) from error
    left: list[_Packed] = []
    with archive:
        members = [item for item in archive.infolist() if not item.is_dir()]
        if len(members) > _MOST_FILES:
            raise UserError(
                f"{shown(path.name)} holds more than {_MOST_FILES} files.", "Unpack it and open the folder."
            )
        if members and all(member.flag_bits & _LOCKED for member in members):
            raise UserError(f"{shown(path.name)} is protected by a password.", "Unpack it and open the folder.")
        allowed = _budget(path, folder)
        last = time.monotonic()
        for number, member in enumerate(members):
            problem, damaged = _problem(folder, member)
            target = folder.joinpath(*_parts(member))
            if not problem:
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    out = target.open("xb")
                except FileExistsError:
                    problem = "Not unpacked: another file in the zip file has the same name."
                except OSError as error:
                    problem = f"Not unpacked: no file may have its name here ({error.strerror or error})."
            if not problem:
                try:
                    with out, archive.open(member) as source:
                        while block := source.read(_BLOCK):
                            allowed -= len(block)
                            if allowed < 0:
                                raise UserError(
                                    f"{shown(path.name)} unpacks to more than the disk or common sense allows.",
                                    "Unpack it yourself and open the folder.",
                                )
                            out.write(block)
                            if time.monotonic() - last > every:
                                last = time.monotonic()
                                yield Progress(number, len(members), f"Unpacking {shown(path.name)}")
                except (zipfile.BadZipFile, zlib.error, NotImplementedError, EOFError, ValueError, OSError) as error:
                    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
                        raise
                    target.unlink(missing_ok=True)
                    problem, damaged = "Damaged within the zip file: it cannot be unpacked.", True
            if problem:
                left.append((member.filename, problem, damaged))
    return left


def _problem(folder: Path, member: zipfile.ZipInfo) -> tuple[str, bool]:
    """Why a member stays packed, "" if it does not; and whether a slice may be lost by it."""
    if stat.S_ISLNK(member.external_attr >> 16):
        return "Not unpacked: it is a link.", False
    if member.flag_bits & _LOCKED:
        return "Not unpacked: it is protected by a password.", True
    name = member.filename.replace("\\", "/")
    parts = _parts(member)
    if not parts or ".." in parts or name.startswith("/") or ":" in parts[0]:
        return "Not unpacked: its name points outside the zip file.", True
    if any(is_device(part) for part in parts):
        return "Not unpacked: Windows keeps its name for devices.", True
    if not folder.joinpath(*parts).resolve().is_relative_to(folder.resolve()):
        return "Not unpacked: its name points outside the zip file.", True
    return "", False


def _parts(member: zipfile.ZipInfo) -> list[str]:
    return [part for part in PurePosixPath(member.filename.replace("\\", "/")).parts if part not in ("/", ".")]


def _budget(path: Path, folder: Path) -> int:
    return max(0, min(room(folder), believable(path.stat().st_size)))
