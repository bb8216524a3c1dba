"""What the five pages share: scans, roles, model, recipe, result. Signals tell who changed what."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from PySide6.QtCore import QObject, Signal, Slot
from PySide6.QtGui import QUndoCommand, QUndoStack

from aegui import settings as stored
from aegui.errors import UserError
from aegui.gui.delivery import Delivery
from aegui.gui.job import Lanes
from aegui.imaging import OutputRules
from aegui.imaging.series import ScanResult, Series, Skipped
from aegui.recipes import recipe as recipes

Role = Literal["noisy", "clean", "label", "holdout", "unused"]
ROLES: tuple[Role, ...] = ("noisy", "clean", "label", "holdout", "unused")


class _Change(QUndoCommand):
    """Sets one attribute of the session; consecutive changes with the same key undo as one."""

    def __init__(self, session: Session, attribute: str, value: Any, words: str, key: tuple[Any, ...] = ()) -> None:
        super().__init__(words)
        self._session, self._attribute, self._new, self._key = session, attribute, value, key
        self._old = getattr(session, attribute)

    def redo(self) -> None:
        self._session._put(self._attribute, self._new)

    def undo(self) -> None:
        self._session._put(self._attribute, self._old)

    def id(self) -> int:
        return 1 if self._key else -1

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, _Change) or (other._attribute, other._key) != (self._attribute, self._key):
            return False
        self._new = other._new
        return True


class Session(QObject):
    """The open project. Change it only through its methods, so that everybody hears of it."""

    scans_changed = Signal()  # series, skipped
    roles_changed = Signal()  # roles, labels
    pairs_changed = Signal()  # found, confirmed or ignored pairs
    insisted_changed = Signal()  # view-only series that are to be denoised all the same
    model_changed = Signal()
    recipe_changed = Signal()
    device_changed = Signal()
    result_changed = Signal()  # a run ended, or another one was opened
    review_changed = Signal()  # accepted or rejected
    output_changed = Signal()  # how denoised series are written
    delivery_changed = Signal()  # how scans are denoised
    project_changed = Signal()  # file, name, or whether everything is saved
    renewed = Signal()  # another project: nothing of the old one holds any more
    page_requested = Signal(str)  # "scans" | "recipe" | "train" | "review" | "deliver"
    open_wanted = Signal(list)  # paths of scans, or of a project
    page_state_changed = Signal()  # some page's rail state or subtitle may read differently
    notice = Signal(object)  # a UserError to show in place, with its hint
    crash = Signal(object)  # an exception that is a bug
    toast = Signal(str, str, str)  # tone ("ok", "info", "warn"), message, detail

    _SIGNALS: Mapping[str, str] = {
        "roles": "roles_changed",
        "preset": "recipe_changed",
        "labels": "roles_changed",
        "pairs": "pairs_changed",
        "ignored": "pairs_changed",
        "insisted": "insisted_changed",
        "model_ref": "model_changed",
        "recipe": "recipe_changed",
    }

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.lanes = Lanes(self)
        self.undo = QUndoStack(self)
        self.settings = stored.load()
        self.paths: tuple[Path, ...] = ()  # what was opened
        self.series: tuple[Series, ...] = ()
        self.skipped: tuple[Skipped, ...] = ()
        self.current: str = ""  # uid of the series shown on Scans
        self.roles: dict[str, Role] = {}
        self.labels: dict[str, str] = {}  # series uid or file → class
        self.label_file: Path | None = None
        self.found_pairs: tuple[Any, ...] = ()  # workflow.Pair: proposed clean partners, for looking at only
        self.pairs: tuple[Any, ...] = ()  # confirmed by the user
        self.ignored: frozenset[str] = frozenset()  # keys of proposals the user does not want
        self.insisted: frozenset[str] = frozenset()  # uids of view-only series to denoise all the same
        self.model_ref: str | Path = ""  # "" until a page asks for the default
        self.initial: Literal["pretrained", "random"] = "pretrained"
        self.preset: recipes.Recipe = recipes.shipped()[0]
        self.recipe: recipes.Recipe = self.preset
        self.recipe_problems: tuple[str, ...] = ()  # what the forms could not accept, in words
        self.device: str = self.settings.device
        self.result: Any = None  # workflow.TrainResult
        self.run_folder: Path | None = None
        self.train_job: Any = None  # the workflow.TrainJob asked for; Train starts it when shown
        self.accepted: bool | None = None
        self.strength = 1.0
        self.output: OutputRules = self.settings.output
        self.delivery = Delivery()
        self.look: tuple[Series, int] | None = None  # what Review shows next: a series and a slice of it
        self.denoise_directly = False  # “Denoise now” was chosen: Scans leads to Deliver
        self.projects = 0  # how many came before this one; what began in another must not end in this
        self.project_file: Path | None = None
        self.saved = True
        for signal in (self.scans_changed, self.roles_changed, self.pairs_changed, self.model_changed):
            signal.connect(self._touch)
        for signal in (self.recipe_changed, self.result_changed, self.review_changed, self.insisted_changed):
            signal.connect(self._touch)
        for signal in (self.output_changed, self.delivery_changed):
            signal.connect(self._touch)

    # ---- what others ask
    def role(self, uid: str) -> Role:
        """A series' role; “unused” for what cannot be denoised."""
        return self.roles.get(uid, "unused")

    def with_role(self, *wanted: Role) -> tuple[Series, ...]:
        """The series in one of these roles, in scan order."""
        return tuple(series for series in self.series if self.role(series.uid) in wanted)

    @property
    def noisy(self) -> tuple[Series, ...]:
        """Series to learn from. Hold-out series belong to them; training leaves them out by their uid."""
        return self.with_role("noisy", "label", "holdout")

    @property
    def clean(self) -> tuple[Series, ...]:
        """Series to learn towards."""
        return self.with_role("clean")

    @property
    def holdout(self) -> tuple[str, ...]:
        """Uids that are never trained on."""
        return tuple(series.uid for series in self.with_role("holdout"))

    @property
    def to_denoise(self) -> tuple[Series, ...]:
        """What Deliver's queue starts with: what can be denoised or was insisted on, clean targets left out."""
        return tuple(
            s for s in self.series if (s.treat == "denoise" or s.uid in self.insisted) and self.role(s.uid) != "clean"
        )

    @property
    def name(self) -> str:
        """The project's name in the top bar."""
        return self.project_file.stem if self.project_file else "Untitled project"

    def find(self, uid: str) -> Series | None:
        """A series by its uid."""
        return next((series for series in self.series if series.uid == uid), None)

    # ---- changes
    def _put(self, attribute: str, value: Any) -> None:
        if attribute == "roles":  # series that were opened since a change keep theirs when it is undone
            value = self.roles | value
        setattr(self, attribute, value)
        getattr(self, self._SIGNALS[attribute]).emit()

    def _change(self, attribute: str, value: Any, words: str, key: tuple[Any, ...] = ()) -> None:
        if getattr(self, attribute) != value:
            self.undo.push(_Change(self, attribute, value, words, key))

    @Slot()
    def _touch(self) -> None:
        self.page_state_changed.emit()
        if self.saved:
            self.saved = False
            self.project_changed.emit()

    def set_scan(self, result: ScanResult, paths: Sequence[Path], add: bool = False) -> None:
        """Take what a scan found, instead of or (add) beside what is there. Roles given before stay."""
        fresh = {series.uid: series for series in result.series}
        if add:
            self.series = tuple(s for s in self.series if s.uid not in fresh) + result.series
            known = {entry.file for entry in self.skipped}
            self.skipped += tuple(entry for entry in result.skipped if entry.file not in known)
            self.paths = tuple(dict.fromkeys([*self.paths, *paths]))
        else:
            self.series, self.skipped, self.paths = result.series, result.skipped, tuple(paths)
            self.undo.clear()
            self.labels, self.label_file, self.ignored = {}, None, frozenset()
        roles: dict[str, Role] = {}
        for series in self.series:
            default: Role = "noisy" if series.treat == "denoise" and not series.derived_here else "unused"
            roles[series.uid] = self.roles.get(series.uid, default)
        self.roles = roles
        self.insisted = frozenset(s.uid for s in self.series if s.uid in self.insisted and s.treat == "view")
        self.found_pairs = ()
        self.pairs = tuple(p for p in self.pairs if p.noisy.uid in roles and p.clean.uid in roles) if add else ()
        if self.current not in roles:
            self.current = next((s.uid for s in self.series if s.treat != "list"), "")
        self.scans_changed.emit()
        self.roles_changed.emit()
        self.pairs_changed.emit()
        self.insisted_changed.emit()

    def set_roles(self, uids: Iterable[str], role: Role) -> None:
        """Give series a role (undoable). Pairs that lose a member are dropped by `set_pairs`."""
        chosen = list(uids)
        words = f"Role of {len(chosen)} series" if len(chosen) != 1 else "Role of a series"
        self._change("roles", {**self.roles, **dict.fromkeys(chosen, role)}, words)

    def set_labels(self, labels: Mapping[str, str]) -> None:
        """Class labels by series uid or file path (undoable)."""
        self._change("labels", dict(labels), "Class labels")

    def insist(self, uids: Iterable[str], on: bool = True) -> None:
        """Denoise view-only series all the same, or no longer (undoable)."""
        chosen = frozenset(s.uid for s in self.series if s.treat == "view").intersection(uids)
        self._change("insisted", self.insisted | chosen if on else self.insisted - chosen, "Denoise anyway")

    def set_pairs(self, pairs: Sequence[Any]) -> None:
        """The user confirmed these pairs (empty: undid them); roles follow, and one undo takes both back.

        A clean target that is one no longer becomes a noisy input again, as does a repeat, which is both.
        """
        self.undo.beginMacro("Use pairs" if pairs else "Undo pairs")
        noisy = {pair.noisy.uid for pair in pairs}
        targets = {pair.clean.uid for pair in pairs} - noisy
        roles = dict(self.roles)
        for uid in {pair.clean.uid for pair in self.pairs}:
            if roles.get(uid) == "clean":
                roles[uid] = "noisy"
        for uid in noisy | targets:
            if roles.get(uid) != "holdout":
                roles[uid] = "clean" if uid in targets else "noisy"
        # Pairs first: what is proposed for the roles that follow depends on them.
        had = bool(self.pairs)
        self._change("pairs", tuple(pairs), "Pairs")
        self._change("roles", roles, "Roles of pairs")
        if pairs:
            asked = self.recipe
            if asked.targets.pairs:  # as earlier pairs had it; these may be of another kind
                asked = asked.model_copy(update={"targets": self.preset.targets})
            self._change("recipe", self._fitted(asked), "Learn from the pairs")
        elif had and self.recipe.targets.pairs:
            self._change("recipe", self.recipe.model_copy(update={"targets": self.preset.targets}), "What to learn")
        self.undo.endMacro()

    def ignore_proposal(self, key: str) -> None:
        """Do not offer these pairs again (undoable)."""
        self._change("ignored", self.ignored | {key}, "Ignore pairs")

    def offer_again(self) -> None:
        """Offer what was ignored (undoable)."""
        self._change("ignored", frozenset(), "Offer pairs again")

    def _fitted(self, recipe: recipes.Recipe) -> recipes.Recipe:
        """Confirmed pairs are what is learnt from, as on the command line; the form still offers added noise."""
        from aegui import workflow

        return workflow.learning_from(recipe, self.pairs)

    def set_model(self, ref: str | Path) -> None:
        """Choose a model by id or file. Review's verdict was on the one before."""
        if ref != self.model_ref:
            self._put("model_ref", ref)
            if self.accepted is not None:
                self.set_accepted(None)

    def set_initial(self, initial: Literal["pretrained", "random"]) -> None:
        """The weights that a run starts from."""
        if initial != self.initial:
            self.initial = initial
            self._touch()

    def ensure_model(self) -> str | Path:
        """The chosen model, or the default shipped one."""
        if not self.model_ref:
            from aegui import models

            cards = models.cards()
            if not cards:
                raise UserError("No model is installed.", "Install the program again, or load a model file.")
            self.set_model(cards[0].id)
        return self.model_ref

    def set_preset(self, preset: recipes.Recipe) -> None:
        """Start again from a preset (undoable)."""
        recipe, words = self._fitted(preset), f"Preset {preset.title}"
        if (preset, recipe) != (self.preset, self.recipe):
            self.undo.beginMacro(words)
            self._change("preset", preset, words)
            self._change("recipe", recipe, words)
            self.undo.endMacro()

    def set_recipe(self, recipe: recipes.Recipe, words: str = "Recipe", merge: tuple[Any, ...] = ()) -> None:
        """Take an edited recipe (undoable). merge: edits in a row with the same key are undone as one."""
        self._change("recipe", recipe, words, merge)

    def set_recipe_problems(self, problems: Sequence[str]) -> None:
        """What keeps the recipe's forms from being valid."""
        if tuple(problems) != self.recipe_problems:
            self.recipe_problems = tuple(problems)
            self.page_state_changed.emit()

    def set_device(self, device: str) -> None:
        """auto, cpu or cuda; remembered."""
        self.device = device
        self.change_settings(device=device)
        self.device_changed.emit()

    def set_result(self, result: Any) -> None:
        """A finished run: its bundle becomes the model that Review and Deliver use."""
        self.result = result
        self.accepted = None
        if result is not None:
            self.run_folder = Path(result.run)
            self.model_ref = Path(result.bundle)
            self.model_changed.emit()
        self.result_changed.emit()

    def set_output(self, rules: OutputRules) -> None:
        """How denoised series are written; remembered."""
        if rules != self.output:
            self.output = rules
            self.change_settings(output=rules)
            self.output_changed.emit()

    def set_delivery(self, delivery: Delivery) -> None:
        """How scans are denoised."""
        if delivery != self.delivery:
            self.delivery = delivery
            self.delivery_changed.emit()

    def set_accepted(self, accepted: bool | None) -> None:
        """Review's verdict on the model; what is accepted is delivered at the strength that was looked at."""
        self.accepted = accepted
        if accepted:
            self._deliver_as_reviewed()
        self.review_changed.emit()

    def set_strength(self, strength: float) -> None:
        """How much of the noise goes in Review, 0 … 1, and in Deliver until another is set there.

        The verdict was on another strength.
        """
        if strength != self.strength:
            self.strength = strength
            self._touch()
            self._deliver_as_reviewed()
            if self.accepted is not None:
                self.set_accepted(None)

    def _deliver_as_reviewed(self) -> None:
        self.set_delivery(self.delivery.model_copy(update={"strength": self.strength}))

    def change_settings(self, **values: Any) -> None:
        """Remember preferences."""
        changed = type(self.settings).model_validate({**self.settings.model_dump(), **values})
        if changed == self.settings:
            return
        self.settings = changed
        try:
            stored.save(changed)
        except OSError as error:
            self.notice.emit(UserError("Settings could not be saved.", str(error)))

    def request_page(self, page: str) -> None:
        """Go to a page."""
        self.page_requested.emit(page)

    def attempt(self, action: Callable[[], Any]) -> Any:
        """Run something short; a UserError becomes a notice, its result None."""
        try:
            return action()
        except UserError as error:
            self.notice.emit(error)
            return None

    def report(self, error: Exception) -> None:
        """Where a Job's `failed` goes when the page has nothing better to say."""
        (self.notice if isinstance(error, UserError) else self.crash).emit(error)

    # ---- files
    def adopt(self, **values: Any) -> None:
        """Take over stored values at once, without undo (a project was opened)."""
        for attribute, value in values.items():
            if not hasattr(self, attribute):
                raise AttributeError(attribute)
            setattr(self, attribute, value)
        self.undo.clear()
        self._announce_all()

    def _announce_all(self) -> None:
        # First what fields show: they tell the session what they hold as soon as anything else changes.
        for signal in (self.output_changed, self.delivery_changed):
            signal.emit()
        for signal in (self.scans_changed, self.roles_changed, self.pairs_changed, self.model_changed):
            signal.emit()
        for signal in (self.recipe_changed, self.result_changed, self.review_changed, self.insisted_changed):
            signal.emit()

    def mark_saved(self, file: Path) -> None:
        """Everything up to now is in this file."""
        self.project_file, self.saved = file, True
        self.project_changed.emit()

    def reset(self) -> None:
        """A new, empty project."""
        self.series, self.skipped, self.paths, self.roles, self.labels = (), (), (), {}, {}
        self.found_pairs, self.pairs, self.current, self.label_file = (), (), "", None
        self.model_ref, self.preset, self.result, self.run_folder = "", recipes.shipped()[0], None, None
        self.recipe, self.accepted, self.train_job, self.initial = self.preset, None, None, "pretrained"
        self.recipe_problems, self.denoise_directly, self.strength = (), False, 1.0
        self.ignored, self.insisted, self.output = frozenset(), frozenset(), self.settings.output
        self.delivery = Delivery()
        self.projects += 1
        self.undo.clear()
        self.renewed.emit()
        self._announce_all()
        self.project_file, self.saved = None, True
        self.project_changed.emit()
