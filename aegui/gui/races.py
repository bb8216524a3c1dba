"""A recipe race as the window runs it: it goes on while its dialog is closed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from PySide6.QtCore import QObject, Signal, Slot

from aegui import events, recipes, workflow
from aegui.errors import UserError
from aegui.gui.job import Job
from aegui.gui.runs import train_job
from aegui.gui.session import Session
from aegui.recipes import Recipe
from aegui.recipes.targets import SyntheticTargets


@dataclass
class Lap:
    """A contender so far. progress: 0 … 1."""

    name: str
    kind: Literal["input", "pretrained", "classical", "recipe"]
    progress: float = 0.0
    psnr: float | None = None
    image: np.ndarray | None = None
    reason: str = ""


class Races(QObject):
    """The race of the session: what runs, how far it is, and the last result."""

    changed = Signal()  # something to draw anew
    told = Signal()  # progress only

    def __init__(self, session: Session, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.session = session
        self.laps: list[Lap] = []
        self.count = 0
        self.words = ""  # what is being done now
        self.result: workflow.RaceResult | None = None
        self.error: UserError | None = None
        self.seconds = 60
        self._job: Job | None = None
        self._project = session.projects  # in which it was started
        session.renewed.connect(self._on_renewed)

    @Slot()
    def _on_renewed(self) -> None:
        """Another project: what ran in the one before says nothing in it."""
        self.laps, self.result, self.error = [], None, None
        if self._job is not None:
            self._job.abandon()
        self.changed.emit()

    @property
    def running(self) -> bool:
        return self._job is not None

    @property
    def stopping(self) -> bool:
        return self._job is not None and self._job.stopping

    def start(self, chosen: Sequence[Recipe], seconds: int, scratch: bool) -> None:
        """Let these recipes race; a problem becomes `error`."""
        self.error = None
        try:
            self.session.ensure_model()
            asked = train_job(self.session, self.session.recipe)
            self._job = self.session.lanes.create(
                lambda: workflow.race(asked, tuple(chosen), seconds, scratch), "Comparing recipes"
            )
        except UserError as error:
            self.error = error
            self.changed.emit()
            return
        self.laps, self.result, self.seconds = [], None, seconds
        self._project = self.session.projects
        self.words = "Preparing"
        job = self._job
        job.event.connect(self._on_event)
        job.done.connect(self._on_done)
        job.failed.connect(self._on_failed)
        job.cancelled.connect(self._on_cancelled)
        job.start()
        self.changed.emit()

    def stop(self) -> None:
        """Keep what is there."""
        if self._job is not None:
            self._job.stop()
            self.changed.emit()

    @Slot(object)
    def _on_event(self, event: events.Event) -> None:
        match event:
            case events.Raced(index=index, count=count, name=name, progress=progress):
                self.count = count
                fresh = index >= len(self.laps)
                if fresh:
                    self.laps.append(Lap(name, event.kind))
                lap = self.laps[index]
                lap.progress, lap.psnr, lap.image, lap.reason = progress, event.psnr, event.image, event.reason
                seconds = round(progress * self.seconds)
                self.words = f"{name}, {seconds} of {self.seconds} s" if 0 < progress < 1 else name
                (self.changed if fresh or progress == 1 else self.told).emit()
            case events.Progress(done=done, total=total, what=what):
                self.words = f"{what}, {done} of {total}" if total and total > 1 else what
                self.told.emit()

    @Slot(object)
    def _on_done(self, result: Any) -> None:
        self._job = None
        if self._project != self.session.projects:
            self.changed.emit()
            return
        self.result = result
        self.changed.emit()
        best = next((row for row in result.ranked if row.kind == "recipe" and row.psnr is not None), None)
        if best is not None:
            self.session.toast.emit("ok", "Recipes compared", f"Best recipe: {best.name}, PSNR {best.psnr:.2f} dB")

    @Slot(object)
    def _on_failed(self, error: Exception) -> None:
        self._job = None
        if isinstance(error, UserError):
            self.error = error
        else:
            self.session.report(error)
            self.error = UserError("The race ended because of a fault in the program.")
        self.changed.emit()

    @Slot()
    def _on_cancelled(self) -> None:
        self._job = None
        self.laps = []
        self.changed.emit()


@dataclass(frozen=True)
class Choice:
    """A recipe that may race. reason: why it cannot, or “”. now: it is what the form holds."""

    recipe: Recipe
    reason: str
    now: bool = False


def choices(session: Session, others: Sequence[Recipe]) -> list[Choice]:
    """The recipe in the form, then the presets (and others); last those that cannot run, with the reason."""
    found = [Choice(session.recipe, _reason(session, session.recipe), True)]
    for preset in [*recipes.shipped(), *others]:
        adds = isinstance(preset.targets, SyntheticTargets)
        fitted = workflow.learning_from(preset, session.pairs) if adds else preset
        if fitted != session.recipe:
            found.append(Choice(fitted, _reason(session, fitted)))
    return sorted(found, key=lambda choice: bool(choice.reason) and not choice.now)


def _reason(session: Session, recipe: Recipe) -> str:
    problem = next((p for p in workflow.check(train_job(session, recipe)) if p.blocking), None)
    return f"{problem.message} {problem.hint}".strip() if problem else ""
