"""Step 2: which model to start from, and how to adapt it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtCore import QEvent, QMimeData, Slot
from PySide6.QtGui import QDragEnterEvent, QDropEvent
from PySide6.QtWidgets import QFileDialog, QWidget

from aegui import paths, recipes, workflow
from aegui.errors import UserError
from aegui.gui import theme
from aegui.gui.dialogs import write_to
from aegui.gui.forecasts import Forecasts
from aegui.gui.pages.base import Page, RailState
from aegui.gui.races import Races
from aegui.gui.runs import train_job
from aegui.gui.session import Session
from aegui.gui.starting_models import StartingModels
from aegui.gui.timers import once
from aegui.gui.widgets.basic import STRETCH, button, column, frame, holder, label, row
from aegui.gui.widgets.gallery import Gallery
from aegui.gui.widgets.model_chooser import title_of
from aegui.gui.widgets.painted import Segmented
from aegui.gui.widgets.presets import Presets
from aegui.gui.widgets.race_dialog import open_race
from aegui.gui.widgets.rate_dialog import RateDialog
from aegui.gui.widgets.recipe_foot import Foot, Plan, size_words
from aegui.gui.widgets.recipe_form import RecipeForm
from aegui.gui.widgets.save_recipe import RECIPES, SaveRecipe, named, own
from aegui.gui.widgets.scanner_dialog import ScannerDialog
from aegui.recipes import Recipe
from aegui.recipes.targets import SyntheticTargets


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
        self.problems: list[workflow.Problem] = []
        self._quiet = False
        self._checked: tuple[Any, dict[Recipe, str]] = ((), {})  # scans, and what presets lack with them
        self._edit = 0  # counts fields that were left: typing in one is one step of undo
        self._taken = -1  # the edit that changed the session's recipe last
        self._beside: Recipe | None = None
        self._wrong: int | None = None  # the edit since which the form holds no recipe
        self.initial = Segmented(
            ["Pretrained", "Random"], names=["Start from the trained weights", "Start from random"]
        )
        weights = row(label("Weights", "sec", buddy=self.initial.button(0)), STRETCH, self.initial)
        weights.setContentsMargins(16, 8, 16, 8)
        self.gallery = Gallery(frame(weights, panel="foot"))
        self._fit()
        self.models = StartingModels(session, self.gallery, self)
        self.forecasts = Forecasts(session, self)
        self.presets = Presets()
        self.editor = RecipeForm()
        self.foot = Foot()
        right = holder(column(self.presets, (self.editor, 1), self.foot, gap=0))
        self.setLayout(row(self.gallery, (right, 1), gap=0))
        self.reset = button("Reset to preset", "ghost", "rotate-ccw", clicked=self._on_reset)
        self.load = button("Load recipe…", "default", "folder-open", clicked=self._on_load)
        self.races = Races(session, self)
        self.compare = button("Compare recipes", "default", "git-compare", clicked=self._on_compare)
        self.head_actions = [self.reset, self.load, self.compare]
        self.primary_action = self.foot.start
        self._check_timer = once(self, 200, self._check)
        self._measure_timer = once(self, 800, self._measure)
        self._connect()
        self.setAcceptDrops(True)
        self._take_recipe()
        self.models.show_models()

    def _connect(self) -> None:
        session = self.session
        self.models.shown.connect(self._on_models)
        self.forecasts.changed.connect(self._on_forecast)
        self.initial.changed.connect(self._on_initial)
        self.presets.chosen.connect(self._on_preset)
        self.editor.edited.connect(self._on_edited)
        self.editor.form.ended.connect(self._on_ended)
        self.editor.find_rate.clicked.connect(self._on_find_rate)
        self.editor.match_scanner.clicked.connect(self._on_match_scanner)
        self.foot.batch_wanted.connect(self._on_batch)
        self.foot.start.clicked.connect(self.start_training)
        self.foot.save.clicked.connect(self._on_save)
        self.foot.problem_opened.connect(self._on_problem)
        session.recipe_changed.connect(self._take_recipe)
        for signal in (session.roles_changed, session.pairs_changed, session.model_changed, session.recipe_changed):
            signal.connect(self._check_timer.start)
        for signal in (session.model_changed, session.recipe_changed, session.device_changed):
            signal.connect(self._measure_timer.start)
        session.lanes.ended.connect(self._on_lane_free)

    def focusNextPrevChild(self, forward: bool) -> bool:
        return self.editor.enter(self.focusWidget(), forward) or super().focusNextPrevChild(forward)

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
        self.models.show_models()
        self._check()
        self.forecasts.try_again()
        self._measure_timer.start()

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
        if form.value() != self.session.recipe or form.errors() or self._beside != self.session.preset:
            self._fill_form()
        self.initial.set_current(int(self.session.initial == "random"))
        self._show_presets()
        self._refresh()

    def _fill_form(self) -> None:
        self._quiet = True
        self._wrong = None
        self._beside = self.session.preset  # what the form tells changes from
        self.editor.form.set_value(self.session.recipe, self.session.preset)
        self._quiet = False

    @Slot()
    def _on_models(self) -> None:
        self.editor.show_model(self.session.model_ref)
        self._refresh()

    def _show_presets(self) -> None:
        shipped = recipes.shipped()
        if self.session.preset not in (*shipped, *self.presets.extra):
            self.presets.add(self.session.preset)  # of a file, or of a project that was opened
        presets = [*shipped, *self.presets.extra]
        self.presets.show_presets(presets, self.session.preset, self._lacking(presets))

    def _lacking(self, presets: Sequence[Recipe]) -> dict[str, str]:
        """What is missing for presets that cannot be used with these scans, in words."""
        session = self.session
        state = (session.noisy, session.clean, session.pairs, session.labels, session.holdout, session.model_ref)
        if not session.noisy:
            return {}
        if state != self._checked[0]:
            self._checked = (state, {})
        known = self._checked[1]
        for preset in presets:
            if preset not in known:
                found = workflow.check(self.job(preset))
                reasons = (f"{p.message} {p.hint}".strip() for p in found if p.blocking and p.where)
                known[preset] = next(reasons, "")
        return {preset.id: known[preset] for preset in presets if known[preset]}

    def _refresh(self) -> None:
        """Everything that follows from the recipe and its problems."""
        form = self.editor.form
        first: list[tuple[str, tuple[str | int, ...]]] = [(form.say(e), e.where) for e in form.errors()]
        first += [(form.say(p), p.where) for p in self.problems if p.blocking]
        notes = [f"{p.message} {p.hint}".strip() for p in self.problems if not p.blocking]
        self.foot.show_problems(first, notes)
        self.editor.neighbours = (self.presets.more, self.foot.first)
        self.foot.show_forecast(self._plan(), self.forecasts.current())
        self.reset.setEnabled(bool(self.changes()) or bool(form.errors()))
        self.session.set_recipe_problems([words for words, _ in first])
        self.changed.emit()

    def _plan(self) -> Plan:
        """Length of the run as far as it is known without a measurement."""
        recipe = self.session.recipe
        held = set(self.session.holdout)
        slices = sum(s.slices for s in self.session.noisy if s.uid not in held)
        train = max(1, round(slices * (1 - recipe.run.validation_fraction - recipe.run.holdout_fraction)))
        steps = recipe.run.steps_per_epoch or max(1, -(-train // recipe.run.batch))
        return Plan(recipe.run.epochs, steps if slices else 0, recipe.run.batch_size)

    def take_back(self) -> bool:
        if not self.editor.form.errors():
            return False
        if self._taken == self._wrong:  # with what was right on the way, as 99 is on the way to 99999
            self.session.undo.undo()
        else:
            self._fill_form()
            self._refresh()
        return True

    # ---- edits
    @Slot()
    def _on_edited(self) -> None:
        if self._quiet:
            return
        recipe = self.editor.form.value()
        if recipe is None:
            self._wrong = self._edit if self._wrong is None else self._wrong
        else:
            self._wrong = None
        if recipe is not None and recipe != self.session.recipe:
            changed = recipes.differences(recipe, self.session.recipe)
            self.session.set_recipe(recipe, merge=(self._edit, *changed))
            self._taken = self._edit
        self._refresh()

    @Slot()
    def _on_ended(self) -> None:
        self._edit += 1

    @Slot(object)
    def _on_preset(self, preset: Recipe) -> None:
        self.session.set_preset(preset)
        self._fill_form()
        self._show_presets()
        self._check_timer.start()
        self._refresh()

    @Slot(int)
    def _on_initial(self, index: int) -> None:
        self.session.set_initial("random" if index else "pretrained")
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
        self._show_problems()
        self._show_presets()
        self._refresh()

    @Slot()
    def start_training(self) -> None:
        """Hand the job to Train."""
        self._check()
        if self.blocking():
            return
        busy = self.session.lanes.job()
        if busy is not None and not busy.over:
            words = f"“{busy.title}” is still running."
            self.session.notice.emit(UserError(words, "Wait until it ends, or stop it first."))
            return
        self.models.give_way()
        self.session.train_job = self.job()
        self.session.request_page("train")

    def _show_problems(self) -> None:
        """What was found outside the form, beside its fields."""
        found = list(self.problems)
        forecast = self.forecasts.current()
        if forecast is not None and not forecast.fits:
            words = f"Needs about {size_words(forecast.memory_bytes)} of {size_words(forecast.free_bytes)}."
            hint = f"{forecast.largest_batch} fits." if forecast.largest_batch else "A smaller patch needs less."
            found.insert(0, workflow.Problem(words, hint, ("run", "batch_size"), blocking=False))
        self.editor.form.set_problems(found)

    # ---- help in choosing
    @Slot()
    def _measure(self) -> None:
        if self.isVisible() and not self.blocking():
            self.forecasts.measure()

    @Slot()
    def _on_forecast(self) -> None:
        self._show_problems()
        self._refresh()

    @Slot(int)
    def _on_batch(self, size: int) -> None:
        self._edit += 1
        run = self.session.recipe.run.model_copy(update={"batch_size": size})
        self.session.set_recipe(self.session.recipe.model_copy(update={"run": run}), "Batch that fits")

    @Slot()
    def _on_find_rate(self) -> None:
        if self._ready():
            dialog = RateDialog(self.window(), self.session, self.job())
            dialog.chosen.connect(self._on_rate)
            dialog.open()

    @Slot(float)
    def _on_rate(self, factor: float) -> None:
        recipe = self.editor.scale_rates(factor)
        if recipe is not None:
            self.session.set_recipe(recipe, "Learning rate")

    @Slot()
    def _on_match_scanner(self) -> None:
        if self.session.noisy:
            dialog = ScannerDialog(self.window(), self.session)
            dialog.chosen.connect(self._on_corruptions)
            dialog.open()
        else:
            self.session.notice.emit(UserError("There are no scans to measure.", "Open some on Scans."))

    @Slot(object)
    def _on_corruptions(self, corruptions: tuple[Any, ...]) -> None:
        targets = self.session.recipe.targets
        if isinstance(targets, SyntheticTargets):
            changed = targets.model_copy(update={"corruptions": corruptions})
            self.session.set_recipe(self.session.recipe.model_copy(update={"targets": changed}), "Match my scanner")

    def _ready(self) -> bool:
        """Whether the recipe could be run now; if not, the first thing to fix is shown."""
        self._check()
        if errors := self.editor.form.errors():
            self.editor.form.reveal(errors[0].where)
            return False
        blocking = next((problem for problem in self.problems if problem.blocking), None)
        if blocking is not None:
            self.session.notice.emit(UserError(blocking.message, blocking.hint))
        return blocking is None

    # ---- files
    @Slot()
    def _on_save(self) -> None:
        dialog = SaveRecipe(self.window(), self.session.recipe, self.session.settings.last_folder)
        dialog.chosen.connect(self._on_save_as)
        dialog.open()

    @Slot(object, str)
    def _on_save_as(self, path: Path, title: str) -> None:
        write_to(self.window(), path, (".yaml", ".yml"), lambda file: self.save_recipe(file, title))

    def save_recipe(self, path: Path, title: str = "") -> None:
        """Write the recipe as the command line reads it; with a title it becomes one of its own."""
        recipe = named(self.session.recipe, title)
        try:
            with paths.atomic(path) as temporary:
                temporary.write_text(recipe.to_yaml(), encoding="utf-8")
        except OSError as error:
            self.session.notice.emit(UserError(f"{path.name} could not be written.", str(error.strerror)))
            return
        if recipe != self.session.recipe:
            self.presets.add(recipe)
            self._on_preset(recipe)
        self.session.toast.emit("ok", "Recipe saved", path.name)

    def _on_compare(self) -> None:
        self.session.attempt(self.session.ensure_model)
        open_race(self.window(), self.session, self.races, self.presets.extra)

    def _on_load(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load recipe", self.session.settings.last_folder, RECIPES)
        if name:
            self.load_recipe(Path(name))

    def load_recipe(self, path: Path) -> None:
        """Take a recipe from a file; it becomes what changes are marked against."""
        recipe = self.session.attempt(lambda: recipes.load(path))
        if recipe is not None:
            self._on_preset(own(recipe))

    def _fit(self) -> None:
        self.gallery.setFixedWidth(min(theme.scaled(392), 472))

    def changeEvent(self, event: QEvent) -> None:
        super().changeEvent(event)
        if event.type() == QEvent.Type.StyleChange:
            self._fit()

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if _recipe_file(event.mimeData()) is not None:
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        path = _recipe_file(event.mimeData())
        if path is not None:
            event.acceptProposedAction()
            self.load_recipe(path)

    @Slot(object)
    def _on_lane_free(self, _job: object) -> None:
        if self.isVisible() and not self.session.lanes.busy("preview"):
            self.models.preview()
            self._measure_timer.start()


def _recipe_file(dragged: QMimeData) -> Path | None:
    """The one recipe file that is being dragged."""
    files = [Path(url.toLocalFile()) for url in dragged.urls() if url.isLocalFile()]
    return files[0] if len(files) == 1 and files[0].suffix in (".yaml", ".yml") else None
