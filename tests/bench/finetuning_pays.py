"""What fine-tuning is worth against training the same network from scratch, by the number of training slices.

    python tests/bench/finetuning_pays.py --data FOLDER [--only ct] [--out report.jsonl] [--work FOLDER]

FOLDER holds the real scans (ct_chest_tcga, ct_chest_tcia, ct_abdomen_j2k, mr_cine_sunnybrook, ct_phantom_dose).
Training, validation and judging slices are of different patients (CT, MR) or of different repeats (phantom, whose
judging slices show inserts that the training slices have not). Noise is σ 25 of 255 without clipping; the phantom
is paired, 10 % to 100 % dose. Every arm validates on the same slices (central crops) with the same noise.

From scratch: the learning rate of the finder, three seeds for 600 steps, then the seed that validates best until
its validation PSNR has not risen for 20 % of its steps (at least 300, at most --limit). Fine-tuned: the shipped model,
all weights at 3e-4; beside it, the layer-wise preset. All: batches of 8 patches of 64 px, bf16, averaged weights,
gradients clipped at 1.
Results go line by line to --out; with --work a killed run goes on where it was.
"""

from __future__ import annotations

import argparse
import csv
import json
import tempfile
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from common import (
    CPU,
    TRAINED_TCIA,
    Lines,
    Slice,
    drain,
    interval,
    phantom_slices,
    scan,
    synthetic_slices,
    tuned_filters,
)

from aegui import recipes
from aegui.data.dataset import TrainingData, prepare
from aegui.data.pairs import Pair
from aegui.data.slices import Slices
from aegui.data.split import Split
from aegui.events import Epoch, Event, Stop, finish
from aegui.imaging import Series
from aegui.models import DEFAULT
from aegui.models.zoo import load_model
from aegui.recipes import Recipe
from aegui.training.find_rate import find_rate
from aegui.training.fit import fit
from aegui.training.runfolder import RunFolder

SEEDS = (0, 1, 2)
VALIDATION_SIDE = 256
SETTINGS = [
    "run.epochs=100000",
    "run.steps_per_epoch=20",
    "run.batch_size=8",
    "run.patch_size=64",
    "run.precision=bf16",
    "averaging={kind: ema, decay: 0.99}",
    "run.validation_slices=4",
]
SYNTHETIC = "targets={kind: synthetic, corruptions: [{kind: gaussian, low: 25, high: 25}]}"
# The recipes that fine-tune, as overrides of the layer-wise preset; the first is the one that is compared.
TUNED = {"fine-tuned": ["groups=[{match: rest, learning_rate: 3.0e-4}]"], "layer-wise": []}
Place = tuple[Series, int]


@dataclass(frozen=True)
class Budget:
    """Steps: of each seed, of the best seed, of fine-tuning; before the stopping rule counts."""

    screen: int = 600
    scratch: int = 3000
    tuned: int = 1000
    least: int = 300


@dataclass(frozen=True)
class Task:
    """One case. train: in the order in which 3, 10, 30 of them are taken."""

    name: str
    train: Sequence[Place]
    validation: Sequence[Place]
    judging: Callable[[], list[Slice]]
    tuning: Callable[[], list[Slice]]
    counts: tuple[int, ...]
    pair: Pair | None = None
    note: str = ""

    def recipe(self, *overrides: str) -> Recipe:
        targets = "targets={kind: paired}" if self.pair else SYNTHETIC
        return recipes.load("layerwise").with_set([targets, *SETTINGS, *overrides])

    def data(self, recipe: Recipe, count: int, cache: Path) -> TrainingData:
        """Exactly `count` training slices, and the validation slices cropped to their middle."""
        series = list({s.uid: s for s, _ in [*self.train, *self.validation]}.values())
        card = load_model(DEFAULT).card
        pairs = [self.pair] if self.pair else []
        data = drain(prepare(recipe, card, 1, series, pairs, {}, (), cache))
        position = {(item.series.uid, item.index): k for k, item in enumerate(data.items)}
        train = tuple(position[s.uid, i] for s, i in self.train[:count])
        validation = tuple(position[s.uid, i] for s, i in self.validation)
        data.split = Split(train, validation, (), "fixed")
        assert len(set(train)) == count
        noisy = _cropped(data.noisy, validation, cache / "noisy-cropped.bin")
        data.clean = (
            noisy if data.clean is data.noisy else _cropped(data.clean, validation, cache / "clean-cropped.bin")
        )
        data.noisy = noisy
        return data


def _cropped(slices: Slices, members: Sequence[int], file: Path) -> Slices:
    result = Slices(file)
    for k in range(len(slices)):
        x = np.asarray(slices[k])
        if k in members:
            height, width = x.shape[1:]
            top, left = max(0, height - VALIDATION_SIDE) // 2, max(0, width - VALIDATION_SIDE) // 2
            x = x[:, top : top + VALIDATION_SIDE, left : left + VALIDATION_SIDE]
        result.append(x)
    slices.close()
    return result


# ---------------------------------------------------------------- the arms


def range_test(task: Task, count: int) -> tuple[float, list[tuple[float, float, float]]]:
    """(the learning-rate finder's suggestion for the untrained network, its curve)."""
    recipe = task.recipe("groups=[{match: rest, learning_rate: 1.0}]")
    model = load_model(DEFAULT, "random", SEEDS[0])
    with tempfile.TemporaryDirectory() as folder:
        data = task.data(recipe, count, Path(folder) / "cache")
        found = finish(find_rate(recipe, model, data, CPU, "random", Path(folder) / "run"))
        data.close()
    if found.suggestion is None:
        raise SystemExit(f"{task.name}, {count} slices: {found.words}")
    return found.suggestion, list(found.points)


def train(
    task: Task, count: int, recipe: Recipe, run: Path, start: str, seed: int, limit: int, least: int
) -> dict[str, Any]:
    """Train until the rule or the limit says stop. The weights kept are those that validated best."""
    folder = RunFolder(run)
    going_on = folder.open(True)
    data = task.data(recipe, count, folder.cache)
    model = load_model(DEFAULT, start, seed)
    per_epoch = recipe.run.steps_per_epoch or 1
    generator = fit(recipe, model, data, folder, CPU, going_on, start)
    bundle, why, began = "", "", time.monotonic()
    event: Event | None = next(generator)
    while event is not None:
        if isinstance(event, Epoch) and not why:
            steps, best = event.epoch * per_epoch, event.best_epoch * per_epoch
            if steps >= least and steps - best >= 0.2 * steps:
                why = "no gain for 20 % of its steps"
            elif steps >= limit:
                why = f"limit of {limit} steps"
        elif result := getattr(event, "result", None):
            bundle = str(result.bundle)
        event = _next(generator, bool(why) and isinstance(event, Epoch))
    with folder.metrics.open(newline="", encoding="utf-8") as handle:
        curve = [(int(row["epoch"]) * per_epoch, float(row["psnr"])) for row in csv.DictReader(handle)]
    if start == "pretrained":
        first = json.loads(folder.summary.read_text())["baselines"]["pretrained"]["psnr"]
        curve = [(0, first), *curve]
    best_step, best_psnr = max(curve, key=lambda point: point[1])
    return {
        "bundle": bundle,
        "why": why,
        "steps": curve[-1][0],
        "best_step": best_step,
        "best_psnr": best_psnr,
        "seconds": round(time.monotonic() - began, 1),
        "curve": curve,
    }


def _next(generator: Generator[Event, None, None], stop: bool) -> Event | None:
    try:
        return generator.throw(Stop()) if stop else next(generator)
    except StopIteration:
        return None


# ---------------------------------------------------------------- a case


def compare(task: Task, count: int, work: Path, lines: Lines, budget: Budget) -> None:
    key = {"case": task.name, "count": count}
    finder = lines.find(**key, arm="finder")
    if finder is None:
        rate, curve = range_test(task, count)
        finder = lines.add({**key, "arm": "finder", "rate": rate, "curve": curve})
        print(f"{task.name} {count}: the finder suggests {rate:.2e}", flush=True)

    def scratch(seed: int, limit: int) -> dict[str, Any]:
        done = lines.find(**key, arm="scratch", seed=seed, limit=limit)
        if done is None:
            recipe = task.recipe(f"groups=[{{match: rest, learning_rate: {finder['rate']:.3e}}}]")
            run = work / f"{task.name}-{count}-scratch-{seed}"
            result = train(task, count, recipe, run, "random", seed, limit, budget.least)
            done = lines.add({**key, "arm": "scratch", "seed": seed, "limit": limit, **result})
            print(f"{task.name} {count} scratch {seed}: {_words(done)}", flush=True)
        return done

    tuned = {}
    for arm, overrides in TUNED.items():
        done = lines.find(**key, arm=arm, limit=budget.tuned)
        if done is None:
            run = work / f"{task.name}-{count}-{arm}"
            result = train(task, count, task.recipe(*overrides), run, "pretrained", 0, budget.tuned, budget.least)
            done = lines.add({**key, "arm": arm, "limit": budget.tuned, **result})
            print(f"{task.name} {count} {arm}: {_words(done)}", flush=True)
        tuned[arm] = done
    screened = [scratch(seed, budget.screen) for seed in SEEDS]
    best = max(screened, key=lambda row: row["best_psnr"])
    if best["steps"] >= budget.screen and budget.scratch > budget.screen:
        best = scratch(best["seed"], budget.scratch)
    _judge(task, count, lines, best, tuned)


def _words(row: dict[str, Any]) -> str:
    return f"{row['best_psnr']:.3f} dB at step {row['best_step']} of {row['steps']} ({row['why']}), {row['seconds']} s"


def _judge(task: Task, count: int, lines: Lines, scratch: dict[str, Any], tuned: dict[str, dict[str, Any]]) -> None:
    key = {
        "case": task.name,
        "count": count,
        "arm": "judged",
        "limits": [scratch["limit"], tuned["fine-tuned"]["limit"]],
    }
    if lines.find(**key):
        return
    slices = task.judging()
    base = lines.find(case=task.name, arm="base")
    if base is None:
        rows = {"input": [s.psnr(s.noisy) for s in slices], "shipped": [s.psnr(s.denoise(DEFAULT)) for s in slices]}
        rows |= {f.name: [s.psnr(f(s.noisy)) for s in slices] for f in tuned_filters(task.tuning())}
        base = lines.add(
            {"case": task.name, "arm": "base", "psnr": rows, "patients": [s.patient for s in slices], "note": task.note}
        )
    arms = {"scratch": scratch, **tuned}
    rows = {arm: [s.psnr(s.denoise(row["bundle"])) for s in slices] for arm, row in arms.items()}
    main = np.asarray(rows["fine-tuned"])
    gap, over = main - np.asarray(rows["scratch"]), main - np.asarray(base["psnr"]["shipped"])
    reached = {
        arm: next((step for step, psnr in row["curve"] if psnr >= scratch["best_psnr"]), None)
        for arm, row in tuned.items()
    }
    lines.add(
        {
            **key,
            "psnr": rows,
            "gap": float(gap.mean()),
            "interval": interval(gap.tolist(), base["patients"]),
            "over_shipped": float(over.mean()),
            "over_shipped_interval": interval(over.tolist(), base["patients"]),
            "validation": {arm: row["best_psnr"] for arm, row in arms.items()},
            "scratch_step": scratch["best_step"],
            "scratch_why": scratch["why"],
            "scratch_rate": lines.find(case=task.name, count=count, arm="finder")["rate"],  # type: ignore[index]
            "reached": reached,
        }
    )


# ---------------------------------------------------------------- the cases


def ct(data: Path) -> Task:
    found = [s for s in scan(data / "ct_chest_tcga" / "set_aside", data / "ct_chest_tcia") if s.modality == "CT"]
    aside = [s for s in found if not any(p in str(s.files[0]) for p in TRAINED_TCIA)]
    (abdomen,) = [s for s in scan(data / "ct_abdomen_j2k") if s.modality == "CT"]

    def of(*names: str) -> list[Series]:
        return [s for s in aside if any(name in str(s.files[0]) for name in names)]

    # Interleaved, so that few slices are not of one patient; the contiguous abdomen comes spread out.
    others = [s for one in zip(of("A058062")[:4], of("Z034", "Z062"), strict=True) for s in one]
    spread = [(abdomen, i) for i in (10, 3, 17, *(k for k in range(20) if k not in (10, 3, 17)))]
    order: list[Place] = [(others[0], 0), spread[0], (others[1], 0), spread[1], *((s, 0) for s in others[2:])]
    order += [*((s, 0) for s in of("A058062")[4:]), *spread[2:]]
    validation = of("8063", "8065")
    used = {s.uid for s, _ in order} | {s.uid for s in validation}
    judging = [s for s in aside if s.uid not in used]
    assert len(order) == 30
    return Task(
        "ct",
        order,
        [(s, 0) for s in validation],
        lambda: synthetic_slices(judging)[0],
        lambda: synthetic_slices([abdomen, *others])[0],
        (3, 10, 30),
        note="training: 4 patients; validation: 2 others, 4 slices; judging: the other 6, all σ 25, range 400 HU",
    )


def mr(data: Path) -> Task:
    found = {s.files[0].name[:10]: s for s in scan(data / "mr_cine_sunnybrook" / "set_aside")}
    a, b = (next(s for name, s in found.items() if name.startswith(p)) for p in ("SC-HF-I-06", "SC-HF-NI-0"))
    v = next(s for name, s in found.items() if name.startswith("SC-HYP-07"))
    judging = [s for s in found.values() if s.uid not in {a.uid, b.uid, v.uid}]
    # Far apart first: cine frames of one position are nearly alike.
    order: list[Place] = []
    for spread in ((10, 0, 19, 5, 15), (3, 8, 13, 17, 11), (1, 6, 12, 16, 18)):
        order += [place for i in spread for place in ((a, i), (b, i))]
    return Task(
        "mr",
        order,
        [(v, i) for i in (1, 5, 9, 13)],
        lambda: synthetic_slices(judging)[0][::2],
        lambda: synthetic_slices([a, b])[0],
        (3, 10, 30),
        note="cardiac cine, training: 2 patients; validation: another, 4 slices; judging: 3 others, σ 25, range 255",
    )


def phantom(data: Path) -> Task:
    found = phantom_slices(data)
    pair = Pair(found.low, found.high, tuple((i, i) for i in range(10)), "order", True, "same phantom")
    return Task(
        "phantom",
        [(found.low, i) for i in (0, 4, 7, 1, 2, 3, 5, 6)],
        [(found.low, 8), (found.low, 9)],
        lambda: found.judging,
        lambda: found.train,
        (3, 8),
        pair,
        f"8 repeats to train on, 2 to validate, 5 with inserts to judge; own variance {found.own:.1f} HU²",
    )


CASES = {"ct": ct, "mr": mr, "phantom": phantom}


# ---------------------------------------------------------------- the table


COLUMNS = (
    "case, training slices|input|classical, best|shipped|from scratch|fine-tuned|fine-tuned − scratch (95 %)"
    "|fine-tuned − shipped (95 %)|scratch: rate|scratch: best validation|steps to it|fine-tuned: steps to that|ratio"
    "|layer-wise|layer-wise: steps to that|scratch ended by"
)


def table(lines: Lines) -> str:
    """Mean PSNR in dB over the judging slices, and the steps; Markdown."""
    heads = COLUMNS.split("|")
    rows = [heads, ["---"] * len(heads)]
    judged = {(r["case"], r["count"]): r for r in lines.rows if r["arm"] == "judged"}
    for (case, count), r in sorted(judged.items()):
        base = lines.find(case=case, arm="base")
        assert base is not None
        means = {name: float(np.mean(v)) for name, v in base["psnr"].items()}
        classical = max((n for n in means if n not in ("input", "shipped")), key=lambda n: means[n])
        mean = {arm: float(np.mean(v)) for arm, v in r["psnr"].items()}
        step, reached = r["scratch_step"], r["reached"]["fine-tuned"]
        rows.append(
            [
                f"{case}, {count}",
                f"{means['input']:.2f}",
                f"{means[classical]:.2f} ({classical})",
                f"{means['shipped']:.2f}",
                f"{mean['scratch']:.2f}",
                f"{mean['fine-tuned']:.2f}",
                _ranged(r["gap"], r["interval"]),
                _ranged(r["over_shipped"], r["over_shipped_interval"]),
                f"{r['scratch_rate']:.1e}",
                f"{r['validation']['scratch']:.2f}",
                str(step),
                _steps(reached),
                "–" if reached is None else f"{reached / step:.3f}",
                f"{mean['layer-wise']:.2f}",
                _steps(r["reached"]["layer-wise"]),
                r["scratch_why"],
            ]
        )
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _ranged(value: float, bounds: Sequence[float]) -> str:
    return f"{value:+.2f} ({bounds[0]:+.2f} … {bounds[1]:+.2f})"


def _steps(count: int | None) -> str:
    return "not reached" if count is None else str(count)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", default=[], help="ct, mr, phantom; or ct:10 for one count")
    parser.add_argument("--out", type=Path, help="JSON lines; a bench that was killed goes on from it")
    parser.add_argument("--work", type=Path, help="run folders that are kept")
    parser.add_argument("--limit", type=int, default=Budget.scratch, help="most steps of the best seed from scratch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="a few steps, to see that it runs")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    budget = Budget(20, 40, 40, 20) if arguments.quick else replace(Budget(), scratch=arguments.limit)
    lines = Lines(arguments.out)
    # Ten slices first: the count that the 1 dB is asked of.
    wanted = arguments.only or [f"{c}:{n}" for n in (10, 8, 3, 30) for c in CASES]
    with tempfile.TemporaryDirectory() as temporary:
        tasks: dict[str, Task] = {}
        for one in wanted:
            name, _, count = one.partition(":")
            task = tasks.setdefault(name, CASES[name](arguments.data)) if name not in tasks else tasks[name]
            for n in [int(count)] if count else task.counts:
                if n in task.counts:
                    compare(task, n, arguments.work or Path(temporary), lines, budget)
    print(table(lines))


if __name__ == "__main__":
    main()
