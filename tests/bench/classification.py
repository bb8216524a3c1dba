"""What the discriminative recipe adds to the latent of the pretrained model, and what it costs the reconstruction.

    python tests/bench/classification.py --data FOLDER [--only cine] [--out report.jsonl]

FOLDER holds the real scans. Labelled sets: `cine`, the third of the heart (basal, mid, apical) of a short-axis slice
of mr_cine_sunnybrook, by its place in its series, 30 patients; `region`, thorax or abdomen of ct_chest_tcga, labelled
by eye, 40 patients; `orientation`, axial, coronal or sagittal of ct_chest_tcia, by folder, 6 patients. Slices are
averaged 4×4 first, so that a whole one is a patch.

Gaussian noise is added, more and more until a linear probe on the frozen pooled latent has macro-AUC of at most 0.95.
The probe: logistic regression on standardised features of four noise draws, its penalty chosen inside the training
folds. Five folds of patients; the recipe trains on the same slices less a sixth of the patients, which choose the
epoch, once with and once without its classification term. The head's rate is high, as the pooled latent is small; at
1e-2 the head was still behind the probe after 300 steps. Intervals: bootstrap over patients, paired.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from common import CPU, Lines, drain, interval, region_of, scan
from torch import nn

from aegui import recipes
from aegui.data.dataset import TrainingData, prepare
from aegui.data.draw import case
from aegui.data.split import Split
from aegui.events import finish
from aegui.imaging import Series
from aegui.models import DEFAULT
from aegui.models.slicenet import SliceNet
from aegui.models.zoo import load_model
from aegui.recipes import Recipe
from aegui.training.fit import fit
from aegui.training.runfolder import RunFolder
from aegui.training.validation import run_case, score

Array = npt.NDArray[np.float64]
FOLDS = 5
DEALT = 10  # how patients are dealt into folds: the settings below were chosen on 0
DRAWS = 4
SIGMAS = (25, 40, 60, 80, 120, 160, 200, 255)
PENALTIES = (1e-4, 1e-3, 1e-2, 1e-1, 1.0)
HARD = 0.95
EPOCH = 50
SETTINGS = [
    "run.batch_size=8",
    "run.patch_size=null",  # whole slices: where things are is part of their class
    "run.precision=bf16",
    "averaging={kind: ema, decay: 0.98}",
    "run.validation_slices=48",
    # The way up is part of what a region or a plane looks like.
    "augmentation.rotations=false",
]
_RATES = "{match: rest, learning_rate: 3.0e-4}"
ARMS = {
    "joint": [
        "losses=[{kind: mse}, {kind: ce, weight: 0.001}]",
        f"groups=[{{match: head, learning_rate: 0.3}}, {_RATES}]",
        "stopping.metric=auc",
    ],
    "plain": ["losses=[{kind: mse}]", f"groups=[{_RATES}]"],
}


@dataclass(frozen=True)
class Task:
    """labels: file path or series uid → class. average: pixels averaged first."""

    name: str
    series: tuple[Series, ...]
    labels: dict[str, str]
    average: int
    steps: int


# ---------------------------------------------------------------- labelled sets


def cine(data: Path) -> Task:
    series = scan(data / "mr_cine_sunnybrook")
    labels = {}
    for one in series:
        for place, file in enumerate(sorted(one.files, key=lambda f: f.name)):
            labels[str(file)] = ("1 basal", "2 mid", "3 apical")[place * 3 // len(one.files)]
    return Task("cine", tuple(series), labels, 4, 500)


def region(data: Path) -> Task:
    series = [s for s in scan(data / "ct_chest_tcga") if s.modality == "CT"]
    labels = {s.uid: region_of(s.files[0]) for s in series}
    return Task("region", tuple(series), labels, 4, 400)


def orientation(data: Path) -> Task:
    series = [s for s in scan(data / "ct_chest_tcia") if s.modality == "CT"]
    return Task("orientation", tuple(series), {s.uid: s.files[0].parent.name for s in series}, 4, 400)


SETS: dict[str, Callable[[Path], Task]] = {"cine": cine, "region": region, "orientation": orientation}


# ---------------------------------------------------------------- the probe


def logistic(x: Array, y: npt.NDArray[np.int64], classes: int, penalty: float) -> Callable[[Array], Array]:
    """Multinomial logistic regression on standardised features, L2 on the weights; returns probabilities."""
    mean, sd = x.mean(axis=0), x.std(axis=0) + 1e-9
    z, target = torch.from_numpy((x - mean) / sd), torch.from_numpy(y)
    weight = torch.zeros(z.shape[1], classes, dtype=torch.float64, requires_grad=True)
    bias = torch.zeros(classes, dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=300, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = nn.functional.cross_entropy(z @ weight + bias, target) + penalty * (weight**2).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]
    w, b = weight.detach(), bias.detach()
    return lambda features: torch.softmax(torch.from_numpy((features - mean) / sd) @ w + b, dim=1).numpy()


def auc(positive: npt.NDArray[np.bool_], value: Array) -> float:
    """Area under the ROC curve: the share of pairs in order, ties count half."""
    from scipy.stats import rankdata

    n = int(positive.sum())
    ranks = rankdata(value)
    return float((ranks[positive].sum() - n * (n + 1) / 2) / (n * (positive.size - n)))


def macro_auc(y: npt.NDArray[np.int64], probabilities: Array) -> float:
    """Mean of each class against the rest; classes that are absent do not count."""
    present = [k for k in range(probabilities.shape[1]) if 0 < (y == k).sum() < y.size]
    return float(np.mean([auc(y == k, probabilities[:, k]) for k in present]))


def grouped(patients: Sequence[str], y: npt.NDArray[np.int64], count: int, seed: int) -> list[npt.NDArray[np.int64]]:
    """Positions of each fold: whole patients, dealt out so that folds are alike in size and classes."""
    names = np.random.default_rng(seed).permutation(sorted(set(patients)))
    who = np.asarray(patients)
    totals = np.zeros((count, int(y.max()) + 1))
    folds: list[list[str]] = [[] for _ in range(count)]
    tables = {name: np.bincount(y[who == name], minlength=totals.shape[1]) for name in names}
    for name in sorted(names, key=lambda n: -tables[n].sum()):
        costs = [
            ((totals + np.eye(count)[k][:, None] * tables[name]).std(axis=0).sum(), len(folds[k]), k)
            for k in range(count)
        ]
        chosen = min(costs)[2]
        folds[chosen].append(name)
        totals[chosen] += tables[name]
    return [np.flatnonzero(np.isin(who, fold)) for fold in folds]


@dataclass(frozen=True)
class Known:
    """The labelled slices of a prepared set: latents (draws, slices, features), patients, classes."""

    latent: Array
    y: npt.NDArray[np.int64]
    patients: tuple[str, ...]
    classes: int


def probe(known: Known, train: npt.NDArray[np.int64], test: npt.NDArray[np.int64]) -> Array:
    """Probabilities for the test slices; the penalty is the best of three inner folds of patients."""

    def fitted(members: npt.NDArray[np.int64], penalty: float) -> Callable[[Array], Array]:
        x = known.latent[:, members].reshape(-1, known.latent.shape[2])
        return logistic(x, np.tile(known.y[members], len(known.latent)), known.classes, penalty)

    inner = grouped([known.patients[i] for i in train], known.y[train], 3, 1)
    scores = []
    for penalty in PENALTIES:
        out = np.zeros((train.size, known.classes))
        for fold in inner:
            rest = np.setdiff1d(np.arange(train.size), fold)
            out[fold] = fitted(train[rest], penalty)(known.latent[0, train[fold]])
        scores.append(macro_auc(known.y[train], out))
    return fitted(train, PENALTIES[int(np.argmax(scores))])(known.latent[0, test])


def pooled(net: SliceNet, data: TrainingData, recipe: Recipe) -> Array:
    """The globally averaged deepest features of every slice, (slices, features)."""
    net.eval()
    latents = [run_case(net, case(data, recipe, member), CPU)[1].latent for member in range(len(data.items))]
    return torch.cat([latent.mean(dim=(2, 3)) for latent in latents]).numpy().astype(np.float64)


# ---------------------------------------------------------------- the comparison


def recipe_for(task: Task, sigma: float, overrides: Sequence[str] = ()) -> Recipe:
    noise = f"{{kind: gaussian, low: {sigma}, high: {sigma}}}"
    targets = f"targets={{kind: synthetic, corruptions: [{noise}], average: {task.average}}}"
    return recipes.load("discriminative").with_set([targets, *overrides])


def read(task: Task, recipe: Recipe, cache: Path) -> TrainingData:
    return drain(prepare(recipe, load_model(DEFAULT).card, 1, task.series, [], task.labels, (), cache))


def know(task: Task, recipe: Recipe, cache: Path) -> Known:
    data = read(task, recipe, cache)
    net = load_model(DEFAULT).net
    draws = [
        pooled(net, data, recipe.model_copy(update={"run": recipe.run.model_copy(update={"seed": seed})}))
        for seed in range(recipe.run.seed, recipe.run.seed + DRAWS)
    ]
    known = Known(
        np.stack(draws),
        np.asarray([item.label for item in data.items]),
        tuple(item.series.patient for item in data.items),
        len(data.classes),
    )
    data.close()
    return known


def out_of_fold(known: Known) -> Array:
    everything = np.arange(known.y.size)
    result = np.zeros((known.y.size, known.classes))
    for test in grouped(known.patients, known.y, FOLDS, DEALT):
        result[test] = probe(known, np.setdiff1d(everything, test), test)
    return result


@dataclass(frozen=True)
class Tested:
    """Of the test slices: class probabilities (None without a head) and PSNR."""

    probabilities: Array | None
    psnr: Array


def judge(net: SliceNet, data: TrainingData, recipe: Recipe, members: Sequence[int]) -> Tested:
    net.eval()
    chances, values = [], []
    for member in members:
        c = case(data, recipe, member)
        output, found = run_case(net, c, CPU)
        values.append(score(c, output)[0])
        if found.logits is not None:
            chances.append(torch.softmax(found.logits[0].double(), dim=0).numpy())
    return Tested(np.stack(chances) if chances else None, np.asarray(values))


def tune(task: Task, recipe: Recipe, parts: Split, run: Path) -> SliceNet:
    """The network that validated best."""
    folder = RunFolder(run)
    folder.open(False)
    data = read(task, recipe, folder.cache)
    data.split = parts
    result = finish(fit(recipe, load_model(DEFAULT), data, folder, CPU))
    return load_model(str(result.bundle)).net


# ---------------------------------------------------------------- five folds


def length(steps: int) -> list[str]:
    return [f"run.epochs={max(1, steps // EPOCH)}", f"run.steps_per_epoch={min(EPOCH, steps)}"]


def folds_of(
    task: Task, arm: str, sigma: float, known: Known, lines: Lines, overrides: Sequence[str]
) -> list[dict[str, Any]]:
    """The test slices of every fold, by a network that was fine-tuned with (joint) or without (plain) classes."""
    everything = np.arange(known.y.size)
    results = []
    for number, test in enumerate(grouped(known.patients, known.y, FOLDS, DEALT)):
        key = {"set": task.name, "sigma": sigma, "fold": number, "arm": arm, "with": [*overrides], "steps": task.steps}
        row = lines.find(**key)
        if row is None:
            began = time.monotonic()
            rest = np.setdiff1d(everything, test)
            chosen = grouped([known.patients[i] for i in rest], known.y[rest], 6, 2)[0]
            parts = Split(tuple(np.delete(rest, chosen).tolist()), tuple(rest[chosen].tolist()), (), "fixed")
            recipe = recipe_for(task, sigma, [*SETTINGS, *ARMS[arm], *length(task.steps), *overrides])
            with tempfile.TemporaryDirectory() as folder:
                net = tune(task, recipe, parts, Path(folder) / "run")
                data = read(task, recipe, Path(folder) / "read")
                tested = judge(net, data, recipe, test.tolist())
                before = judge(load_model(DEFAULT).net, data, recipe, test.tolist())
                data.close()
            row = lines.add(
                {
                    **key,
                    "probabilities": None if tested.probabilities is None else tested.probabilities.tolist(),
                    "psnr": tested.psnr.tolist(),
                    "pretrained": before.psnr.tolist(),
                    "seconds": round(time.monotonic() - began, 1),
                }
            )
            where = f"{task.name} σ {sigma:g} {arm}, fold {number + 1}"
            print(f"{where}: {tested.psnr.mean():.2f} dB, {row['seconds']} s", flush=True)
        results.append(row)
    return results


def compare(task: Task, lines: Lines, overrides: Sequence[str]) -> dict[str, Any]:
    sigma, known, probed = hard_enough(task)
    tests = grouped(known.patients, known.y, FOLDS, DEALT)
    arms = {arm: folds_of(task, arm, sigma, known, lines, overrides) for arm in ARMS}
    joint = np.zeros_like(probed)
    psnr = {name: np.zeros(known.y.size) for name in ("joint", "plain", "pretrained")}
    for number, test in enumerate(tests):
        joint[test] = arms["joint"][number]["probabilities"]
        for arm in ARMS:
            psnr[arm][test] = arms[arm][number]["psnr"]
        psnr["pretrained"][test] = arms["joint"][number]["pretrained"]
    areas = {"probe": macro_auc(known.y, probed), "joint": macro_auc(known.y, joint)}
    draws = resampled(known, probed, joint)
    return lines.add(
        {
            "set": task.name,
            "arm": "summary",
            "sigma": sigma,
            "slices": int(known.y.size),
            "patients": len(set(known.patients)),
            "classes": np.bincount(known.y).tolist(),
            "auc": areas,
            "gain": areas["joint"] - areas["probe"],
            "interval": [float(np.percentile(draws, q)) for q in (2.5, 97.5)],
            "by_fold": [[macro_auc(known.y[test], values[test]) for values in (probed, joint)] for test in tests],
            "psnr": {name: float(values.mean()) for name, values in psnr.items()},
            "cost": float((psnr["plain"] - psnr["joint"]).mean()),
            "cost_interval": interval((psnr["plain"] - psnr["joint"]).tolist(), known.patients),
            "steps": task.steps,
            "with": [*overrides],
        }
    )


def hard_enough(task: Task) -> tuple[float, Known, Array]:
    """The least noise at which the probe has macro-AUC of at most 0.95, and what the probe says there."""
    for sigma in SIGMAS:
        with tempfile.TemporaryDirectory() as folder:
            known = know(task, recipe_for(task, sigma), Path(folder))
        probed = out_of_fold(known)
        area = macro_auc(known.y, probed)
        print(f"{task.name} σ {sigma:g}: probe {area:.3f}", flush=True)
        if area <= HARD:
            return sigma, known, probed
    raise SystemExit(f"{task.name}: no noise is hard enough")


def resampled(known: Known, probed: Array, joint: Array, draws: int = 4000) -> Array:
    """The gain in macro-AUC when patients are drawn anew."""
    rng = np.random.default_rng(0)
    members = [np.flatnonzero(np.asarray(known.patients) == name) for name in sorted(set(known.patients))]
    gains = []
    while len(gains) < draws:
        chosen = np.concatenate([members[k] for k in rng.integers(len(members), size=len(members))])
        y = known.y[chosen]
        # Every class must be there, or the mean is over other classes.
        if len(set(y.tolist())) == known.classes:
            gains.append(macro_auc(y, joint[chosen]) - macro_auc(y, probed[chosen]))
    return np.asarray(gains)


COLUMNS = (
    "set|slices, patients|σ of 255|probe AUC|discriminative AUC|gain (95 %)|pretrained dB|without classes dB"
    "|with classes dB|cost dB (95 %)"
)


def table(lines: Lines) -> str:
    heads = COLUMNS.split("|")
    rows = [heads, ["---"] * len(heads)]
    latest = {row["set"]: row for row in lines.rows if row["arm"] == "summary"}
    for name, r in latest.items():
        low, high = r["interval"]
        clow, chigh = r["cost_interval"]
        rows.append(
            [
                name,
                f"{r['slices']}, {r['patients']}",
                f"{r['sigma']:g}",
                f"{r['auc']['probe']:.3f}",
                f"{r['auc']['joint']:.3f}",
                f"{r['gain']:+.3f} ({low:+.3f} … {high:+.3f})",
                f"{r['psnr']['pretrained']:.2f}",
                f"{r['psnr']['plain']:.2f}",
                f"{r['psnr']['joint']:.2f}",
                f"{r['cost']:+.2f} ({clow:+.2f} … {chigh:+.2f})",
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=["cine"], choices=[*SETS])
    parser.add_argument("--out", type=Path, help="JSON lines; a bench that was killed goes on from it")
    parser.add_argument("--steps", type=int, help="training steps of each fold")
    parser.add_argument("--set", nargs="*", default=[], help="recipe overrides, as for aegui train")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    lines = Lines(arguments.out)
    for name in arguments.only:
        task = SETS[name](arguments.data)
        steps = 20 if arguments.quick else arguments.steps or task.steps
        compare(replace(task, steps=steps), lines, arguments.set)
    print(table(lines))


if __name__ == "__main__":
    main()
