"""How far packed data are believed: the same bounds for zips, and for volumes packed by themselves."""

from __future__ import annotations

import shutil
from pathlib import Path

SMALL = 1 << 29  # bytes; what unpacks to less is never a bomb
_RATIO = 250  # unpacked : packed, beyond which more is refused
_MARGIN = 1 << 29  # bytes of disk left free


def believable(packed: int) -> int:
    """The most bytes that so many packed ones may become."""
    return max(SMALL, packed * _RATIO)


def room(folder: Path) -> int:
    """Bytes that may be written to the disk on which the folder lies; less than 0 where it is fuller than it should."""
    return shutil.disk_usage(folder).free - _MARGIN
