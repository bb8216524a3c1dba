"""Real DICOM files with bytes flipped, cut and inserted, and what reading them must never do."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path

import numpy as np
import pydicom

from aegui.errors import UserError
from aegui.events import finish
from aegui.imaging import open_series, scan, thumbnail, window_for

LARGEST = 130_000  # bytes of a source


@cache
def sources() -> list[tuple[str, bytes]]:
    """Small files of every transfer syntax, kind of header and bit layout."""
    folders = [Path(pydicom.__file__).parent / "data" / "test_files"]
    try:
        import data_store

        folders.append(Path(data_store.__file__).parent / "data")
    except ImportError:
        pass
    files = [file for folder in folders for file in sorted(folder.glob("*.dcm")) if file.stat().st_size < LARGEST]
    return [(file.name, file.read_bytes()) for file in files]


def mutated(number: int) -> tuple[str, bytes]:
    """File `number`: (name of its source, its bytes), the same on every machine."""
    rng = np.random.default_rng([20261122, number])
    name, whole = sources()[number % len(sources())]
    data = bytearray(whole)
    # Headers are where damage does most, but most of what breaks lengths is refused at once: few changes to a file.
    for _ in range(int(rng.integers(1, 4))):
        reach = min(len(data), 3000) if rng.random() < 0.5 else len(data)
        place, kind = int(rng.integers(0, max(1, reach))), rng.random()
        if kind < 0.6:
            for step in rng.integers(0, 40, int(rng.integers(1, 5))):
                if place + step < len(data):
                    data[place + int(step)] ^= 1 << int(rng.integers(0, 8))
        elif kind < 0.75:
            extreme = (b"\xff\xff\xff\xff", b"\0\0\0\0", b"\xff\xff", b"\xff\xff\xff\x7f", b"\xfe\xff\xdd\xe0\0\0\0\0")
            value = extreme[int(rng.integers(0, len(extreme)))]
            data[place : place + len(value)] = value
        elif kind < 0.83:
            data[place:place] = rng.integers(0, 256, int(rng.integers(1, 40)), np.uint8).tobytes()
        elif kind < 0.91:
            del data[place : place + int(rng.integers(1, 60))]
        elif kind < 0.96:
            other = sources()[int(rng.integers(0, len(sources())))][1]
            data[place : place + 200] = other[place : place + 200]
        else:
            del data[place:]
    return name, bytes(data)


def read_everything(folder: Path) -> str:
    """What a user does with a folder of one file; the outcome in one word. Whatever is no UserError escapes."""
    outcome = "skipped"
    for series in finish(scan([folder])).series:
        outcome = "listed" if outcome == "skipped" else outcome
        thumbnail(series, 64)
        try:
            source = open_series(series)
        except UserError:
            continue
        try:
            window_for(series, source)
        except UserError:
            outcome = "refused"
        for index in {0, len(source) // 2, len(source) - 1}:
            try:
                pixels, valid = source.read(index), source.valid(index)
                assert pixels.dtype == np.float32
                assert pixels.shape[:2] == valid.shape == (series.rows, series.columns)
                assert np.isfinite(pixels).all()
                outcome = "read"
            except UserError:
                outcome = "refused"
        source.close()
    return outcome


def tried(number: int, folder: Path) -> tuple[str, float]:
    """Write mutated file `number` into an empty folder and read it: (outcome, seconds)."""
    (folder / "file.dcm").write_bytes(mutated(number)[1])
    start = time.monotonic()
    outcome = read_everything(folder)
    return outcome, time.monotonic() - start
