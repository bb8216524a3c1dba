"""Step 2: which model to start from, and how to adapt it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import Qt, Slot
from PySide6.QtWidgets import QFileDialog, QWidget

from aegui import models, paths, recipes, workflow
from aegui.errors import UserError
from aegui.gui import previews, theme
from aegui.gui.pages.base import Page, RailState
from aegui.gui.runs import train_job
from aegui.gui.session import Session
from aegui.gui.timers import once
from aegui.gui.widgets.basic import STRETCH, button, column, frame, holder, label, row
from aegui.gui.widgets.gallery import Entry, Gallery, speed_words
from aegui.gui.widgets.model_chooser import card_of, title_of, unfit
from aegui.gui.widgets.painted import Segmented
from aegui.gui.widgets.presets import Presets
from aegui.gui.widgets.recipe_foot import Foot, Forecast
from aegui.gui.widgets.recipe_form import RecipeForm
from aegui.models import Card
from aegui.recipes import Recipe

MODELS = "Models (*.aegui *.safetensors *.pt *.pth)"
RECIPES = "Recipes (*.yaml *.yml)"


class RecipePage(Page):
    """Gallery, presets, form, forecast, start."""

    key = "recipe"
    title = "Recipe"
    icon = "sliders-horizontal"
    help = (
        "Choose a starting model on the left and a preset above the form. Every value can be changed; "
        "a dot marks what differs from the preset. Start training is at the bottom right."
    )

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self.own: dict[str, Card] = {}  # the user's model files, by path
        self.problems: list[workflow.Problem] = []
        self._tried: tuple[Any, ...] = ()
        self._times: dict[tuple[Any, ...], Any] = {}
        self._quiet = False
        self.initial = Segmented(
            ["Pretrained", "Random"], names=["Start from the trained weights", "Start from random"]
        )
        weights = row(label("Weights", "sec", buddy=self.initial.button(0)), STRETCH, self.initial)
        weights.setContentsMargins(16, 8, 16, 8)
        self.gallery = Gallery(frame(weights, panel="foot"))
        self.gallery.setFixedWidth(min(theme.scaled(392), 472))
        self.presets = Presets()
        self.editor = RecipeForm()
        self.foot = Foot()
        right = holder(column(self.presets, (self.editor, 1), self.foot, gap=0))
        self.setLayout(row(self.gallery, (right, 1), gap=0))
        self.reset = button("Reset to preset", "ghost", "rotate-ccw", clicked=self._on_reset)
        self.load = button("Load recipe…", "default", "folder-open", clicked=self._on_load)
        self.head_actions = [self.reset, self.load]
        self.primary_action = self.foot.start
        self._check_timer = once(self, 200, self._check)
        self._measure_timer = once(self, 800, self._measure)
        self._connect()
        self._take_recipe()
        self._take_models()

    def _connect(self) -> None:
        session = self.session
        self.gallery.chosen.connect(session.set_model)
        self.gallery.file_wanted.connect(self._on_file_wanted)
        self.initial.changed.connect(self._on_initial)
        self.presets.chosen.connect(self._on_preset)
        self.editor.edited.connect(self._on_edited)
        self.foot.start.clicked.connect(self.start_training)
        self.foot.save.clicked.connect(self._on_save)
        self.foot.problem_opened.connect(self._on_problem)
        session.recipe_changed.connect(self._take_recipe)
        for signal in (session.model_changed, session.scans_changed, session.roles_changed):
            signal.connect(self._take_models)
        for signal in (session.roles_changed, session.pairs_changed, session.model_changed, session.recipe_changed):
            signal.connect(self._check_timer.start)
        for signal in (session.model_changed, session.recipe_changed, session.device_changed):
            signal.connect(self._measure_timer.start)
        session.lanes.ended.connect(self._on_lane_free)

    # ---- what the shell asks
    @property
    def subtitle(self) -> str:
        ref = self.session.model_ref
        words = f"{self.session.preset.title} on {title_of(ref, self.session)}" if ref else self.session.preset.title
        count = len(self.changes())
        if count:
            words += f", changed from preset in {count} place{'s' if count > 1 else ''}"
        return words

    def rail_state(self) -> RailState:
        count = self.blocking()
        if count:
            return RailState("warn", f"{count} to fix")
        if self.session.result is not None:
            return RailState("done", self.session.recipe.title)
        return RailState("ready", "Ready")

    def enter(self) -> None:
        self.session.attempt(self.session.ensure_model)
        self._take_models()
        self._check()
        self._measure_timer.start()
        self._preview()

    # ---- state
    def changes(self) -> list[str]:
        """Dotted names of what differs from the preset."""
        recipe = self.editor.form.value() or self.session.recipe
        return recipes.differences(recipe, self.session.preset)

    def blocking(self) -> int:
        """How many things keep training from starting."""
        return len(self.editor.form.errors()) + sum(problem.blocking for problem in self.problems)

    def job(self, recipe: Recipe | None = None) -> workflow.TrainJob:
        """The training job as things stand. Its run folder is new each time."""
        return train_job(self.session, recipe)

    @Slot()
    def _take_recipe(self) -> None:
        """The session's recipe changed: another preset, an undo, a project."""
        form = self.editor.form
        if form.value() != self.session.recipe or form.errors():
            self._fill_form()
        self.initial.set_current(int(self.session.initial == "random"))
        self._show_presets()
        self._refresh()

    def _fill_form(self) -> None:
        self._quiet = True
        self.editor.form.set_value(self.session.recipe, self.session.preset)
        self._quiet = False

    @Slot()
    def _take_models(self) -> None:
        session = self.session
        wanted = tuple(dict.fromkeys(series.modality for series in session.noisy if series.treat == "denoise"))
        entries = []
        for card in models.cards():
            reasons = [unfit(card, modality) for modality in wanted]
            reason = next(iter(reasons), "") if reasons and all(reasons) else ""
            entries.append(Entry(card.id, card, reason))
        ref = session.model_ref
        if isinstance(ref, Path) and str(ref) not in self.own and (card_ := card_of(ref)) is not None:
            self.own[str(ref)] = card_
        entries += [Entry(Path(path), card, own=True) for path, card in self.own.items()]
        self.gallery.set_entries(entries, wanted)
        self.gallery.set_current(ref)
        self.editor.show_model(ref)
        self._preview()
        self._refresh()

    def _show_presets(self) -> None:
        classes = len(set(self.session.labels.values()))
        reason = "" if classes >= 2 else "needs class labels: load a label file on Scans, or one folder per class"
        self.presets.show_presets(recipes.shipped(), self.session.preset, reason)

    def _refresh(self) -> None:
        """Everything that follows from the recipe and its problems."""
        form = self.editor.form
        first: list[tuple[str, tuple[str | int, ...]]] = [(form.say(e), e.where) for e in form.errors()]
        first += [(form.say(p), p.where) for p in self.problems if p.blocking]
        notes = [f"{p.message} {p.hint}".strip() for p in self.problems if not p.blocking]
        self.foot.show_problems(first, notes)
        self.foot.show_forecast(self._forecast())
        self.reset.setEnabled(bool(self.changes()) or bool(form.errors()))
        self.session.set_recipe_problems([words for words, _ in first])
        self.changed.emit()

    def _forecast(self) -> Forecast:
        recipe = self.session.recipe
        held = set(self.session.holdout)
        kept = [s for s in self.session.noisy if s.uid not in held]
        slices = sum(s.slices for s in kept)
        train = max(1, round(slices * (1 - recipe.run.validation_fraction - recipe.run.holdout_fraction)))
        steps = recipe.run.steps_per_epoch or max(1, -(-train // (recipe.run.batch_size or 16)))
        known = self._times.get(self._measured_key())
        return Forecast(recipe.run.epochs, steps if slices else 0, known.seconds if known else None)

    # ---- edits
    @Slot()
    def _on_edited(self) -> None:
        if self._quiet:
            return
        recipe = self.editor.form.value()
        if recipe is not None and recipe != self.session.recipe:
            self.session.set_recipe(recipe)
        self._refresh()

    @Slot(object)
    def _on_preset(self, preset: Recipe) -> None:
        self.session.set_preset(preset)
        self._fill_form()
        self._show_presets()
        self._check_timer.start()
        self._refresh()

    @Slot(int)
    def _on_initial(self, index: int) -> None:
        self.session.initial = "random" if index else "pretrained"
        self._check_timer.start()

    def _on_reset(self) -> None:
        self._on_preset(self.session.preset)

    @Slot(object)
    def _on_problem(self, where: tuple[str | int, ...]) -> None:
        if where:
            self.editor.form.reveal(where)
        else:
            self.session.request_page("scans")

    @Slot()
    def _check(self) -> None:
        """Ask the core what else is wrong: pairs, classes, patients, modality."""
        if not self.session.model_ref:
            return
        self._check_timer.stop()
        self.problems = workflow.check(self.job())
        self.editor.form.set_problems(self.problems)
        self._show_presets()
        self._refresh()

    @Slot()
    def start_training(self) -> None:
        """Hand the job to Train."""
        self._check()
        if self.blocking():
            return
        if self.session.lanes.busy():
            busy = self.session.lanes.job()
            words = busy.title if busy else "A job"
            self.session.notice.emit(UserError(f"“{words}” is still running.", "Wait until it ends, or stop it first."))
            return
        if (trying := self.session.lanes.job("preview")) is not None:
            trying.abandon()
        self.session.train_job = self.job()
        self.session.request_page("train")

    # ---- files
    @Slot()
    def _on_save(self) -> None:
        start = str(Path(self.session.settings.last_folder) / f"{self.session.recipe.id}.yaml")
        name, _ = QFileDialog.getSaveFileName(self, "Save recipe", start, RECIPES)
        if name:
            self.save_recipe(Path(name))

    def save_recipe(self, path: Path) -> None:
        """Write the recipe as the command line reads it."""
        path = path if path.suffix in (".yaml", ".yml") else path.with_suffix(".yaml")
        try:
            with paths.atomic(path) as temporary:
                temporary.write_text(self.session.recipe.to_yaml(), encoding="utf-8")
        except OSError as error:
            self.session.notice.emit(UserError(f"{path.name} could not be written.", str(error.strerror)))
            return
        self.session.toast.emit("ok", "Recipe saved", path.name)

    def _on_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load recipe", self.session.settings.last_folder, RECIPES)
        if name:
            self.load_recipe(Path(name))

    def load_recipe(self, path: Path) -> None:
        """Take a recipe from a file; it becomes what changes are marked against."""
        recipe = self.session.attempt(lambda: recipes.load(path))
        if recipe is not None:
            self.presets.add(recipe)
            self._on_preset(recipe)

    @Slot()
    def _on_file_wanted(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load a model file", self.session.settings.last_folder, MODELS)
        if name:
            self.load_model(Path(name))

    def load_model(self, path: Path) -> None:
        """Read the file in a job, then show which layers it has."""
        from aegui.gui.widgets.import_dialog import read_model

        job = self.session.attempt(
            lambda: self.session.lanes.create(lambda: read_model(path), f"Reading {path.name}", lane="model")
        )
        if job is not None:
            job.done.connect(self._on_model_read, Qt.ConnectionType.QueuedConnection)
            job.failed.connect(self.session.report)
            job.start()

    @Slot(object)
    def _on_model_read(self, read: Any) -> None:
        from aegui.gui.widgets.import_dialog import ImportDialog

        if read is None:
            return
        dialog = ImportDialog(read, self)
        dialog.accepted_model.connect(self._on_model_accepted)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    @Slot(object)
    def _on_model_accepted(self, read: Any) -> None:
        self.own[str(read.path)] = read.card
        self.session.set_model(read.path)

    # ---- work in the background
    def _preview(self) -> None:
        """Clean one of the user's slices with every model that fits, unless that was done."""
        if not self.isVisible() or self.session.lanes.busy() or self.session.lanes.busy("preview"):
            return
        series = next((s for s in self.session.noisy if s.treat == "denoise"), None)
        refs = tuple(
            entry.ref for entry in self.gallery.entries if not entry.reason and (entry.card.weights or entry.own)
        )
        wanted = (series.uid if series else "", refs, self.session.device)
        if wanted == self._tried:
            return
        self._tried = wanted
        self.gallery.show_slice(None, (1.0, 0.5))
        if series is None:
            return
        chosen, device = series, self.session.device
        job = self.session.lanes.create(
            lambda: previews.run(chosen, refs, device), "Trying models on your slice", lane="preview"
        )
        job.event.connect(self._on_preview)
        job.failed.connect(self._on_preview_failed)
        job.start()

    @Slot(object)
    def _on_preview(self, event: Any) -> None:
        match event:
            case previews.SliceShown(noisy=noisy, window=window, inverted=inverted):
                self.gallery.show_slice(noisy, window, inverted)
            case previews.Cleaned(ref=ref, image=image, seconds=seconds, problem=problem):
                self.gallery.show_clean(ref, image, problem or f"{speed_words(seconds)} here")

    @Slot(object)
    def _on_preview_failed(self, error: Exception) -> None:
        # A slice that cannot be read is reported on Scans; here only the pictures are missing.
        if not isinstance(error, UserError):
            self.session.report(error)

    def _measured_key(self) -> tuple[Any, ...]:
        recipe = self.session.recipe
        parts = (recipe.run.batch_size, recipe.run.patch_size, recipe.run.precision, recipe.losses, recipe.groups)
        return (str(self.session.model_ref), self.session.device, *parts)

    @Slot()
    def _measure(self) -> None:
        """Time one step of this recipe, so that the forecast is a measurement."""
        key = self._measured_key()
        if key in self._times or not self.isVisible() or not self.session.model_ref or self.session.lanes.busy():
            return
        if self.session.lanes.busy("preview") or self.blocking():
            return
        model, recipe, device = self.session.model_ref, self.session.recipe, self.session.device

        def work() -> Any:
            from aegui.training.forecast import measure_step

            return measure_step(model, recipe, device)

        job = self.session.lanes.create(work, "Timing a step", lane="preview")
        job.done.connect(lambda result, key=key: self._on_measured(key, result), Qt.ConnectionType.QueuedConnection)
        job.failed.connect(self._on_preview_failed)
        job.start()

    def _on_measured(self, key: tuple[Any, ...], result: Any) -> None:
        if result is not None:
            self._times[key] = result
            self._refresh()

    @Slot(object)
    def _on_lane_free(self, _job: object) -> None:
        if self.isVisible() and not self.session.lanes.busy("preview"):
            self._preview()
            self._measure_timer.start()
