"""Which loss terms do not go together with the scans, the model, or what is installed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from aegui import models
from aegui.errors import UserError
from aegui.imaging import Series
from aegui.models import cards
from aegui.models.card import Card
from aegui.models.library import is_file
from aegui.recipes import Recipe
from aegui.recipes.losses import (
    SSIM,
    BinaryCrossEntropy,
    Contrastive,
    ImageLoss,
    KullbackLeibler,
    LossTerm,
    MultiScaleSSIM,
    Perceptual,
)
from aegui.recipes.recipe import title
from aegui.recipes.targets import Neighbor2Neighbor, SyntheticTargets
from aegui.training.backbones import LPIPS_SMALLEST, available, missing
from aegui.workflow.finding import Findings

if TYPE_CHECKING:
    from aegui.workflow.adapt import TrainJob

_UNKNOWN = ("OT", "")  # modality of scans that do not tell theirs
_SSIM_SMALLEST = 11  # px


def loss_problems(job: TrainJob) -> Findings:
    """(message, hint, address of the field, blocking) of the terms that count. Reads no pixels, loads no network."""
    usable = [series for series in job.noisy if series.uid not in job.holdout]
    for index, term in enumerate(job.recipe.losses):
        if not term.weight:
            continue
        for message, hint, field, blocking in (
            *_window(term, usable),
            *_model(term, job),
            *_size(term, job.recipe, usable),
            *_target(term, job.recipe),
        ):
            yield f"“{title(term)}” {message}", hint, ("losses", index, term.kind, field), blocking


# What comes after the term's title, hint, field of the term, whether it is blocking
_Found = Iterator[tuple[str, str, str, bool]]


def _window(term: LossTerm, usable: Sequence[Series]) -> _Found:
    if not isinstance(term, ImageLoss) or term.window == "full":
        return
    others = sorted({series.modality for series in usable if series.modality != "CT" and series.unit != "HU"})
    if known := [modality for modality in others if modality not in _UNKNOWN]:
        yield (
            f"looks at the {term.window} window of CT, but there are {' and '.join(known)} scans.",
            "Compare all values, or leave these scans out.",
            "window",
            True,
        )
    elif others:
        yield (
            f"looks at the {term.window} window of CT; whether the values of these scans are HU is not known.",
            "Compare all values if they are not.",
            "window",
            False,
        )


def card_of(ref: str) -> Card | None:
    """The card of a model, of a checkpoint as it is guessed; None where it cannot be told."""
    found = models.card_of(ref)
    if found is not None or not is_file(ref):
        return found
    try:
        return _guessed(ref, Path(ref).stat().st_mtime_ns)
    except OSError:
        return None


@lru_cache(maxsize=16)
def _guessed(ref: str, _changed: int) -> Card | None:
    from aegui.models.zoo import load_model

    try:
        return load_model(ref).card
    except UserError:
        return None  # whoever loads the model says what is wrong with it


def _model(term: LossTerm, job: TrainJob) -> _Found:
    if not isinstance(term, KullbackLeibler | BinaryCrossEntropy | Perceptual):
        return
    if isinstance(term, Perceptual) and term.features != "own":
        if words := available(term):
            yield f"cannot be computed: {words}", f"Missing: {', '.join(missing(term))}.", "features", True
        return
    card = card_of(job.model)
    if card is None:
        return
    if isinstance(term, KullbackLeibler) and not card.variational:
        fitting = ", ".join(each.title for each in cards() if each.variational)
        yield f"needs a variational model; {card.title} is none.", f"Choose {fitting}, or remove it.", "weight", True
    if isinstance(term, BinaryCrossEntropy) and term.window == "full" and not card.bounded:
        yield (
            f"needs a model whose output is 0 to 1; that of {card.title} is not.",
            "Use a mean squared or absolute error, or a window of CT, in which values are 0 to 1.",
            "weight",
            True,
        )
    if isinstance(term, Perceptual) and (card.weights is None or job.init == "random"):
        yield (
            "compares features of the model as it starts, and it starts untrained.",
            "Such features say little; start from pretrained weights, or use another term.",
            "features",
            False,
        )


def _size(term: LossTerm, recipe: Recipe, usable: Sequence[Series]) -> _Found:
    needed = 0
    if isinstance(term, MultiScaleSSIM):
        needed = term.smallest
    elif isinstance(term, SSIM):
        needed = _SSIM_SMALLEST
    elif isinstance(term, Perceptual) and term.features == "lpips":
        needed = LPIPS_SMALLEST
    sides = [side for series in usable for side in (series.rows, series.columns)]
    if not needed or not sides:
        return
    side = min(sides)
    if isinstance(recipe.targets, SyntheticTargets):
        side //= recipe.targets.average
    side = min(side, recipe.run.patch_size or side)
    if isinstance(recipe.targets, Neighbor2Neighbor):
        side //= 2
    if side < needed:
        scales = isinstance(term, MultiScaleSSIM)
        yield (
            f"needs {needed} × {needed} px; the smallest patch has {side}.",
            "Use fewer scales, or leave small scans out." if scales else "Use another term, or leave small scans out.",
            "scales" if scales else "weight",
            True,
        )


def _target(term: LossTerm, recipe: Recipe) -> _Found:
    if term.exact and recipe.targets.noisy and not recipe.targets.blind:
        yield (
            "compares with a target that has noise of its own, and learns to keep some of it.",
            "Mean squared error is safe here.",
            "weight",
            False,
        )
    if isinstance(term, Contrastive) and recipe.run.batch_size == 1:
        yield "compares the slices of a batch, and a batch has one.", "Use larger batches.", "weight", True
