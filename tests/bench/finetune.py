"""What fine-tuning the default model is worth on scans it has never seen.

    python tests/bench/finetune.py --data FOLDER [--only phantom] [--out report.json]

FOLDER holds the real scans (ct_chest_tcga, ct_chest_tcia, mr_brain_papaya, mr_t1_studyforrest,
mr_cine_sunnybrook, ct_phantom_dose). Each case fine-tunes on its training slices and judges on others: of
other patients, or five slices away. Printed: mean PSNR over the judging slices of the input, of Gaussian and
non-local means (both tuned on the training slices), of the shipped model and of the fine-tuned one, and the
95 % bootstrap interval of fine-tuned − shipped over slices. Noise is σ 25 of 255 without clipping; references
whose own noise exceeds half the added noise do not count.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from aegui import imaging, recipes, workflow
from aegui.classical import tune
from aegui.data.pairs import Pair
from aegui.events import Epoch, finish
from aegui.imaging import Series, SliceSource
from aegui.inference.denoiser import Denoiser
from aegui.measure import estimate_noise, signal_range
from aegui.models import DEFAULT
from aegui.models.intensity import sample
from aegui.models.zoo import load_model
from aegui.recipes import Recipe

SIGMA = 25.0
CPU = torch.device("cpu")
Pixels = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Slice:
    """A judging slice. extra: noise variance of the reference, taken off the squared error."""

    noisy: Pixels
    reference: Pixels
    mask: npt.NDArray[np.bool_]
    data_range: float
    denoise: Callable[[str], Pixels]
    extra: float = 0.0

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
            found.append(Slice(noisy.read(i), reference, mask, data_range, lambda m, i=i, run=run: run(m, i)))
    return found, dropped


def judge(name: str, train: list[Slice], judging: list[Slice], tuned_model: str, note: str) -> dict[str, object]:
    crop = np.s_[:256, :256]
    pairs = [
        (s.noisy[crop], s.reference[crop], s.data_range, s.mask[crop])
        for s in (train[round(i)] for i in np.linspace(0, len(train) - 1, min(6, len(train))))
    ]
    filters = _drain(tune(pairs))
    rows: dict[str, list[float]] = {"input": [s.psnr(s.noisy) for s in judging]}
    for tuned in filters:
        rows[tuned.name] = [s.psnr(tuned(s.noisy)) for s in judging]
    for label, model in (("shipped", DEFAULT), ("fine-tuned", tuned_model)):
        rows[label] = [s.psnr(s.denoise(model)) for s in judging]
    means = {label: float(np.mean(values)) for label, values in rows.items()}
    gain = np.asarray(rows["fine-tuned"]) - np.asarray(rows["shipped"])
    rng = np.random.default_rng(0)
    draws = rng.choice(gain, (10_000, gain.size)).mean(axis=1)
    classical = max(means[tuned.name] for tuned in filters)
    result = {
        "case": name,
        "note": note,
        "slices": len(judging),
        "psnr": means,
        "over_classical": means["fine-tuned"] - classical,
        "over_shipped": float(gain.mean()),
        "interval": [float(np.percentile(draws, 2.5)), float(np.percentile(draws, 97.5))],
    }
    print(json.dumps(result), flush=True)
    return result


def _drain(generator):  # type: ignore[no-untyped-def]
    while True:
        try:
            next(generator)
        except StopIteration as end:
            return end.value


def fine_tune(recipe: Recipe, run: Path, noisy: Sequence[Series], pairs: Sequence[Pair] = ()) -> str:
    job = workflow.TrainJob(DEFAULT, recipe, tuple(noisy), run, pairs=tuple(pairs), device="cpu")
    bundle = ""
    for event in workflow.train(job):
        if isinstance(event, Epoch):
            print(f"  epoch {event.epoch}: {event.psnr:.3f} dB, best {event.best_epoch}", flush=True)
        result = getattr(event, "result", None)
        bundle = str(result.bundle) if result else bundle
    return bundle


def synthetic(
    name: str, train: list[Series], judging: list[Series], run: Path, overrides: list[str]
) -> dict[str, object]:
    recipe = recipes.load("layerwise").with_set([*overrides, "targets.own_noise_limit=12.5"])
    model = fine_tune(recipe, run, train)
    training, _ = synthetic_slices(train)
    slices, dropped = synthetic_slices(judging)
    return judge(name, training, slices, model, f"σ 25; {dropped} judging references too noisy to count")


def phantom(data: Path, run: Path, overrides: list[str]) -> dict[str, object]:
    found = {(s.files[0].parent.parent.name, s.description): s for s in scan(data / "ct_phantom_dose")}
    low, high = found["dose_010", "signal_absent"], found["dose_100", "signal_absent"]
    pair = Pair(low, high, tuple((i, i) for i in range(8)), "order", True, "same phantom")
    recipe = recipes.load("layerwise").with_set(["targets={kind: paired}", *overrides])
    model = fine_tune(recipe, run, [low], [pair])
    sources = {key: imaging.open_series(series) for key, series in found.items()}
    a, b = sources["dose_010", "signal_absent"], sources["dose_100", "signal_absent"]
    mask = np.ones((256, 256), bool)
    train = [Slice(a.read(i), b.read(i), mask, 400.0, lambda m: a.read(0)) for i in range(8)]
    low, high = sources["dose_010", "signal_present"], sources["dose_100", "signal_present"]
    repeats = np.stack([high.read(i) for i in range(5)]).astype(np.float64)
    mean, own = repeats.mean(axis=0), float(repeats.var(axis=0, ddof=1).mean() / 5)
    run_on = by_source(low)
    judging = [
        Slice(low.read(i), mean.astype(np.float32), mask, 400.0, lambda m, i=i: run_on(m, i), own) for i in range(5)
    ]
    result = judge("ct_phantom_dose", train, judging, model, f"10 % → 100 %; reference noise variance {own:.2f} HU²")
    truth = next(source for (_, name), source in sources.items() if name == "ground_truth")
    result["contrast"] = contrasts(truth.read(0), mean, [s.denoise(model) for s in judging], [s.noisy for s in judging])
    print(json.dumps(result["contrast"]), flush=True)
    return result


def contrasts(truth: Pixels, reference: npt.NDArray[np.float64], denoised: list[Pixels], noisy: list[Pixels]):  # type: ignore[no-untyped-def]
    """Mean of each insert less the background, by true contrast: truth, reference, noisy, denoised (HU)."""
    from skimage.measure import label

    values, counts = np.unique(truth, return_counts=True)
    background = float(values[counts.argsort()[-2:]].max())
    ground = truth == background
    rows = []
    inserts = label((truth != background) & (truth > background - 200) & (truth < background + 200) & (truth > 0))
    for number in range(1, inserts.max() + 1):
        inside = inserts == number
        if not 10 <= inside.sum() <= 3000:
            continue
        rows.append(
            {
                "pixels": int(inside.sum()),
                "truth": float(truth[inside].mean() - background),
                "reference": float(reference[inside].mean() - reference[ground].mean()),
                "noisy": float(np.mean([x[inside].mean() - x[ground].mean() for x in noisy])),
                "denoised": float(np.mean([x[inside].mean() - x[ground].mean() for x in denoised])),
            }
        )
    return rows


def cases(data: Path, runs: Path, overrides: list[str]) -> dict[str, Callable[[], dict[str, object]]]:
    def ct() -> dict[str, object]:
        found = [s for s in scan(data / "ct_chest_tcga" / "set_aside", data / "ct_chest_tcia") if s.modality == "CT"]
        aside = [s for s in found if not any(p in str(s.files[0]) for p in _TRAINED_TCIA)]
        patients = sorted({s.patient for s in aside})
        train = [s for s in aside if s.patient in patients[::2]]
        return synthetic("ct", train, [s for s in aside if s not in train], runs / "ct", overrides)

    def blocks(name: str, series: Series, indices: list[int]) -> dict[str, object]:
        half = len(indices) // 2
        train = part(series, indices[: half - 2], "train")
        return synthetic(name, [train], [part(series, indices[half + 3 :], "judge")], runs / name, overrides)

    def cine() -> dict[str, object]:
        found = scan(data / "mr_cine_sunnybrook" / "set_aside")
        return synthetic("mr_cine", found[:4], found[4:], runs / "cine", overrides)

    return {
        "phantom": lambda: phantom(data, runs / "phantom", overrides),
        "ct": ct,
        "mr_papaya": lambda: blocks("mr_papaya", scan(data / "mr_brain_papaya")[0], list(range(20))),
        "mr_t1": lambda: blocks("mr_t1", scan(data / "mr_t1_studyforrest")[0], list(range(160, 200))),
        "mr_cine": cine,
    }


_TRAINED_TCIA = ("A002304", "A027284", "A048383", "A056642")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--set", nargs="*", default=[], help="recipe overrides, as for aegui train")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        every = cases(arguments.data, Path(folder), arguments.set)
        results = [run() for name, run in every.items() if not arguments.only or name in arguments.only]
    if arguments.out:
        arguments.out.write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
