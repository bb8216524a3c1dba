"""What scanning costs beside a bare pydicom header loop, and opening beside SimpleITK's series reader.

    python tests/bench/scan_and_open.py --data ../shared/data/mr_bold_repeats ../shared/data/ct_chest_tcga \\
        --open ../shared/data/mr_t1_studyforrest ../shared/data/ct_abdomen_j2k

Where the folders hold fewer than --files DICOM files, copies with new UIDs fill them up. Rounds are interleaved, the
best of each counts. Asked: the first scan at most 1.3 × the loop, the second at most 0.2 ×; opening the largest series
of a folder, all its slices with their masks, at most 1 × the reader.
"""

from __future__ import annotations

import argparse
import gc
import os
import shutil
import sys
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

FIRST, SECOND, OPEN = 1.3, 0.2, 1.0


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    words.add_argument("--data", type=Path, nargs="+", default=[], help="folders of DICOM files to scan")
    words.add_argument("--open", type=Path, nargs="+", default=[], help="folders with a series to open")
    words.add_argument("--files", type=int, default=1000)
    words.add_argument("--rounds", type=int, default=5)
    given = words.parse_args()
    with tempfile.TemporaryDirectory(prefix="aegui-scan-") as folder:
        for kind in ("CONFIG", "DATA", "CACHE"):
            os.environ[f"AEGUI_{kind}_HOME"] = str(Path(folder, kind.lower()))
        good = True
        if given.data:
            files = gather(given.data, given.files, Path(folder, "scans"))
            good = scanning(files, Path(folder, "scans"), given.rounds)
        for series in given.open:
            good = opening(series, given.rounds) and good
        return 0 if good else 1


def gather(folders: list[Path], count: int, target: Path) -> list[Path]:
    """Copies of all DICOM files below the folders, again with other UIDs until there are enough."""
    sources = sorted(file for folder in folders for file in folder.rglob("*") if file.is_file() and is_dicom(file))
    if not sources:
        raise SystemExit("No DICOM files there.")
    files: list[Path] = []
    turn = 0
    while len(files) < count or turn == 0:
        for source in sources:
            root = next(folder for folder in folders if source.is_relative_to(folder))
            place = target / f"copy{turn}" / root.name / source.relative_to(root)
            place.parent.mkdir(parents=True, exist_ok=True)
            if turn == 0:
                shutil.copy(source, place)
            else:
                renamed(source, place, turn)
            # As old as a file of yesterday: what has just been written is not remembered.
            os.utime(place, (time.time() - 86400,) * 2)
            files.append(place)
        turn += 1
    return files


def is_dicom(file: Path) -> bool:
    with file.open("rb") as opened:
        return opened.read(132)[128:] == b"DICM"


def renamed(source: Path, place: Path, turn: int) -> None:
    import pydicom

    dataset = pydicom.dcmread(source)
    for keyword in ("SeriesInstanceUID", "SOPInstanceUID"):
        if dataset.get(keyword):
            setattr(dataset, keyword, f"{dataset[keyword].value[:60]}.{turn}")
    dataset.file_meta.MediaStorageSOPInstanceUID = f"{dataset.file_meta.MediaStorageSOPInstanceUID[:60]}.{turn}"
    del dataset[0x00000000:0x00020000]  # remains of network messages
    dataset.save_as(place)


def scanning(files: list[Path], root: Path, rounds: int) -> bool:
    import pydicom

    from aegui.events import finish
    from aegui.imaging import cache, scan

    def bare() -> None:
        for file in files:
            pydicom.dcmread(file, stop_before_pixels=True)

    def scanned() -> None:
        result = finish(scan([root]))
        assert sum(len(item.files) for item in result.series) + len(result.skipped) >= len(files)

    loop, first, second = [], [], []
    bare()
    scanned()
    for _ in range(rounds):
        loop.append(seconds(bare))
        cache.clear()
        first.append(seconds(scanned))
        second.append(seconds(scanned))
    best = min(loop)
    ratios = (min(first) / best, min(second) / best)
    print(f"{len(files)} files: bare loop {best / len(files) * 1e3:.3f} ms per file")
    print(f"first scan {ratios[0]:.2f} × (asked: ≤ {FIRST}), second {ratios[1]:.3f} × (asked: ≤ {SECOND})")
    cache.clear()
    heights = [peak(scanned) / len(files) / 1024 for _ in range(2)]
    print(f"memory at the height of a scan: {heights[0]:.1f} KB per file, of the second {heights[1]:.1f} KB")
    return ratios[0] <= FIRST and ratios[1] <= SECOND


def opening(folder: Path, rounds: int) -> bool:
    import numpy as np
    import SimpleITK as sitk

    from aegui.events import finish
    from aegui.imaging import ahead, open_series, scan

    series = max(finish(scan([folder])).series, key=lambda item: item.slices)
    files = [str(file) for file in series.files]

    def ours() -> list[np.ndarray]:
        source = open_series(series)
        with ahead(source) as slices:
            return [item.pixels for item in slices]

    def theirs() -> np.ndarray:
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(files)
        return sitk.GetArrayFromImage(reader.Execute())

    cold = seconds(ours)
    assert np.array_equal(ours(), theirs())
    mine, other = [], []
    for _ in range(rounds):
        mine.append(seconds(ours))
        other.append(seconds(theirs))
    ratio = min(mine) / min(other)
    print(
        f"{folder.name}, {series.slices} slices of {series.columns} × {series.rows}: {min(mine):.3f} s, SimpleITK "
        f"{min(other):.3f} s: {ratio:.2f} × (asked: ≤ {OPEN:g}); the first time in a program {cold:.3f} s"
    )
    return ratio <= OPEN


def seconds(work: Callable[[], object]) -> float:
    gc.collect()
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def peak(work: Callable[[], None]) -> int:
    tracemalloc.start()
    work()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


if __name__ == "__main__":
    sys.exit(main())
