"""What can be had without clean scans: repeats (Noise2Noise), noise like the scan's own (Recorrupted) and blind spots.

    python tests/bench/no_clean_scans.py --data FOLDER [--only bold phantom] [--recipes …] [--out rows.jsonl]

FOLDER holds mr_bold_repeats and ct_phantom_dose.

bold: 12 repeats of 35 slices. Trained on slices 1–17, judged on slices 21–35, where every single repeat goes in.
    The judge of a repeat is made of the other 11 alone: a straight line through them in time (the drift), voxel by
    voxel, read off at the time of the repeat. Its own noise is σ²·h, with σ² the variance around that line (9 degrees
    of freedom) and h the line's leverage there; it is taken off the squared error and stated as the floor.
phantom: CT at 10 % of the dose. Trained on the signal-absent repeats, judged on the signal-present ones against
    the mean of their 5 repeats at 100 %, whose noise variance is taken off.

Non-local means is tuned on the training part in two ways open to a user without clean scans: at hidden pixels
(J-invariance, Batson & Royer 2019; squares of 5 px hidden, as the noise is correlated), and against other repeats;
and, as a bound that nobody could reach, on the judged slices themselves. With --develop the models are scored on
validation slices of the training part, unmasked and against other repeats, and nothing is judged: by these figures
recipes were chosen.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from aegui import imaging, recipes, workflow
from aegui.classical import FILTERS
from aegui.data.pairs import Pair
from aegui.data.targets.hiding import around, from_around, scattered
from aegui.errors import UserError
from aegui.events import Baselines, Done, Epoch, Started, finish
from aegui.imaging import Series, SliceSource
from aegui.inference.denoiser import Denoiser
from aegui.measure import signal_range
from aegui.models import DEFAULT
from aegui.models.zoo import load_model
from aegui.recipes import Recipe

Pixels = npt.NDArray[np.floating]
Apply = Callable[[Pixels], Pixels]
CPU = torch.device("cpu")
ARMS = ("repeats", "no-clean-scans", "blind-spot", "paired")
_GUESSED = ["losses=[{kind: l1}]", "groups.rest.learning_rate=1e-3"]
# Arms that are no preset: the preset they are made of, and how. Noise of the phantom is correlated, that of MR less.
MADE = {
    "paired": ("repeats", {"phantom": ["targets={kind: paired}"]}),
    "blind-spot": (
        "no-clean-scans",
        {
            "phantom": ["targets={kind: noise2self, hide: square, reach: 2, grid: 6}", *_GUESSED],
            "bold": ["targets={kind: noise2void, spots: 2}", *_GUESSED],
        },
    ),
}
NLM = next(one for one in FILTERS if one.name == "non-local means")
STRENGTHS = (*NLM.grid, 3.2, 4.0, 5.0)  # correlated noise is estimated too low, so the filter must be stronger
HIDE = np.ones((5, 5), np.bool_)  # around each pixel that is guessed to tune the filter: its noise is correlated
HIDDEN_APART = 12.0  # px between them


@dataclass(frozen=True)
class Slice:
    """A noisy slice with its judge. extra: noise variance of the judge."""

    noisy: Pixels
    judge: Pixels
    extra: float
    data_range: float
    source: SliceSource

    def psnr(self, image: Pixels) -> float:
        """dB, the judge's noise taken off."""
        error = float(np.mean((image.astype(np.float64) - self.judge) ** 2)) - self.extra
        return float(10 * np.log10(self.data_range**2 / error))

    @property
    def floor(self) -> float:
        """What the judge itself would score against the truth."""
        return float(10 * np.log10(self.data_range**2 / self.extra))


@dataclass(frozen=True)
class Task:
    """Scans to learn from, and slices that are judged or, in the training part, used to choose."""

    name: str
    noisy: tuple[Series, ...]
    repeats: tuple[Pair, ...]
    pairs: tuple[Pair, ...]
    judged: list[Slice]
    development: list[Slice]
    note: str


def part(series: Series, indices: Iterable[int], name: str) -> Series:
    """Some slices of a series as a series."""
    chosen = list(indices)
    positions = series.geometry.positions
    geometry = replace(series.geometry, positions=tuple(positions[i] for i in chosen) if positions else ())
    files = tuple(series.files[i] for i in chosen)
    return replace(series, uid=f"{series.uid}.{name}", files=files, slices=len(chosen), geometry=geometry)


def each_with_the_next(series: Sequence[Series]) -> tuple[Pair, ...]:
    """Repeats as confirmed pairs."""
    return tuple(
        Pair(a, b, tuple((i, i) for i in range(a.slices)), "order", True, "repeats", "repeat")
        for a, b in pairwise(series)
    )


def line_at(volumes: Pixels, left_out: int) -> tuple[Pixels, Pixels]:
    """(value, its noise variance) at one repeat of a line through all the others. volumes: (repeats, …)."""
    times = np.delete(np.arange(len(volumes), dtype=np.float64), left_out)
    values = np.delete(volumes, left_out, axis=0).astype(np.float64)
    basis = np.stack([np.ones_like(times), times], axis=1)
    weights = basis @ np.linalg.inv(basis.T @ basis)
    at = weights @ np.asarray([1.0, left_out])
    fitted = np.tensordot(basis @ np.linalg.inv(basis.T @ basis) @ basis.T, values, axes=1)
    variance = ((values - fitted) ** 2).sum(axis=0) / (len(times) - 2)
    return np.tensordot(at, values, axes=1), variance * float((at**2).sum())


def bold(data: Path) -> Task:
    found = sorted(finish(workflow.scan([data / "mr_bold_repeats"])).series, key=lambda s: s.acquisition["temporal"])
    train = [part(one, range(17), "train") for one in found]
    sources = [imaging.open_series(one) for one in found]
    volumes = np.stack([[source.read(i) for i in range(35)] for source in sources])

    def slices(numbers: Sequence[int]) -> list[Slice]:
        data_range = signal_range("MR", 12, list(volumes[:, numbers].mean(axis=0).astype(np.float32))).value
        made = []
        for repeat in range(len(found)):
            judge, extra = line_at(volumes[:, numbers], repeat)
            for k, number in enumerate(numbers):
                made.append(
                    Slice(volumes[repeat, number], judge[k], float(extra[k].mean()), data_range, sources[repeat])
                )
        return made

    return Task(
        "mr_bold_repeats",
        tuple(train),
        each_with_the_next(train),
        (),
        slices(range(20, 35)),
        slices(range(14, 17)),
        "trained on slices 1–17, judged on 21–35; R is the 99.5th percentile of the mean's foreground",
    )


def phantom(data: Path) -> Task:
    scans = {
        (s.files[0].parent.parent.name, s.description): s
        for s in finish(workflow.scan([data / "ct_phantom_dose"])).series
    }
    low, high = scans["dose_010", "signal_absent"], scans["dose_100", "signal_absent"]
    own = imaging.open_series(low)
    absent = np.stack([own.read(i) for i in range(10)]).astype(np.float64)
    source = imaging.open_series(scans["dose_010", "signal_present"])
    clean = imaging.open_series(scans["dose_100", "signal_present"])
    repeats = np.stack([clean.read(i) for i in range(5)]).astype(np.float64)
    variance = float(repeats.var(axis=0, ddof=1).mean() / 5)
    judged = [Slice(source.read(i), repeats.mean(axis=0), variance, 400.0, source) for i in range(5)]
    others = absent[:8]
    extra = float(others.var(axis=0, ddof=1).mean() / 8)
    development = [Slice(absent[i].astype(np.float32), others.mean(axis=0), extra, 400.0, own) for i in (8, 9)]
    # The repeats lie in one series, as its slices.
    again = Pair(low, low, tuple((i, i + 1) for i in range(9)), "order", True, "repeats", "repeat")
    pair = Pair(low, high, tuple((i, i) for i in range(10)), "order", True, "same phantom")
    return Task(
        "ct_phantom_dose 10 %",
        (low,),
        (again,),
        (pair,),
        judged,
        development,
        "trained on signal-absent, judged on signal-present against the mean of 5 repeats at 100 %; R = 400 HU",
    )


# ---------------------------------------------------------------- classical


def filtered(strength: float) -> Apply:
    return lambda image: NLM.apply(np.asarray(image, dtype=np.float32), strength)


def tuned(score: Callable[[Apply], float]) -> float:
    return max(STRENGTHS, key=lambda strength: score(filtered(strength)))


def at_hidden_pixels(task: Task) -> float:
    """The strength with the smallest error at hidden pixels of training slices, against their noisy values."""
    images = [s.noisy for s in task.development[:: max(1, len(task.development) // 6)]]

    def score(apply: Apply) -> float:
        errors = []
        for number, image in enumerate(images):
            spots = scattered(image.shape, HIDDEN_APART, np.random.default_rng(number))
            seen = from_around(image[None].astype(np.float32), around(spots, HIDE))[0]
            errors.append(np.mean((apply(seen) - image)[spots] ** 2))
        return -float(np.mean(errors))

    return tuned(score)


def strengths(task: Task, slices: Sequence[Slice]) -> dict[str, float]:
    """Of non-local means, by the way it was tuned. slices: the judged ones."""
    return {
        "non-local means, tuned at hidden pixels": at_hidden_pixels(task),
        "non-local means, tuned against repeats": tuned(lambda apply: mean_psnr(task.development, apply)),
        "non-local means, tuned on the judged slices": tuned(lambda apply: mean_psnr(slices, apply)),
    }


def mean_psnr(slices: Sequence[Slice], apply: Apply) -> float:
    return float(np.mean([s.psnr(apply(s.noisy)) for s in slices]))


# ---------------------------------------------------------------- models


def psnr_of_model(model: str, slices: Sequence[Slice]) -> list[float]:
    loaded = load_model(model)
    denoisers = {id(s.source): Denoiser(loaded, s.source, CPU) for s in slices}
    return [s.psnr(denoisers[id(s.source)].pixels(s.noisy, np.ones(s.noisy.shape, np.bool_)).pixels) for s in slices]


def trained(recipe: Recipe, task: Task, run: Path) -> tuple[str, dict[str, object]]:
    pairs = {"noise2noise": task.repeats, "paired": task.pairs}.get(recipe.targets.kind, ())
    noisy = tuple({p.uid: p for pair in pairs for p in (pair.noisy, pair.clean)}.values()) if pairs else task.noisy
    noisy = task.noisy if recipe.targets.kind == "paired" else noisy
    began, told = time.monotonic(), {}
    for event in workflow.train(workflow.TrainJob(DEFAULT, recipe, noisy, run, pairs=pairs, device="cpu")):
        match event:
            case Started():
                told["selected by"] = event.selection
            case Baselines():
                told["baselines"] = {name: round(values["psnr"], 3) for name, values in event.scores.items()}
                print(f"  baselines {told['baselines']}", flush=True)
            case Epoch():
                print(f"  epoch {event.epoch}: {event.psnr:.3f} dB, best {event.best_epoch}", flush=True)
            case Done(result):
                told["best epoch"] = result.best_epoch
                return str(result.bundle), told | {"seconds": round(time.monotonic() - began)}
    raise AssertionError("a job ends in Done")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=["bold", "phantom"], choices=["bold", "phantom"])
    parser.add_argument("--recipes", nargs="*", default=list(ARMS))
    parser.add_argument("--set", nargs="*", default=[], help="recipe overrides, as for aegui train")
    parser.add_argument("--develop", action="store_true", help="score on the training part; judge nothing")
    parser.add_argument("--no-filters", action="store_true")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()

    def row(**values: object) -> None:
        line = json.dumps(values, ensure_ascii=False)
        print(line, flush=True)
        if arguments.out:
            with arguments.out.open("a", encoding="utf-8") as file:
                file.write(line + "\n")

    for name in arguments.only:
        task = {"bold": bold, "phantom": phantom}[name](arguments.data)
        slices = task.development if arguments.develop else task.judged
        floor = float(np.mean([s.floor for s in slices]))
        if not arguments.no_filters:
            row(task=task.name, note=task.note, slices=len(slices), judge_floor=round(floor, 2))
            row(task=task.name, arm="input", psnr=round(mean_psnr(slices, lambda x: x), 3))
            for arm, strength in strengths(task, slices).items():
                row(task=task.name, arm=arm, h=strength, psnr=round(mean_psnr(slices, filtered(strength)), 3))
            row(task=task.name, arm="shipped", psnr=round(float(np.mean(psnr_of_model(DEFAULT, slices))), 3))
        for ref in arguments.recipes:
            preset, how = MADE.get(ref, (ref, {name: []}))
            if name not in how:
                continue
            recipe = recipes.load(preset).with_set([*how[name], *arguments.set])
            with tempfile.TemporaryDirectory() as folder:
                try:
                    model, told = trained(recipe, task, Path(folder) / "run")
                except UserError as refused:
                    row(task=task.name, arm=ref, refused=str(refused))
                    continue
                told["training part"] = round(float(np.mean(psnr_of_model(model, task.development))), 3)
                values = psnr_of_model(model, slices)
            row(task=task.name, arm=ref, psnr=round(float(np.mean(values)), 3), set=arguments.set, **told)


if __name__ == "__main__":
    main()
