"""Which data files a header without values names."""

from __future__ import annotations

import re
from pathlib import Path

HEADERS = (".mhd", ".nhdr")  # volume headers with their values in other files
_MOST = 100_000
_LONGEST = 1 << 22
_KEYS = ("elementdatafile", "data file", "datafile")


def companions(header: Path) -> list[Path]:
    """The data files that an .mhd or .nhdr header names, existing or not."""
    if header.suffix.lower() not in HEADERS:
        return []
    try:
        with header.open("rb") as file:
            lines = file.read(_LONGEST).decode("utf-8", "surrogateescape").splitlines()
    except OSError:
        return []
    for i, line in enumerate(lines):
        key, _, value = line.partition("=" if header.suffix.lower() == ".mhd" else ":")
        if key.strip().lower() not in _KEYS:
            continue
        return [header.parent / name for name in _names(value.strip(), lines[i + 1 :]) if name and "\0" not in name]
    return []


def _names(value: str, rest: list[str]) -> list[str]:
    if value.upper().startswith("LIST"):
        return [name.strip() for name in rest[:_MOST] if name.strip()]
    if value.upper() == "LOCAL":
        return []
    parts = value.split()
    return _numbered(parts) if "%" in value and len(parts) >= 4 else [value]


def _numbered(parts: list[str]) -> list[str]:
    if not re.fullmatch(r"[^%]*%0?\d?d[^%]*", parts[0]):
        return []
    try:
        start, end, step = (int(part) for part in parts[1:4])
    except ValueError:
        return []
    return [parts[0] % number for number in range(start, min(end, start + _MOST * max(1, step)) + 1, max(1, step))]
