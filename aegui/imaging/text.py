"""Small words shared by the readers: natural order, stable identifiers, safe file names."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path

_DIGITS = re.compile(r"(\d+)")
_DEVICES = re.compile(r"(con|prn|aux|nul|com[1-9]|lpt[1-9])(\.|$)", re.IGNORECASE)
_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]+")


def natural(path: Path | str) -> tuple[tuple[int, int, str], ...]:
    """Sort key that puts slice2 before slice10."""
    parts = _DIGITS.split(str(path).casefold())
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


@lru_cache(4096)
def _folder(path: str) -> tuple[tuple[int, int, str], ...]:
    return natural(path)


def by_name(path: Path) -> tuple[tuple[tuple[int, int, str], ...], tuple[tuple[int, int, str], ...]]:
    """Sort key of a file: by folder, then by name, both in natural order. Made for many files of few folders."""
    folder, name = os.path.split(path)
    return _folder(folder), natural(name)


def digest(*parts: object) -> str:
    """The same short key for the same parts, on every machine."""
    return _hash(parts).hex()[:24]


def made_uid(*parts: object) -> str:
    """A valid DICOM UID that depends on nothing but the parts."""
    return f"2.25.{int.from_bytes(_hash(parts)[:16], 'big')}"


def _hash(parts: Iterable[object]) -> bytes:
    # The name of a file need not be Unicode.
    return hashlib.sha256("\x1f".join(str(part) for part in parts).encode("utf-8", "surrogatepass")).digest()


def safe_name(text: str, limit: int = 80) -> str:
    """A file name that every file system takes."""
    name = _UNSAFE.sub("_", text).strip("._ ")[:limit].rstrip("._ ")
    return name or "series"


def shown(name: str, limit: int = 80) -> str:
    """A name that may hold anything, for a sentence: one line, not too long."""
    line = "".join(letter if letter.isprintable() else "?" for letter in name)
    return line if len(line) <= limit else f"{line[: limit // 2]}…{line[-limit // 2 + 1 :]}"


def unused(name: str, taken: set[str]) -> str:
    """The name, or the first of name_2, name_3 … that is not taken, upper or lower case being one; it is taken then."""
    stem, dot, suffix = name.rpartition(".")
    if not stem:
        stem, dot, suffix = name, "", ""
    candidate, number = name, 1
    while candidate.casefold() in taken:
        number += 1
        candidate = f"{stem}_{number}{dot}{suffix}"
    taken.add(candidate.casefold())
    return candidate


def is_device(name: str) -> bool:
    """Whether Windows keeps a file name for a device, whatever its extension."""
    return bool(_DEVICES.match(name))
