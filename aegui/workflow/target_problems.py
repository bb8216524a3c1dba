"""What of a recipe's targets does not go together with the scans."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

from aegui.data.pairs import groups
from aegui.data.targets import not_beside
from aegui.data.targets.distillation import sees_beside
from aegui.data.targets.neighbours import UNKNOWN, apart, distances_known, neighbours
from aegui.data.targets.repeats import clean_unused
from aegui.imaging import Series, beside
from aegui.models import cards
from aegui.models.library import is_file
from aegui.recipes.targets import Distillation, NeighbouringSlices, Noise2Noise
from aegui.workflow.finding import Findings
from aegui.workflow.loss_problems import card_of

if TYPE_CHECKING:
    from aegui.workflow.adapt import TrainJob

OVERLAP = 0.95  # slices nearer than this share of their thickness share anatomy and noise


def target_problems(job: TrainJob) -> Findings:
    """Everything about what is learnt from. Reads no pixels, loads no network."""
    usable = [series for series in job.noisy if series.uid not in job.holdout]
    for look in (_repeats, _slices, _teacher, _selection, _beside):
        yield from look(job, usable)


def _repeats(job: TrainJob, usable: Sequence[Series]) -> Findings:
    if not isinstance(job.recipe.targets, Noise2Noise):
        return
    if clean := sum(pair.kind == "clean" for pair in job.pairs):
        yield clean_unused(clean), "", ("targets",), False
    held = set(job.holdout)
    repeats = [pair for pair in job.pairs if pair.kind == "repeat"]
    places = [[uid for uid, _ in place if uid not in held] for place in groups(repeats)]
    most = max((len(place) for place in places), default=0)
    if places and (most < 2 or (most < 4 and sum(len(place) > 1 for place in places) < 2)):
        yield (
            "Too few repeats are left to learn from: two of at least two slices are needed, or four of one.",
            "Hold out fewer series, or confirm more repeats.",
            ("targets",),
            True,
        )


def _slices(job: TrainJob, usable: Sequence[Series]) -> Findings:
    targets = job.recipe.targets
    if not isinstance(targets, NeighbouringSlices) or not usable:
        return
    several = [series for series in usable if series.slices > 1]
    where = ("targets", targets.kind, "distance")
    if not several:
        yield "Every series is a single slice: there is no neighbour to learn from.", "", ("targets",), True
        return
    with_neighbour = sum(bool(neighbours(s, i, targets.distance)) for s in several for i in range(s.slices))
    total = sum(series.slices for series in usable)
    nearest = min(apart(series.geometry, i, i + 1) for series in several for i in range(series.slices - 1))
    if not with_neighbour:
        yield (
            f"No slices are within {targets.distance:g} mm: the nearest are {nearest:.3g} mm apart.",
            f"At {nearest:.3g} mm they show other anatomy; choose another target, or allow that distance.",
            where,
            True,
        )
    elif with_neighbour < total:
        yield (
            f"{total - with_neighbour} of {total} slices have no neighbour within {targets.distance:g} mm.",
            "They are left out.",
            where,
            False,
        )
    if not all(distances_known(series) for series in several):
        yield UNKNOWN, "", ("targets",), False
    if any(_overlap(series) for series in several):
        yield (
            "Some slices overlap: neighbours share noise, which is then learnt as if it were anatomy.",
            "Use series whose spacing is at least the slice thickness.",
            ("targets",),
            False,
        )


def _overlap(series: Series) -> bool:
    thickness = series.acquisition.get("thickness")
    if not isinstance(thickness, int | float) or not series.geometry.positions:
        return False
    steps = [apart(series.geometry, i, j) for i, j in pairwise(range(series.slices))]
    return bool(steps) and 0 < min(steps) < OVERLAP * thickness


def _teacher(job: TrainJob, usable: Sequence[Series]) -> Findings:
    targets = job.recipe.targets
    if not isinstance(targets, Distillation):
        return
    where = ("targets", targets.kind, "teacher")
    teacher = card_of(targets.teacher)
    if teacher is not None and teacher.neighbours:
        yield *sees_beside(targets.teacher), where, True
        return
    if targets.teacher == job.model:
        yield "The teacher is the model itself: there is nothing to learn.", "Choose a larger model.", where, False
        return
    if is_file(targets.teacher):
        if not Path(targets.teacher).is_file():
            yield f"The teacher {targets.teacher} is not there.", "Choose another model file.", where, True
        return
    card = next((card for card in cards() if card.id == targets.teacher), None)
    if card is None:
        names = ", ".join(card.id for card in cards())
        yield f"There is no model “{targets.teacher}”.", f"Try one of {names}, or a model file.", where, True
        return
    if card.weights is None:
        yield f"The teacher “{card.id}” has no trained weights.", "Choose a trained model.", where, True
    for modality in sorted({series.modality for series in usable}):
        if not card.fits(modality):
            yield f"{modality} scans; the teacher is for {', '.join(card.modalities)}.", "", where, False


def _beside(job: TrainJob, usable: Sequence[Series]) -> Findings:
    card = card_of(job.model)
    if card is None or not card.neighbours:
        return
    if words := not_beside(card, job.recipe.targets):
        yield *words, ("targets",), True
        return
    alone = sum(all(set(beside(series, i, 1)) == {i} for i in range(series.slices)) for series in usable)
    if alone:
        yield (
            f"{card.title} looks at the slices beside the one it denoises, but in {alone} of {len(usable)} series none "
            "lie beside each other as far as their positions tell.",
            "Of these it sees each slice alone.",
            (),
            False,
        )


def _selection(job: TrainJob, usable: Sequence[Series]) -> Findings:
    if job.recipe.targets.noisy and job.recipe.stopping.metric == "ssim":
        yield (
            "Without clean targets, SSIM is measured against noise: it says little of which epoch is best.",
            "Try Auto.",
            ("stopping", "metric"),
            False,
        )
