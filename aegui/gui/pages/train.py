"""Step 3: the run as it goes, and why it cannot start."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from PySide6.QtCore import QSize, Qt, Slot
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QDialog, QPlainTextEdit, QStackedWidget, QWidget

from aegui import events, workflow
from aegui.errors import UserError
from aegui.gui import runs, theme
from aegui.gui.curves import Curves
from aegui.gui.job import Job
from aegui.gui.pages.base import Page, RailState
from aegui.gui.requirements import requirements
from aegui.gui.session import Session
from aegui.gui.timers import once
from aegui.gui.widgets.basic import Note, button, column, holder, label, row
from aegui.gui.widgets.model_chooser import title_of
from aegui.gui.widgets.recipe_foot import duration_words
from aegui.gui.widgets.run_band import RunBand, gain_words
from aegui.gui.widgets.run_log import EventList
from aegui.gui.widgets.runs_dialog import open_runs
from aegui.gui.widgets.states import Blocked, EmptyState, Requirement
from aegui.gui.widgets.training_plots import TrainingPlots, signed
from aegui.gui.widgets.watch_card import WatchCard


class TrainPage(Page):
    """Blocked, ready, or a run: going, done, failed."""

    key = "train"
    title = "Train"
    icon = "activity"
    help = (
        "Curves are measured on validation slices; hold-out series are not used here. "
        "Pause and resume with Ctrl+., or stop: the best model so far is always kept."
    )

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self.state = "none"  # "none", "run", "paused", "stopping", "done", "failed"
        self.curves = Curves()
        self.run: workflow.TrainJob | None = None
        self.compared: Any = None  # what a run from scratch is held against
        self._stays = False  # whether the model in use stays when the run ends
        self._project = session.projects  # in which the run began
        self.epoch = 0
        self._job: Job | None = None
        self._missing = 0
        self.blocked = Blocked("Training cannot start yet")
        self.start = button("Start training", "primary", "play", "l", clicked=self._on_start)
        self.ready = EmptyState("activity", "Ready to train", "", [self.start])
        self.unfinished = Note("info", "")
        self.resume_link = button("Resume this run", "link", clicked=self._on_resume)
        self.unfinished.add_action(self.resume_link)
        self.unfinished_room = holder(column(self.unfinished, margins=(24, 16, 24, 0)))
        self.unfinished_room.hide()
        self.band = RunBand()
        self.note = Note("ok", "")
        self.scratch = button(
            "Train from scratch to compare",
            "link",
            tip="The same run from random weights shows what the pretrained ones are worth. Your model stays.",
            clicked=self._on_scratch,
        )
        self.note.add_action(self.scratch)
        self.plots = TrainingPlots()
        self.preview = WatchCard()
        self.log = EventList()
        self._lower = row((self.preview, 1), self.log, gap=16)
        self._body = column((self.plots, 58), (self._lower, 42), margins=(24, 16, 24, 16), gap=16)
        self.note_room = holder(column(self.note, margins=(24, 12, 24, 0)))
        self.note_room.hide()
        going = holder(column(self.band, self.note_room, (holder(self._body), 1), gap=0))
        self.stack = QStackedWidget()
        self._views = {"blocked": self.blocked, "ready": self.ready, "run": going}
        for view in self._views.values():
            self.stack.addWidget(view)
        self.setLayout(column(self.unfinished_room, (self.stack, 1), gap=0))
        self.recipe_button = button("Recipe used", "ghost", "file-text", clicked=self._on_recipe)
        self.compare = button("Compare runs", "default", "history", clicked=self._on_compare)
        self.head_actions = [self.recipe_button, self.compare]
        self._look = once(self, 250, self._show)
        self._connect()
        self._show()

    def _connect(self) -> None:
        self.band.pause.clicked.connect(self.toggle_pause)
        self.band.stop.clicked.connect(self.stop)
        self.band.again.clicked.connect(self._on_again)
        self.band.resume.clicked.connect(self._on_resume)
        self.band.on.clicked.connect(self._on_continue)
        self.session.renewed.connect(self._on_renewed)
        for signal in (self.session.scans_changed, self.session.roles_changed, self.session.pairs_changed):
            signal.connect(self._on_inputs)
        self.session.page_state_changed.connect(self._on_inputs)

    # ---- what the shell asks
    @property
    def subtitle(self) -> str:
        if self.run is None:
            return "Not ready" if self._missing else "Ready"
        paired = self.run.recipe.targets.kind == "paired" and bool(self.run.pairs)
        known = [pair.noisy for pair in self.run.pairs] if paired else list(self.run.noisy)
        count = sum(series.uid not in self.run.holdout for series in known)
        pairs = f"{count} {'pair' if paired else 'series'}{'s' if paired and count != 1 else ''}"
        held = "; held-out series are not used here" if self.run.holdout else ""
        return f"{self.run.recipe.title} · {title_of(self.run.model)} · {pairs}{held}"

    def rail_state(self) -> RailState:
        if self.state in ("run", "paused", "stopping"):
            return RailState("run", f"{self.epoch} of {self.curves.planned}" if self.epoch else "Preparing")
        if self.state == "failed":
            return RailState("warn", "Stopped")
        if self.state == "done" and self._stays:
            return RailState("done", "Compared")
        if self.state == "done":
            best = self.curves.best("psnr")
            gain = gain_words(best, self.band.scores)[1] if best is not None else 0.0
            words = f"{gain:+.2f} dB".replace("-", "\u2212") if gain else "Done"
            return RailState("warn" if gain < 0 else "done", words)
        if self._missing:
            return RailState("blocked", f"{self._missing} missing")
        return RailState("ready", "Not started")

    def enter(self) -> None:
        job, self.session.train_job = self.session.train_job, None
        if job is not None:
            self.begin(job)
        self._show()

    def toggle_pause(self) -> None:
        if self._job is None or self.state not in ("run", "paused"):
            return
        if self.state == "paused":
            self._job.resume()
            self._set_state("run")
        else:
            self._job.pause()
            self._set_state("paused")

    def stop(self) -> None:
        """Finish early; the best so far is kept."""
        if self._job is not None and self.state in ("run", "paused"):
            self._job.stop()
            self._set_state("stopping")

    # ---- the run
    def begin(self, job: workflow.TrainJob, compared: Any = None, stays: bool = False) -> None:
        """Start a run and show it.

        stays: the model in use stays, as the run is only for comparison. compared: the result it is held against.
        """
        stays = stays or compared is not None
        made = self.session.attempt(
            lambda: self.session.lanes.create(lambda: runs.run(job, stays), "Training", resumable=True)
        )
        if made is None:
            return
        self.run, self._job, self.compared, self._stays = job, made, compared, stays
        self._project = self.session.projects
        self.epoch = 0
        self.curves = Curves()
        self.plots.begin(self.curves)
        self.preview.clear()
        self.log.start(str(job.run))
        self.note_room.hide()
        self.scratch.hide()
        made.event.connect(self._on_event)
        made.done.connect(self._on_done)
        made.failed.connect(self._on_failed)
        made.cancelled.connect(self._on_cancelled)
        self.band.prepare("Preparing the slices")
        self._set_state("run")
        made.start()

    def replay(self, job: workflow.TrainJob, told: Iterable[events.Event], result: Any) -> None:
        """Show a run that was done elsewhere, as if it had just ended here. told: what it said."""
        self.run, self._project = job, self.session.projects
        for event in told:
            self._on_event(event)
        self.band.clock.start(result.seconds)
        self._on_done(result)

    @Slot(object)
    def _on_event(self, event: events.Event) -> None:
        match event:
            case events.Progress(done=done, total=total, what=what):
                (self.band.meanwhile if self.curves.steps["x"] else self.band.prepare)(what, done, total)
            case events.Started():
                self._on_started(event)
            case events.Baselines():
                self.band.scores = event.scores
                self.plots.show_baselines(event)
                if (best := self.curves.best("psnr")) is not None:
                    self.band.show_score(best)
            case events.Step():
                self.curves.add_step(event)
                self.band.show_step(event)
                self.plots.refresh()
                if event.epoch != self.epoch:
                    self.epoch = event.epoch
                    self.changed.emit()
            case events.Epoch():
                self.curves.add_epoch(event)
                self.band.show_best(event, self.curves.best("psnr"))
                self.plots.refresh()
            case events.Preview():
                self.preview.show_preview(event)
            case events.Features():
                self.preview.show_features(event)
            case events.Noted(message=message, icon=icon):
                self.log.add(message, icon)
            case events.Warned(message=message, hint=hint):
                self.log.add(f"{message} {hint}".strip(), "triangle-alert")
                self.note.show_text("warn", f"{message} {hint}".strip())
                self.note_room.show()

    def _on_started(self, event: events.Started) -> None:
        self.curves.start(event, self.run.run if self.run else None)
        self.plots.begin(self.curves)
        self.band.begin(event)
        self.epoch = event.epoch + 1
        again = f", going on after epoch {event.epoch}" if event.epoch or event.step else ""
        self.log.add(f"Started, {event.epochs} epochs, seed {event.seed}{again}", "play")
        self.changed.emit()

    @Slot(object)
    def _on_done(self, result: Any) -> None:
        self._job = None
        self.plots.draw()
        self.band.bar.setVisible(True)
        if not result.stopped:
            self.band.bar.setValue(1000)
        head = "Training stopped" if result.stopped else "Training finished"
        taken = duration_words(self.band.clock.elapsed)
        self.band.epoch.setText(f"{head} after epoch {result.epochs} of {self.curves.planned}")
        self.band.step.setText("")
        self.band.so_far.setText(f"after {taken}")
        psnr = result.scores["psnr"]
        self.band.scores = result.baselines
        self.band.show_score(psnr)
        words, above = gain_words(psnr, result.baselines)
        gain = f", PSNR {signed(psnr)} dB, {words}"
        best = f"epoch {result.best_epoch}" if result.best_epoch else "the model as it was"
        self.log.add(f"{head}; best is {best}{gain}, saved as {Path(result.bundle).name}", "circle-check")
        self.scratch.setVisible(not self._stays and self.run is not None and self.run.init == "pretrained")
        if self.compared is not None:
            self._show_comparison(self.compared, result)
        elif self.note_room.isHidden():
            then = "The model in use stays." if self._stays else "Look at it in Review before you use it."
            text = f"{head}. Best: {best}{gain} on validation slices. {then}"
            self.note.show_text("ok" if above > 0 else "warn", text)
            self.note_room.show()
        self.session.toast.emit("ok", head, f"Best: {best}{gain}")
        if self._project != self.session.projects:  # its model must not come into another project
            self._on_renewed()
            return
        self._set_state("done")
        if not self._stays:
            self.session.set_result(result)

    @Slot()
    def _on_renewed(self) -> None:
        """Another project. A run that is under way goes on, and stays among the earlier runs."""
        if self._job is None:
            self.run = None
            self._set_state("none")

    def _show_comparison(self, yours: Any, scratch: Any) -> None:
        """What the pretrained weights were worth; the model in use stays."""
        gain = yours.scores["psnr"] - scratch.scores["psnr"]
        other = f"{abs(gain):.2f} dB {'better' if gain >= 0 else 'worse'}"
        self.note.show_text(
            "info",
            f"From scratch the best is PSNR {signed(scratch.scores['psnr'])} dB, epoch {scratch.best_epoch}. "
            f"Your run from pretrained weights is {other}: {signed(yours.scores['psnr'])} dB, "
            f"epoch {yours.best_epoch}. Its model stays the one in use.",
        )
        self.note_room.show()

    @Slot(object)
    def _on_failed(self, error: Exception) -> None:
        self._job = None
        if self._project != self.session.projects:
            self.session.toast.emit("warn", "Training stopped", str(error))
            self._on_renewed()
            return
        self._set_state("failed")
        kept = "The best model so far and the log are kept in the run folder; your scans were not changed."
        if not isinstance(error, UserError):
            self.session.report(error)
            error = UserError("Training stopped because of a fault in the program.", "")
        self.log.add(str(error), "octagon-alert")
        self.note.show_text("err", f"{error.hint} {kept}".strip(), error.message)
        self.note_room.show()
        resumable = self.run is not None and (self.run.run / "last.pt").exists()
        self.band.resume.setVisible(resumable)
        if not self.epoch:
            self.band.prepare("Training did not start")

    @Slot()
    def _on_cancelled(self) -> None:
        self._job = None
        self.run = None
        self._set_state("none")

    def _set_state(self, state: str) -> None:
        self.state = state
        self.band.show_state(state)
        # The one filled button of the page.
        views = {"none": self.start, "done": self.band.on}
        self.primary_action = views.get(state)
        self._show()

    # ---- not running
    def requirements(self) -> list[Requirement]:
        """What a run needs, and what of it is there."""
        return requirements(self.session)

    def _show(self) -> None:
        idle = self.state == "none"
        if idle:
            items = self.requirements()
            self._missing = sum(not item.ready and item.needed for item in items)
            self.blocked.show_requirements(items)
            names = f"{self.session.recipe.title}, {self.session.recipe.run.epochs} epochs"
            model = title_of(self.session.model_ref, self.session) if self.session.model_ref else "the default model"
            self.ready.text.setText(f"{names}, starting from {model}, on {len(self.session.noisy)} series.")
        self.stack.setCurrentWidget(self._views["run" if not idle else "blocked" if self._missing else "ready"])
        self.recipe_button.setVisible(self.run is not None)
        left = runs.unfinished() if idle else None
        self.unfinished_room.setVisible(left is not None)
        if left is not None:
            self.unfinished.show_text("info", f"{left.words}. It goes on exactly where it was.", "An unfinished run")
            self.resume_link.setEnabled(bool(self.session.noisy))
            self.resume_link.setToolTip("" if self.session.noisy else "Open the scans it was started with first")
        self.changed.emit()

    @Slot()
    def _on_inputs(self) -> None:
        # The rail tells what is missing while other pages are shown; many changes come at once.
        if self.state == "none" and not self._look.isActive():
            self._look.start()

    def _on_start(self) -> None:
        if self.session.attempt(self.session.ensure_model):
            self.begin(runs.train_job(self.session))

    def _on_again(self) -> None:
        self.session.request_page("recipe")
        self.run = None
        self._set_state("none")

    def _on_resume(self) -> None:
        left = runs.unfinished()
        if left is not None:
            same = self.run is not None and self.run.run == left.folder
            self.begin(left.job(self.session), self.compared if same else None, left.stays)

    def _on_scratch(self) -> None:
        if self.run is not None and self.session.result is not None:
            self.begin(workflow.scratch_job(self.run), self.session.result)

    def _on_continue(self) -> None:
        self.session.request_page("review")

    def _on_compare(self) -> None:
        open_runs(self.window(), self.session, lambda job: self.begin(job, stays=True))

    def _on_recipe(self) -> None:
        if self.run is None:
            return
        dialog = QDialog(self)
        dialog.setWindowTitle("Recipe used")
        text = QPlainTextEdit(self.run.recipe.to_yaml())
        text.setReadOnly(True)
        text.setAccessibleName("Recipe used")
        text.setFont(theme.mono_font())
        close = button("Close", clicked=dialog.accept)
        dialog.setLayout(
            column(label(self.run.recipe.title, "h1"), (text, 1), row(close), margins=(24, 20, 24, 20), gap=16)
        )
        dialog.resize(QSize(608, 560))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.log.setFixedWidth(min(theme.scaled(400), max(260, event.size().width() // 3)))
        super().resizeEvent(event)
