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
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from common import (
    TRAINED_TCIA,
    Pixels,
    Slice,
    interval,
    part,
    phantom_slices,
    scan,
    synthetic_slices,
    tuned_filters,
)

from aegui import recipes, workflow
from aegui.data.pairs import Pair
from aegui.events import Epoch
from aegui.imaging import Series
from aegui.models import DEFAULT
from aegui.recipes import Recipe


def judge(name: str, train: list[Slice], judging: list[Slice], tuned_model: str, note: str) -> dict[str, object]:
    filters = tuned_filters(train)
    rows: dict[str, list[float]] = {"input": [s.psnr(s.noisy) for s in judging]}
    for tuned in filters:
        rows[tuned.name] = [s.psnr(tuned(s.noisy)) for s in judging]
    for label, model in (("shipped", DEFAULT), ("fine-tuned", tuned_model)):
        rows[label] = [s.psnr(s.denoise(model)) for s in judging]
    means = {label: float(np.mean(values)) for label, values in rows.items()}
    gain = np.asarray(rows["fine-tuned"]) - np.asarray(rows["shipped"])
    classical = max(means[tuned.name] for tuned in filters)
    result = {
        "case": name,
        "note": note,
        "slices": len(judging),
        "psnr": means,
        "over_classical": means["fine-tuned"] - classical,
        "over_shipped": float(gain.mean()),
        "interval": list(interval(gain.tolist())),
    }
    print(json.dumps(result), flush=True)
    return result


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
    found = phantom_slices(data)
    pair = Pair(found.low, found.high, tuple((i, i) for i in range(8)), "order", True, "same phantom")
    recipe = recipes.load("layerwise").with_set(["targets={kind: paired}", *overrides])
    model = fine_tune(recipe, run, [found.low], [pair])
    note = f"10 % → 100 %; reference noise variance {found.own:.2f} HU²"
    result = judge("ct_phantom_dose", found.train, found.judging, model, note)
    denoised = [s.denoise(model) for s in found.judging]
    result["contrast"] = contrasts(found.truth, found.mean, denoised, [s.noisy for s in found.judging])
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
        aside = [s for s in found if not any(p in str(s.files[0]) for p in TRAINED_TCIA)]
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
