"""Training runs as the window starts, finds and resumes them."""

from __future__ import annotations

import csv
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aegui import paths, recipes, workflow
from aegui.errors import UserError
from aegui.events import Event
from aegui.gui.session import Session
from aegui.recipes import Recipe

STARTED = "started.json"  # beside what the run itself writes: the model and the start it was given


def train_job(session: Session, recipe: Recipe | None = None) -> workflow.TrainJob:
    """The training job as things stand, with a new run folder."""
    recipe = recipe or session.recipe
    return workflow.TrainJob(
        model=str(session.model_ref),
        recipe=recipe,
        noisy=session.noisy,
        run=paths.data_home() / "runs" / f"{time.strftime('%Y%m%d-%H%M%S')}-{recipe.id}",
        clean=session.clean,
        pairs=session.pairs,
        labels=session.labels,
        holdout=session.holdout,
        init=session.initial,
        device=session.device,
    )


def run(job: workflow.TrainJob, stays: bool = False) -> Iterator[Event]:
    """Train, leaving a note in the run folder by which it can be resumed. stays: the model in use stays the one."""
    try:
        job.run.mkdir(parents=True, exist_ok=True)
        with paths.atomic(job.run / STARTED) as temporary:
            temporary.write_text(json.dumps({"model": job.model, "init": job.init, "stays": stays}), encoding="utf-8")
    except OSError as error:
        raise UserError(f"The run folder {job.run} cannot be written.", str(error.strerror)) from None
    yield from workflow.train(job)


@dataclass(frozen=True)
class Unfinished:
    """A run that was interrupted. stays: the model in use was to stay the one."""

    folder: Path
    recipe: Recipe
    model: str
    init: Any
    epoch: int
    stays: bool = False

    @property
    def words(self) -> str:
        return f"{self.recipe.title}, stopped after epoch {self.epoch} of {self.recipe.run.epochs}"

    def job(self, session: Session) -> workflow.TrainJob:
        """The job that goes on with it, on the scans that are open now."""
        return replace(train_job(session, self.recipe), run=self.folder, model=self.model, init=self.init, resume=True)


def unfinished() -> Unfinished | None:
    """The latest run that can be resumed, or None."""
    folder = paths.data_home() / "runs"
    # The model is the last thing a run writes but one.
    candidates = sorted(
        (f.parent for f in folder.glob("*/last.pt") if not (f.parent / "model.aegui").exists()), reverse=True
    )
    for found in candidates:
        try:
            note = json.loads((found / STARTED).read_text(encoding="utf-8"))
            recipe = recipes.load(found / "recipe.yaml")
            with (found / "metrics.csv").open(newline="", encoding="utf-8") as handle:
                epoch = sum(1 for _ in csv.reader(handle)) - 1
            return Unfinished(found, recipe, str(note["model"]), note["init"], max(0, epoch), note.get("stays") is True)
        except (OSError, ValueError, KeyError, UserError):
            continue
    return None
