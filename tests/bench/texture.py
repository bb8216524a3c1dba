"""What models keep of a phantom at a tenth of the dose when all leave the same texture of noise.

    python tests/bench/texture.py --data FOLDER [--models …]

FOLDER holds ct_phantom_dose (HU + 1000, here taken as CT); no shipped model was trained on it. Every arm,
y + s·(f(y) − y), is blended with the input to the strength s at which the noise of the repeats (each less their mean,
the central 64² of the disk) has a mean frequency of 0.7 of the input's; an arm that cannot reach it is taken at full
strength, and says so. Gaussian and non-local means are tuned on the signal-absent repeats 1 to 5. Judged on the
signal-absent repeats 6 to 10 against the mean of their 100 % repeats, whose noise variance is taken off; the inserts
on the signal-present ones.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from common import CPU, Pixels, drain, scan

from aegui import imaging
from aegui.classical import QUICK, tune
from aegui.imaging import SliceSource
from aegui.inference.denoiser import Denoiser
from aegui.measure.nps import noise_power
from aegui.models import DEFAULT
from aegui.models.zoo import load_model

SHARE = 0.7  # of the input's mean frequency
AIR = -1000.0  # HU
BAND = 10  # px around the edge of the disk
Volume = npt.NDArray[np.float64]


def mean_frequency(repeats: Volume) -> float:
    """Cycles/px of the noise of repeats, (repeats, rows, columns), in the central 64²."""
    noise = repeats - repeats.mean(axis=0)
    rows, columns = (slice(side // 2 - 32, side // 2 + 32) for side in noise.shape[1:])
    found = noise_power([one[rows, columns] for one in noise], (1.0, 1.0), order=0)
    f = np.hypot(found.y[:, None], found.x[None])
    return float((f * found.power).sum() / found.power.sum())


def at_texture(noisy: Volume, clean: Volume) -> tuple[float, float]:
    """(strength, share of the input's mean frequency reached there)."""
    whole = mean_frequency(noisy)

    def share(s: float) -> float:
        return mean_frequency(noisy + s * (clean - noisy)) / whole

    # A little of the denoised part changes the texture less than most of it, so the way down is one way.
    low, high = 0.0, 1.0
    if share(high) > SHARE:
        return high, share(high)
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) > SHARE else (low, middle)
    return high, share(high)


class Hounsfield:
    """A source whose values are HU + 1000, as CT."""

    def __init__(self, source: SliceSource) -> None:
        self._source = source
        self.series = replace(source.series, modality="CT", unit="HU")

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> Pixels:
        return self._source.read(index) - np.float32(1000)

    def valid(self, index: int) -> npt.NDArray[np.bool_]:
        return self._source.valid(index)

    def close(self) -> None:
        self._source.close()


class Phantom:
    """The repeats, (repeats, rows, columns), and where things are."""

    def __init__(self, data: Path) -> None:
        found = {(s.files[0].parent.parent.name, s.description): s for s in scan(data / "ct_phantom_dose")}
        self.sources = {key: Hounsfield(imaging.open_series(series)) for key, series in found.items()}
        self.absent, self.present = self._read("dose_010", "absent"), self._read("dose_010", "present")
        full = self._read("dose_100", "absent")
        self.mean, self.own = full.mean(axis=0), float(full.var(axis=0, ddof=1).mean() / len(full))
        self.truth = next(s for (_, name), s in self.sources.items() if name == "ground_truth").read(0)
        y, x = np.mgrid[: self.mean.shape[0], : self.mean.shape[1]]
        self.radius = np.hypot(y - (self.mean.shape[0] - 1) / 2, x - (self.mean.shape[1] - 1) / 2)
        rings = self.radius.astype(int)
        profile = np.bincount(rings.ravel(), self.mean.ravel()) / np.bincount(rings.ravel())
        self.edge = float(np.argmax(profile < (profile[:20].mean() + AIR) / 2))

    def _read(self, dose: str, signal: str) -> Volume:
        source = self.sources[dose, f"signal_{signal}"]
        return np.stack([source.read(i) for i in range(len(source))]).astype(np.float64)

    def parts(self) -> dict[str, npt.NDArray[np.bool_]]:
        return {
            "centre": self.radius < 0.4 * self.edge,
            "edge ring": (self.radius > self.edge - BAND) & (self.radius < self.edge - 2),
            "air": self.radius > self.edge + 3,
        }

    def rmse(self, image: Volume, where: npt.NDArray[np.bool_] | None = None) -> float:
        error = (image - self.mean) ** 2
        return float(np.sqrt(max((error if where is None else error[..., where]).mean() - self.own, 0)))

    def inserts(self, images: Volume) -> list[tuple[float, float, float]]:
        """(true contrast, measured, its standard error) of each insert against the disk around it, HU."""
        from scipy.ndimage import binary_dilation, label

        body = np.bincount(np.rint(self.truth[self.radius < 0.9 * self.edge]).astype(int) + 2000).argmax() - 2000
        numbers, count = label((np.abs(self.truth - body) > 0.5) & (self.radius < 0.9 * self.edge))
        found = []
        for number in range(1, count + 1):
            inside = numbers == number
            around = binary_dilation(inside, iterations=6) & ~binary_dilation(inside, iterations=2) & (numbers == 0)
            values = images[:, inside].mean(axis=1) - images[:, around].mean(axis=1)
            true = float(self.truth[inside].mean() - self.truth[around].mean())
            found.append((true, float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values)))))
        return sorted(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--models", nargs="*", default=[DEFAULT])
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    phantom = Phantom(arguments.data)
    low = phantom.sources["dose_010", "signal_absent"]
    every = np.ones(phantom.mean.shape, np.bool_)

    pairs = [(phantom.absent[i].astype(np.float32), phantom.mean.astype(np.float32), 400.0, every) for i in range(5)]
    arms: dict[str, Callable[[Pixels], Pixels]] = {"input": lambda image: image}
    arms |= {one.name: one for one in drain(tune(pairs, QUICK)) if one.name in ("Gaussian", "non-local means")}
    for model in arguments.models:
        denoiser = Denoiser(load_model(model), low, CPU)
        arms[model] = lambda image, d=denoiser: d.pixels(image, every).pixels  # type: ignore[misc]

    heads = ("arm", "strength", "mean frequency / input's", "RMSE", f"RMSE, ±{BAND} px of the edge")
    print(
        "| " + " | ".join((*heads, *(f"Δ mean, {name}" for name in phantom.parts()), "inserts: true → measured ± SE"))
    )
    print("|" + "---|" * (len(heads) + 4))
    band = np.abs(phantom.radius - phantom.edge) <= BAND
    for name, apply in arms.items():
        done = np.stack([apply(image.astype(np.float32)) for image in phantom.absent]).astype(np.float64)
        shown = np.stack([apply(image.astype(np.float32)) for image in phantom.present]).astype(np.float64)
        strength, share = (1.0, 1.0) if name == "input" else at_texture(phantom.absent, done)
        at = phantom.absent + strength * (done - phantom.absent)
        judged = at[5:]
        shifts = [(at - phantom.absent)[:, where].mean() for where in phantom.parts().values()]
        inserts = phantom.inserts(phantom.present + strength * (shown - phantom.present))
        words = ", ".join(f"{true:.1f} → {value:.1f} ± {error:.1f}" for true, value, error in inserts)
        figures = (
            f"{strength:.3f}",
            f"{share:.3f}",
            f"{phantom.rmse(judged):.2f}",
            f"{phantom.rmse(judged, band):.2f}",
        )
        print("| " + " | ".join((name, *figures, *(f"{shift:+.2f}" for shift in shifts), words)), flush=True)


if __name__ == "__main__":
    main()
