"""The simulated low dose beside the phantom's: noise power of what is missing at 10 % of the dose, and its speed.

python tests/bench/low_dose_ct.py [folder of the shared scans]
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from aegui import imaging
from aegui.data.corruption.dose import KERNELS, PHOTON_FIELDS, DoseFields, unit_fields
from aegui.data.item import Item
from aegui.events import finish
from aegui.imaging import Geometry, Series
from aegui.measure import Range
from aegui.measure.nps import noise_power
from aegui.models.intensity import Scale
from aegui.recipes.corruptions import LowDoseCT

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
STEP = 200 / 232  # mm per pixel: the phantom is 200 mm and 232 px wide
CORNERS = [(y, x) for y in (64, 96, 128) for x in (64, 96, 128)]


def repeats(folder: Path) -> np.ndarray:
    """All slices, HU."""
    found = []
    for one in finish(imaging.scan([folder])).series:
        source = imaging.open_series(one)
        found += [source.read(i) for i in range(len(source))]
        source.close()
    return np.stack(found).astype(np.float64) - 1000


def radial(noise: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    squares = [field[y : y + 64, x : x + 64] for field in noise for y, x in CORNERS]
    return noise_power(squares, (STEP, STEP), 0).radial()


def own(stack: np.ndarray) -> np.ndarray:
    """Noise of repeats: what differs from their mean, which takes a little of it along."""
    return (stack - stack.mean(axis=0)) * np.sqrt(len(stack) / (len(stack) - 1))


def spectra(shared: Path) -> None:
    low, full = (repeats(shared / "ct_phantom_dose" / f"dose_{dose}" / "signal_absent") for dose in ("010", "100"))
    f, a = radial(own(low))
    _, b = radial(own(full))
    missing = a - b
    peak = f[missing.argmax()]
    mean = float(np.sum(f * missing) / np.sum(missing))
    centre = np.s_[:, 112:144, 112:144]
    rim = np.s_[:, 112:144, 20:36]
    sd = np.sqrt(own(low)[centre].var() - own(full)[centre].var())
    print(
        f"phantom, 10 % − 100 %, 10 repeats each: SD {sd:.1f} HU in the middle, peak {peak:.3f}/mm, mean {mean:.3f}/mm"
    )
    ratio = own(low)[centre].std() / own(low)[rim].std()
    print(f"  SD in the middle : at the rim {ratio:.2f}; SD at 10 % : at 100 % {own(low).std() / own(full).std():.2f}")
    rng = np.random.default_rng(0)
    for kernel in KERNELS:
        part = LowDoseCT(kernel=kernel, electronic=0)
        made = np.concatenate(
            [
                unit_fields(part, full.mean(axis=0).astype(np.float32), (STEP, STEP), 1.0, rng)[:PHOTON_FIELDS]
                for _ in range(5)
            ]
        ).astype(np.float64) * np.sqrt(1 / 0.1 - 1)
        _, ours = radial(made)
        apart = np.abs(ours / ours.sum() - missing / missing.sum()).sum() / 2
        print(
            f"kernel {kernel}: SD {made[centre].std():.1f} HU in the middle with {part.photons:.0e} photons "
            f"(equal with {part.photons * (made[centre].std() / sd) ** 2:.1e}), peak {f[ours.argmax()]:.3f}/mm, "
            f"mean {np.sum(f * ours) / np.sum(ours):.3f}/mm, {100 * apart:.0f} % of the power elsewhere; "
            f"middle : rim {made[centre].std() / made[rim].std():.2f}"
        )
        if kernel == "smooth":
            print("  1/mm   phantom  simulated (both of sum 1)")
            for k in range(0, len(f), 2):
                print(f"  {f[k]:.3f}  {missing[k] / missing.sum():.4f}   {ours[k] / ours.sum():.4f}")


def speed() -> None:
    side = 512
    y, x = np.mgrid[:side, :side] - side // 2
    body = np.where((x / 230) ** 2 + (y / 160) ** 2 < 1, 0.0, -1000.0).astype(np.float32)
    series = Series(
        "1", "1", "p", "l", "", "CT", "d", "dicom", (Path("x"),), side, side, 1, Geometry((3.0, 0.75, 0.75))
    )
    item = Item(series, 0, Scale(-1024.0, 4096.0, (-1024.0, 3072.0)), Range(400.0, ""), 0.0, -1)
    with tempfile.TemporaryDirectory() as folder:
        fields = DoseFields(LowDoseCT(), Path(folder, "fields"))
        for what in ("first slice, with its geometry", "each further slice"):
            start = time.perf_counter()
            fields.learn(item.scale.normalise(body)[None], item)
            print(f"512²: {what}: {time.perf_counter() - start:.2f} s")
        start = time.perf_counter()
        for seed in range(100):
            fields.noise(0, (100, 200), (64, 64), 0.25, seed)
        print(f"a patch of 64²: {(time.perf_counter() - start) * 10:.2f} ms")
        print(f"in the cache: {Path(folder, 'fields').stat().st_size / 2e6:.1f} MB per slice")


if __name__ == "__main__":
    spectra(Path(sys.argv[1]) if len(sys.argv) > 1 else SHARED)
    speed()
