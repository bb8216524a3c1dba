"""What is wrong with a training job, or worth knowing, before it starts: everything at once, without reading pixels."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aegui import paths
from aegui.data.labels import label_of
from aegui.data.pairs import TARGETS, match_pairs
from aegui.imaging import Series
from aegui.models import card_of
from aegui.recipes.targets import Noise2Noise
from aegui.workflow.loss_problems import loss_problems
from aegui.workflow.noise_problems import noise_problems
from aegui.workflow.optimiser_problems import optimiser_problems
from aegui.workflow.recipe_problems import recipe_problems
from aegui.workflow.target_problems import target_problems

if TYPE_CHECKING:
    from aegui.workflow.adapt import TrainJob

CACHE_SPARE = 1.2  # of the space the slices take


@dataclass(frozen=True)
class Problem:
    """Something to fix (blocking) or to know before the start. where: address in the recipe, () for the data."""

    message: str
    hint: str = ""
    where: tuple[str | int, ...] = ()
    blocking: bool = True


def check(job: TrainJob) -> list[Problem]:
    """Every problem of a job, each with the address of its field."""
    usable = [s for s in job.noisy if s.uid not in job.holdout]
    found = [problem for look in _LOOKS for problem in look(job, usable)]
    slices = sum(s.slices for s in usable)
    for findings in (
        recipe_problems(job, slices),
        loss_problems(job),
        target_problems(job),
        noise_problems(job),
        optimiser_problems(job),
    ):
        found += [Problem(*finding) for finding in findings]
    return found


def _scans(job: TrainJob, usable: Sequence[Series]) -> Iterator[Problem]:
    if not usable:
        yield Problem("There are no scans to train on.", "Mark at least one series as noisy input.")
        return
    if sum(s.slices for s in usable) < 2:
        yield Problem("Training needs at least two slices.", "Add slices.")
    if len({s.patient for s in usable}) < 3:
        yield Problem(
            "Fewer than three patients: the scores will be optimistic.",
            "Validation slices come from the same patients as training slices.",
            blocking=False,
        )
    if not job.holdout and not job.recipe.run.holdout_fraction:
        yield Problem(
            "No series is held out for Review.",
            "Mark one as hold-out, or hold out a share of the scans.",
            blocking=False,
        )


def _start(job: TrainJob, _usable: Sequence[Series]) -> Iterator[Problem]:
    card = card_of(job.model) if job.init == "pretrained" else None
    if card is None or card.weights is not None:
        return
    made = paths.resource("recipes") / f"pretrain-{card.id}.yaml"
    hint = f"The recipe pretrain-{card.id} is made for that." if made.exists() else "That takes many more epochs."
    yield Problem(f"“{card.title}” has no trained weights: it starts from random ones.", hint, blocking=False)


def _pairs(job: TrainJob, usable: Sequence[Series]) -> Iterator[Problem]:
    if not job.recipe.targets.pairs or not usable:
        return
    pairs = job.pairs or tuple(match_pairs(usable, job.clean))
    if isinstance(job.recipe.targets, Noise2Noise):
        if not any(pair.kind == "repeat" for pair in pairs):
            yield Problem(
                "No series repeats another one.",
                "Open two scans of the same thing, and confirm them as repeats.",
                ("targets",),
            )
    elif not pairs:
        yield Problem("No noisy series has a matching clean series.", "Add clean scans, or add noise.", ("targets",))
    if not job.pairs and not all(pair.sure for pair in pairs):
        guess = next(pair for pair in pairs if not pair.sure)
        yield Problem(f"Pairs are matched by {guess.method} only: {guess.why}.", "Confirm them.", ("targets",))
    for kind in dict.fromkeys(pair.kind for pair in pairs):
        if kind in TARGETS:
            yield Problem(TARGETS[kind], where=("targets",), blocking=False)


def _labels(job: TrainJob, usable: Sequence[Series]) -> Iterator[Problem]:
    if not job.recipe.needs_labels:
        return
    classes = {label_of(s, i, job.labels) for s in usable for i in range(len(s.files))} - {None}
    if len(classes) < 2:
        index = next(i for i, term in enumerate(job.recipe.losses) if term.name in ("ce", "supcon"))
        yield Problem(
            "This recipe needs at least two classes.",
            "Put each class in a folder of its own, or load a label file.",
            ("losses", index),
        )


def _model(job: TrainJob, usable: Sequence[Series]) -> Iterator[Problem]:
    card = card_of(job.model)
    for modality in sorted({s.modality for s in usable}):
        if card is not None and not card.fits(modality):
            yield Problem(f"{modality} scans; the model is for {', '.join(card.modalities)}.", blocking=False)


def _folder(job: TrainJob, usable: Sequence[Series]) -> Iterator[Problem]:
    if (job.run / "last.pt").exists() and not job.resume:
        yield Problem(f"The folder {job.run.name} already holds a run.", "Resume it, or choose another.")
    there = next((folder for folder in (job.run, *job.run.absolute().parents) if folder.exists()), Path())
    if not there.is_dir() or not os.access(there, os.W_OK):
        yield Problem(f"The run folder {job.run} cannot be written.", "Choose another folder.")
        return
    pixels = sum(s.slices * s.rows * s.columns * s.channels for s in (*usable, *job.clean))
    needed, free = int(4 * pixels * CACHE_SPARE), shutil.disk_usage(there).free
    if needed > free:
        yield Problem(
            f"The slices take {needed / 1e9:.1f} GB on the disk while training; {free / 1e9:.1f} GB are free.",
            "Free some space, choose another run folder, or train on fewer series.",
        )


_LOOKS = (_scans, _start, _pairs, _labels, _model, _folder)
