"""Makes pydicom_files.csv anew: what becomes of every file of pydicom's own test set and of pydicom-data.

    python -m tests.imaging.pydicom_table

Needs ffmpeg and DCMTK, with which every decoded file is compared; it stops at the first that differs by more than it
may. Run it when pydicom has new files or the words of a refusal change, and read the difference before committing it.
"""

from __future__ import annotations

import csv
import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pydicom

from aegui import decoding
from aegui.events import finish
from aegui.imaging import scan
from aegui.imaging.dicom.pixelfile import PixelFile
from tests.imaging.second_decoders import Values, second_decoder

TABLE = Path(__file__).with_name("pydicom_files.csv")


class Row(NamedTuple):
    """scan: "denoise", "view" or "list", else why the file is skipped. pixels: the decoder compared with, else the
    reason why there are none. sha256: of the stored values of the first, the middle and the last frame."""

    file: str
    scan: str
    pixels: str
    difference: str
    sha256: str


def roots() -> dict[str, Path]:
    """Where the files are, by the first part of their names in the table."""
    found = {"pydicom": Path(pydicom.__file__).parent / "data"}
    try:
        import data_store
    except ImportError:
        return found
    return {**found, "pydicom-data": Path(data_store.__file__).parent / "data"}


def files() -> Iterator[tuple[str, Path]]:
    """(name in the table, path) of every local file."""
    for name, root in roots().items():
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix not in (".py", ".pyc"):
                yield f"{name}/{path.relative_to(root).as_posix()}", path


def scanned(path: Path) -> str:
    """What scanning this file alone says of it."""
    result = finish(scan([path]))
    kinds = {series.treat for series in result.series}
    if not kinds:
        return "; ".join(sorted({skipped.reason for skipped in result.skipped}))
    return " and ".join(sorted(kinds))


def decoded(path: Path) -> tuple[list[int], list[Values]]:
    """The first, the middle and the last frame. ValueError or DecodingError with the reason if they cannot be read."""
    file = PixelFile(path)
    frames = sorted({0, file.layout.frames // 2, file.layout.frames - 1})
    return frames, [file.values(frame) for frame in frames]


def digest(values: list[Values]) -> str:
    """One key for these arrays, the same on every machine."""
    total = hashlib.sha256()
    for array in values:
        total.update(f"{array.dtype.kind}{array.dtype.itemsize}{array.shape}".encode())
        total.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).tobytes())
    return total.hexdigest()


def greatest_difference(path: Path, frames: list[int], values: list[Values]) -> tuple[str, float, int] | None:
    """(name of the second decoder, greatest difference, allowed); None where the decoder is not installed."""
    second = second_decoder(path)
    if second is None:
        return None
    differences = []
    for frame, mine in zip(frames, values, strict=True):
        other = second.read(frame)
        assert other.shape == mine.shape, f"{path.name}: {second.name} gives {other.shape}, we {mine.shape}"
        differences.append(float(np.abs(other.astype(np.float64) - mine.astype(np.float64)).max()))
    return second.name, max(differences), second.tolerance


def row(name: str, path: Path) -> Row:
    """The outcome of one file."""
    seen = scanned(path)
    try:
        frames, values = decoded(path)
    except (ValueError, OSError, decoding.DecodingError) as error:
        return Row(name, seen, str(error), "", "")
    compared = greatest_difference(path, frames, values)
    assert compared is not None, f"{name}: no second decoder is installed"
    second, difference, allowed = compared
    assert difference <= allowed, f"{name} differs from {second} by {difference:g}, allowed are {allowed}"
    return Row(name, seen, second, f"{difference:g}", digest(values))


def main() -> None:
    rows, wrong = [], 0
    for name, path in files():
        try:
            rows.append(row(name, path))
        except Exception as error:  # noqa: BLE001 - all of them are wanted
            sys.stderr.write(f"{name} {error!r}\n")
            wrong += 1
    if wrong:
        raise SystemExit(f"{wrong} files are not as they should be; nothing was written.")
    with TABLE.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(Row._fields)
        writer.writerows(rows)
    sys.stdout.write(f"{len(rows)} files: {sum(bool(item.sha256) for item in rows)} decoded\n")


if __name__ == "__main__":
    main()
