"""Training: what to train, what is wrong with it, and the job."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aegui.data.labels import label_of
from aegui.data.pairs import TARGETS, Pair, match_pairs, require_pairs
from aegui.errors import UserError
from aegui.events import Events, Progress
from aegui.imaging import Series
from aegui.models import cards
from aegui.recipes import Recipe
from aegui.recipes.targets import Noise2Noise, PairedTargets


@dataclass(frozen=True)
class TrainJob:
    """What to train. pairs: confirmed by the user; empty: matched by geometry. labels: uid or path → class.

    holdout: series uids never trained on. run: its folder.
    """

    model: str
    recipe: Recipe
    noisy: tuple[Series, ...]
    run: Path
    clean: tuple[Series, ...] = ()
    pairs: tuple[Pair, ...] = ()
    labels: Mapping[str, str] = field(default_factory=dict)
    holdout: tuple[str, ...] = ()
    init: Literal["pretrained", "random"] = "pretrained"
    device: str = "auto"
    resume: bool = False


@dataclass(frozen=True)
class Problem:
    """Something to fix (blocking) or to know before the start. where: address in the recipe, () for the data."""

    message: str
    hint: str = ""
    where: tuple[str | int, ...] = ()
    blocking: bool = True


def learning_from(recipe: Recipe, pairs: Sequence[Pair]) -> Recipe:
    """The recipe with targets that use the pairs; one that does already stays as it is."""
    if not pairs or recipe.targets.pairs:
        return recipe
    repeats = all(pair.kind == "repeat" for pair in pairs)
    return recipe.model_copy(update={"targets": Noise2Noise() if repeats else PairedTargets()})


def check(job: TrainJob) -> list[Problem]:
    """Every problem of a job at once. Reads no pixels."""
    found: list[Problem] = []
    usable = [s for s in job.noisy if s.uid not in job.holdout]
    if not usable:
        found.append(Problem("There are no scans to train on.", "Mark at least one series as noisy input."))
    elif sum(s.slices for s in usable) < 2:
        found.append(Problem("Training needs at least two slices.", "Add slices."))
    if job.recipe.targets.pairs and usable:
        pairs = job.pairs or tuple(match_pairs(usable, job.clean))
        if not pairs:
            found.append(
                Problem("No noisy series has a matching clean series.", "Add clean scans, or add noise.", ("targets",))
            )
        elif not job.pairs and not all(pair.sure for pair in pairs):
            guess = next(pair for pair in pairs if not pair.sure)
            found.append(
                Problem(f"Pairs are matched by {guess.method} only: {guess.why}.", "Confirm them.", ("targets",))
            )
        found += [
            Problem(TARGETS[kind], where=("targets",), blocking=False)
            for kind in dict.fromkeys(pair.kind for pair in pairs)
            if kind in TARGETS
        ]
    if job.recipe.needs_labels:
        classes = {label_of(s, i, job.labels) for s in usable for i in range(len(s.files))} - {None}
        if len(classes) < 2:
            losses = [term.kind for term in job.recipe.losses]
            found.append(
                Problem(
                    "This recipe needs at least two classes.",
                    "Put each class in a folder of its own, or load a label file.",
                    ("losses", losses.index("ce")),
                )
            )
    patients = {s.patient for s in usable}
    if usable and len(patients) < 3:
        found.append(
            Problem(
                "Fewer than three patients: the scores will be optimistic.",
                "Validation slices come from the same patients as training slices.",
                blocking=False,
            )
        )
    if usable and not job.holdout and not job.recipe.run.holdout_fraction:
        found.append(Problem("No series is held out for Review.", "Mark one as hold-out.", blocking=False))
    card = next((card for card in cards() if card.id == job.model), None)
    found += [
        Problem(f"{modality} scans; the model is for {', '.join(card.modalities)}.", blocking=False)
        for modality in sorted({s.modality for s in usable})
        if card is not None and not card.fits(modality)
    ]
    if (job.run / "last.pt").exists() and not job.resume:
        found.append(Problem(f"The folder {job.run.name} already holds a run.", "Resume it, or choose another."))
    return found


def train(job: TrainJob) -> Events:
    """Adapt a model. Done(TrainResult)."""
    from aegui.data.dataset import prepare
    from aegui.models.zoo import load_model
    from aegui.training.fit import fit
    from aegui.training.runfolder import RunFolder
    from aegui.training.step import choose_device

    device = choose_device(job.device)
    yield Progress(0, None, "Loading the model")
    model = load_model(job.model, job.init, job.recipe.run.seed)
    started = "pretrained" if job.init == "pretrained" and model.card.weights is not None else "random"
    pairs: Sequence[Pair] = job.pairs
    if job.recipe.targets.pairs and not pairs:
        pairs = require_pairs([s for s in job.noisy if s.uid not in job.holdout], job.clean)
        unsure = next((pair for pair in pairs if not pair.sure), None)
        if unsure is not None:
            raise UserError(
                f"“{unsure.noisy.description}” and “{unsure.clean.description}” match by {unsure.method} only "
                f"({unsure.why}).",
                "Confirm the pairs if they show the same slices.",
            )
    run = RunFolder(job.run)
    going_on = run.open(job.resume)
    data = yield from prepare(
        job.recipe, model.card, model.net.channels, job.noisy, pairs, job.labels, job.holdout, run.cache
    )
    yield from fit(job.recipe, model, data, run, device, going_on, started)
