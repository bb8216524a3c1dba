"""What the benches on real scans share: judging slices, their noise, where scans come from, tuned filters."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from aegui import imaging, workflow
from aegui.classical import Tuned, tune
from aegui.events import finish
from aegui.imaging import Series, SliceSource
from aegui.inference.denoiser import Denoiser
from aegui.measure import estimate_noise, signal_range
from aegui.models.intensity import sample
from aegui.models.zoo import load_model

SIGMA = 25.0
CPU = torch.device("cpu")
Pixels = npt.NDArray[np.float32]

# Patients of ct_chest_tcia that the shipped models were trained on.
TRAINED_TCIA = ("A002304", "A027284", "A048383", "A056642")
# Sections of ct_chest_tcga that show the liver, kidneys, bowel or pelvis, with no lung but the posterior recess;
# looked at one by one. Every other section shows lung beside the mediastinum or heart, or the shoulders.
ABDOMEN = {11, 12, 17, 22, 25, 28, 30, 41, 45, 47, 68, 70, 71, 73, 74, 77, 79, 84, 86, 87, 94}


@dataclass(frozen=True)
class Slice:
    """A judging slice. extra: noise variance of the reference, taken off the squared error."""

    noisy: Pixels
    reference: Pixels
    mask: npt.NDArray[np.bool_]
    data_range: float
    denoise: Callable[[str], Pixels]
    extra: float = 0.0
    patient: str = ""

    def psnr(self, image: Pixels) -> float:
        error = np.mean((image.astype(np.float64) - self.reference)[self.mask] ** 2) - self.extra
        return float(10 * np.log10(self.data_range**2 / error))


class Noisy:
    """A source with Gaussian noise of a fixed seed added."""

    def __init__(self, source: SliceSource, sd: float) -> None:
        self.series, self._source, self._sd = source.series, source, sd

    def __len__(self) -> int:
        return len(self._source)

    def read(self, index: int) -> Pixels:
        pixels = self._source.read(index)
        noise = np.random.default_rng([11, index]).normal(0, self._sd, pixels.shape)
        return np.where(self.valid(index), pixels + noise, pixels).astype(np.float32)

    def valid(self, index: int) -> npt.NDArray[np.bool_]:
        return self._source.valid(index)

    def close(self) -> None:
        self._source.close()


def scan(*folders: Path) -> list[Series]:
    return list(finish(workflow.scan(list(folders))).series)


def region_of(section: Path) -> str:
    """What a file of ct_chest_tcga shows."""
    return "abdomen" if int(section.stem.split("_")[1]) in ABDOMEN else "thorax"


def part(series: Series, indices: Iterable[int], name: str) -> Series:
    chosen = list(indices)
    positions = series.geometry.positions
    geometry = replace(series.geometry, positions=tuple(positions[i] for i in chosen) if positions else ())
    files = tuple(series.files[i] for i in chosen)
    return replace(series, uid=f"{series.uid}.{name}", files=files, slices=len(chosen), geometry=geometry)


def by_source(source: SliceSource) -> Callable[[str, int], Pixels]:
    cache: dict[str, Denoiser] = {}

    def run(model: str, index: int) -> Pixels:
        if model not in cache:
            cache[model] = Denoiser(load_model(model), source, CPU)
        return cache[model].slice(index).pixels

    return run


def synthetic_slices(series: Sequence[Series]) -> tuple[list[Slice], int]:
    """Judging slices with noise added; and how many references were too noisy to count."""
    found, dropped = [], 0
    for one in series:
        clean = imaging.open_series(one)
        data_range = signal_range(one.modality, one.bits, [clean.read(i) for i in sample(clean)]).value
        sd = SIGMA * data_range / 255
        noisy = Noisy(clean, sd)
        run = by_source(noisy)
        for i in range(len(clean)):
            reference, mask = clean.read(i), clean.valid(i)
            if estimate_noise(reference, mask) > 0.5 * sd:
                dropped += 1
                continue
            found.append(
                Slice(
                    noisy.read(i),
                    reference,
                    mask,
                    data_range,
                    lambda m, i=i, run=run: run(m, i),  # type: ignore[misc]
                    patient=one.patient,
                )
            )
    return found, dropped


@dataclass(frozen=True)
class Phantom:
    """ct_phantom_dose at 10 % (low) and 100 % (high). judging: signal present, against the mean of its 100 % repeats.

    train: the first 8 signal-absent repeats. own: noise variance of the reference, HU².
    """

    low: Series
    high: Series
    train: list[Slice]
    judging: list[Slice]
    own: float
    mean: npt.NDArray[np.float64]
    truth: Pixels


def phantom_slices(data: Path) -> Phantom:
    found = {(s.files[0].parent.parent.name, s.description): s for s in scan(data / "ct_phantom_dose")}
    sources = {key: imaging.open_series(series) for key, series in found.items()}
    a, b = sources["dose_010", "signal_absent"], sources["dose_100", "signal_absent"]
    mask = np.ones((256, 256), bool)
    train = [Slice(a.read(i), b.read(i), mask, 400.0, lambda m: a.read(0)) for i in range(8)]
    low, high = sources["dose_010", "signal_present"], sources["dose_100", "signal_present"]
    repeats = np.stack([high.read(i) for i in range(5)]).astype(np.float64)
    mean, own = repeats.mean(axis=0), float(repeats.var(axis=0, ddof=1).mean() / 5)
    run = by_source(low)
    judging = [
        Slice(low.read(i), mean.astype(np.float32), mask, 400.0, lambda m, i=i: run(m, i), own)  # type: ignore[misc]
        for i in range(5)
    ]
    truth = next(source for (_, name), source in sources.items() if name == "ground_truth")
    return Phantom(
        found["dose_010", "signal_absent"],
        found["dose_100", "signal_absent"],
        train,
        judging,
        own,
        mean,
        truth.read(0),
    )


def tuned_filters(train: Sequence[Slice]) -> list[Tuned]:
    """Classical filters tuned on crops of at most six training slices, best first."""
    crop = np.s_[:256, :256]
    pairs = [
        (s.noisy[crop], s.reference[crop], s.data_range, s.mask[crop])
        for s in (train[round(i)] for i in np.linspace(0, len(train) - 1, min(6, len(train))))
    ]
    return drain(tune(pairs))


def interval(gain: Sequence[float], groups: Sequence[str] = (), draws: int = 10_000) -> tuple[float, float]:
    """95 % bootstrap interval of the mean. groups: patients, drawn first; then slices within each."""
    rng = np.random.default_rng(0)
    values = np.asarray(gain)
    names = sorted(set(groups))
    if len(names) < 2:
        means = rng.choice(values, (draws, values.size)).mean(axis=1)
    else:
        parted = [values[np.asarray(groups) == name] for name in names]
        means = np.empty(draws)
        for draw in range(draws):
            chosen = [parted[k] for k in rng.integers(len(parted), size=len(parted))]
            means[draw] = np.concatenate([rng.choice(part, part.size) for part in chosen]).mean()
    return float(np.percentile(means, 2.5)), float(np.percentile(means, 97.5))


def drain(generator):  # type: ignore[no-untyped-def]
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


class Lines:
    """Results in a file of JSON lines, so that a killed bench goes on where it was."""

    def __init__(self, file: Path | None) -> None:
        self.file = file
        self.rows: list[dict[str, Any]] = []
        if file is not None and file.exists():
            self.rows = [json.loads(line) for line in file.read_text().splitlines() if line]

    def find(self, **key: Any) -> dict[str, Any] | None:
        return next((row for row in reversed(self.rows) if all(row.get(k) == v for k, v in key.items())), None)

    def add(self, row: dict[str, Any]) -> dict[str, Any]:
        self.rows.append(row)
        if self.file is not None:
            with self.file.open("a") as handle:
                handle.write(json.dumps(row) + "\n")
        return row
