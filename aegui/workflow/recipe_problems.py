"""What in a recipe does not fit the scans, the model or this machine."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aegui.data.targets import too_small
from aegui.imaging import Series
from aegui.models import cards
from aegui.recipes.optimisers import LBFGS, SWA, FullWeights, LoRA
from aegui.recipes.targets import Neighbor2Neighbor, SyntheticTargets
from aegui.workflow.finding import Findings
from aegui.workflow.loss_problems import card_of

if TYPE_CHECKING:
    from aegui.workflow.adapt import TrainJob

FEW = 10  # slices with which all weights learn them by heart
LBFGS_SLICES = 50


def recipe_problems(job: TrainJob, slices: int) -> Findings:
    """Everything. slices: of the job that are not held out."""
    for look in _LOOKS:
        yield from look(job, slices)


def _training(job: TrainJob, slices: int) -> int:
    """About how many slices train."""
    run = job.recipe.run
    return max(1, round(slices * (1 - run.validation_fraction - run.holdout_fraction)))


def _shares(job: TrainJob, slices: int) -> Findings:
    run = job.recipe.run
    if run.validation_fraction + run.holdout_fraction >= 1:
        yield (
            "Validation and hold-out together leave nothing to train on.",
            "Try 0.2 and 0.2.",
            ("run", "holdout_fraction"),
            True,
        )


def _sizes(job: TrainJob, slices: int) -> Findings:
    run = job.recipe.run
    usable = [s for s in job.noisy if s.uid not in job.holdout]
    smallest = min((min(s.rows, s.columns) for s in usable), default=None)
    if run.patch_size and smallest and run.patch_size > smallest:
        yield (
            f"Patches of {run.patch_size} px are larger than the smallest slice; they are cut down to it.",
            f"Try {max(16, smallest)}.",
            ("run", "patch_size"),
            False,
        )
    yield from _too_small(job, usable)
    training = _training(job, slices)
    at_once = (run.batch_size or 1) * run.accumulate
    if slices and at_once > training:
        times = "" if run.accumulate == 1 else f" × {run.accumulate}"
        yield (
            f"A batch of {run.batch_size or 1}{times} patches is more than the {training} training slices: "
            "a step sees some of them twice.",
            f"Try {max(1, training // run.accumulate)}.",
            ("run", "batch_size"),
            False,
        )


def _too_small(job: TrainJob, usable: Sequence[Series]) -> Findings:
    recipe, card = job.recipe, card_of(job.model)
    if card is None or not usable:
        return
    average = recipe.targets.average if isinstance(recipe.targets, SyntheticTargets) else 1
    sides = (min(s.rows for s in usable) // average, min(s.columns for s in usable) // average)
    rows, columns = (min(side, recipe.run.patch_size or side) for side in sides)
    if words := too_small(card, card.multiple, recipe.targets, rows, columns):
        yield *words, ("run", "patch_size"), True


def _few(job: TrainJob, slices: int) -> Findings:
    recipe = job.recipe
    full = isinstance(recipe.adaptation, FullWeights) and not any(group.l2_sp for group in recipe.groups)
    if slices and _training(job, slices) <= FEW and full and _pretrained(job):
        yield (
            f"About {_training(job, slices)} training slices, and all weights may change: "
            "they may be learned by heart.",
            "Try the recipe “Few scans”.",
            ("adaptation",),
            False,
        )


def _pretrained(job: TrainJob) -> bool:
    card = next((card for card in cards() if card.id == job.model), None)
    return job.init == "pretrained" and (card is None or card.weights is not None)


def _start(job: TrainJob, slices: int) -> Findings:
    if _pretrained(job):
        return
    if isinstance(job.recipe.adaptation, LoRA):
        yield (
            "Adapters are small additions to a trained model; this one starts from random weights.",
            "Start from pretrained weights, or let all weights change.",
            ("adaptation",),
            True,
        )
    for index, group in enumerate(job.recipe.groups):
        if group.l2_sp:
            yield (
                "The pull to the start would hold random weights where they are.",
                "Try 0, or start from pretrained weights.",
                ("groups", index, "l2_sp"),
                True,
            )
        if not group.train:
            yield (
                f"“{group.match}” would stay random: it is not trained.",
                "Train it, or start from pretrained weights.",
                ("groups", index, "train"),
                False,
            )


def _length(job: TrainJob, slices: int) -> Findings:
    from aegui.training.length import length_of

    recipe, run = job.recipe, job.recipe.run
    if run.minutes is not None:
        return
    epochs = length_of(recipe, _training(job, slices)).epochs
    if isinstance(recipe.averaging, SWA) and epochs == 1:
        yield (
            "A plain average needs several epochs; with one it is the model itself.",
            "Try at least 4 epochs, or the moving average.",
            ("averaging",),
            False,
        )
    if recipe.schedule.warmup >= epochs:
        yield (
            "The warm-up lasts as long as the run: the learning rate never reaches its peak.",
            f"Try {epochs / 10:g}.",
            ("schedule", recipe.schedule.kind, "warmup"),
            False,
        )
    for index, group in enumerate(recipe.groups):
        if group.train and group.unfreeze_epoch > epochs:
            yield (
                f"“{group.match}” stays frozen: it would be trained after the last epoch.",
                f"Try {max(1, epochs // 2)}.",
                ("groups", index, "unfreeze_epoch"),
                False,
            )
    for index, term in enumerate(recipe.losses):
        if term.starts >= epochs:
            yield (
                "This term begins to count after the last epoch.",
                f"Try {epochs // 2}.",
                ("losses", index, term.kind, "starts"),
                False,
            )


def _mixup(job: TrainJob, slices: int) -> Findings:
    recipe = job.recipe
    if not recipe.regularisation.mixup:
        return
    where = ("regularisation", "mixup")
    if isinstance(recipe.targets, Neighbor2Neighbor):
        yield "Mixup blends the pixels that neighbouring-pixel targets take apart.", "Try 0.", where, True
    elif recipe.run.batch_size == 1:
        yield "Mixup blends patches of a batch; a batch of 1 has nothing to blend.", "Try a batch of 4.", where, False


def _optimiser(job: TrainJob, slices: int) -> Findings:
    if isinstance(job.recipe.optimiser, LBFGS) and slices > LBFGS_SLICES:
        yield (
            f"L-BFGS is for tiny sets; these are {slices} slices.",
            "Try Adam.",
            ("optimiser",),
            False,
        )


def _machine(job: TrainJob, slices: int) -> Findings:
    if job.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            yield "There is no CUDA graphics card here.", "Choose the device “auto” or “cpu”.", (), True
    elif job.recipe.run.precision == "bf16" and _slow_bf16():
        yield (
            "This processor has no bf16 arithmetic: mixed precision is slower here, not faster.",
            "Try fp32.",
            ("run", "precision"),
            False,
        )


def _slow_bf16() -> bool:
    """Whether it is known that the processor emulates bf16, and no graphics card takes its place."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return False
    try:
        flags = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="ignore")
    except OSError:
        return False
    return not any(name in flags for name in ("avx512_bf16", "amx_bf16", " bf16"))


_LOOKS = (_shares, _sizes, _few, _start, _length, _mixup, _optimiser, _machine)
