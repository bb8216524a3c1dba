"""“Compare recipes”: choose some, let each learn for a minute, see what they make of one slice."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import Qt, Signal, Slot
from PySide6.QtWidgets import QComboBox, QGridLayout, QSizePolicy, QStackedWidget, QWidget

from aegui import recipes, workflow
from aegui.gui import theme
from aegui.gui.races import Choice, Races, choices
from aegui.gui.session import Session
from aegui.gui.widgets.basic import STRETCH, ElidedLabel, Note, button, card, column, holder, label, row, scroll
from aegui.gui.widgets.editors import CheckBox
from aegui.gui.widgets.picture_grid import Picture, PictureGrid
from aegui.gui.widgets.recipe_foot import duration_words
from aegui.gui.widgets.sheet import Sheet
from aegui.gui.widgets.states import EmptyState, ProgressRow
from aegui.imaging import auto_window
from aegui.recipes import Recipe

TIMES = (15, 30, 60, 120, 300)
OVERHEAD = 8  # seconds a recipe takes besides: loading, judging
HEADS = ("", "Contender", "PSNR", "Over classical", "SSIM", "Time", "")


def signed(value: float) -> str:
    """“+0.94” or “−0.10”."""
    return f"{value:+.2f}".replace("-", "\u2212")


class RaceDialog(Sheet):
    """chosen: the user wants this recipe."""

    chosen = Signal(object)

    def __init__(self, window: QWidget, session: Session, races: Races, others: Sequence[Recipe] = ()) -> None:
        super().__init__(window, session, "race", "Compare recipes", "git-compare", (1240, 760))
        self.races = races
        self.entries: list[tuple[Choice, CheckBox]] = []
        self.grid = PictureGrid()
        self.progress = ProgressRow("Race")
        self.note = Note("warn", "")
        self.words = label("", "ter", wrap=True)
        self.table = QGridLayout()
        self.table.setHorizontalSpacing(16)
        self.table.setVerticalSpacing(2)
        self.table.setColumnStretch(1, 1)
        self.start = button("Start the race", "primary", "play", clicked=self._on_start)
        self.stop = button("Stop, keep what is there", "default", "square", clicked=races.stop)
        self.close_button = button("Close", clicked=self.reject)
        self._shown: tuple[object, ...] = ()
        self.body.addLayout(row((self._left(others), 0), (self._right(), 1), gap=16), 1)
        self.hint = label("", "ter")
        self.foot.addWidget(self.hint)
        self.foot.addStretch(1)
        self.foot.addWidget(self.close_button)
        self.foot.addSpacing(16)  # the corner by which it is resized
        races.changed.connect(self._refresh)
        races.told.connect(self._tell)
        session.lanes.ended.connect(self._refresh)
        self._refresh()

    # ---- what it is made of
    def _left(self, others: Sequence[Recipe]) -> QWidget:
        lines = column(gap=10)
        for choice in choices(self.session, others):
            box = CheckBox(f"{choice.recipe.title}, as in the form" if choice.now else choice.recipe.title)
            words = choice.reason or choice.recipe.use or choice.recipe.summary
            box.setAccessibleDescription(words)
            box.setToolTip(choice.recipe.summary)
            box.setChecked(choice.now and not choice.reason)
            box.setEnabled(not choice.reason)
            box.toggled.connect(self._refresh)
            about = label(words, "warn" if choice.reason else "ter", wrap=True)
            about.setContentsMargins(26, 0, 0, 0)
            lines.addLayout(column(box, about, gap=0))
            self.entries.append((choice, box))
        lines.addStretch(1)
        self.scratch = CheckBox("Also from scratch")
        self.scratch.setToolTip("The recipe of the form once more, from random weights")
        self.scratch.setAccessibleDescription("The recipe of the form once more, from random weights")
        self.scratch.setEnabled(self.session.initial == "pretrained")
        self.scratch.toggled.connect(self._refresh)
        self.time = QComboBox()
        for seconds in TIMES:
            self.time.addItem(duration_words(seconds), seconds)
        self.time.setCurrentIndex(TIMES.index(60))
        self.time.currentIndexChanged.connect(self._refresh)
        self.time.setAccessibleName("Time for each recipe")
        area = scroll(holder(lines))
        area.setMinimumHeight(80)
        made = card(
            label("Recipes", "h3"),
            (area, 1),
            self.scratch,
            row(label("Time for each", "sec", buddy=self.time), STRETCH, self.time),
            self.start,
            self.stop,
        )
        made.setFixedWidth(theme.scaled(304))
        for one in (self.start, self.stop):
            one.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.side = made
        return made

    def _right(self) -> QWidget:
        scans = button("Go to Scans", "primary", "layers", clicked=self._on_scans)
        none = EmptyState("layers", "There are no scans to race on", "Open a folder and mark some as noisy.", [scans])
        before = EmptyState(
            "git-compare",
            "Which recipe suits these scans?",
            "Each recipe learns from crops of your own scans for a short time. All are judged on the same held-out "
            "slices, beside the noisy input, the model as it is and tuned classical filters. Nothing is kept of it "
            "but what you see here.",
        )
        before.text.setMaximumWidth(theme.scaled(520))
        holder_ = holder(row(STRETCH, (before, 4), STRETCH))
        sheet = holder(column(self.table, STRETCH, margins=(0, 0, 8, 0)))
        self.listing = scroll(sheet)
        going = column(self.progress, (self.grid, 5), (self.listing, 4), self.words, gap=8)
        self.stack = QStackedWidget()
        self._views = {"none": none, "before": holder_, "race": holder(going)}
        for view in self._views.values():
            self.stack.addWidget(view)
        return holder(column(self.note, (self.stack, 1)))

    # ---- what is chosen
    def picked(self) -> list[Recipe]:
        """The recipes that are ticked."""
        return [choice.recipe for choice, box in self.entries if box.isChecked() and not choice.reason]

    @property
    def seconds(self) -> int:
        return int(self.time.currentData())

    @Slot()
    def _on_start(self) -> None:
        self.races.start(self.picked(), self.seconds, self.scratch.isChecked())

    def _on_scans(self) -> None:
        self.session.request_page("scans")
        self.reject()

    def _use(self, recipe: Recipe) -> None:
        self.chosen.emit(recipe)
        self.accept()

    # ---- how it stands
    @Slot()
    def _refresh(self, _changed: object = None) -> None:
        races = self.races
        busy = self.session.lanes.job()
        count = len(self.picked()) + (self.scratch.isChecked())
        reason = ""
        if not self.session.noisy:
            reason = "There are no scans."
        elif busy is not None and not busy.over and not races.running:
            reason = f"“{busy.title}” is still running."
        elif not self.picked():
            reason = "Tick at least one recipe."
        self.start.setEnabled(not reason)
        self.start.setToolTip(reason)
        self.start.setVisible(not races.running)
        self.stop.setVisible(races.running)
        self.stop.setEnabled(not races.stopping)
        if races.running:
            self.hint.setText("The race goes on while this is closed.")
        else:
            self.hint.setText(reason or f"About {duration_words(count * (self.seconds + OVERHEAD) + 10)} in all")
        for choice, box in self.entries:
            box.setEnabled(not races.running and not choice.reason)
        self.time.setEnabled(not races.running)
        self.scratch.setEnabled(not races.running and self.session.initial == "pretrained")
        self.note.setVisible(races.error is not None)
        if races.error is not None:
            self.note.show_text("err", races.error.hint, races.error.message)
        racing = races.running or bool(races.laps)
        self.side.setVisible(bool(self.session.noisy))
        shown = "race" if racing else "none" if not self.session.noisy else "before"
        self.stack.setCurrentWidget(self._views[shown])
        if racing:
            self._show_result() if races.result is not None else self._show_laps()
            self._tell()

    @Slot()
    def _tell(self) -> None:
        races = self.races
        self.progress.setVisible(races.running)
        done = sum(lap.progress for lap in races.laps)
        self.progress.show_progress(round(1000 * done), 1000 * races.count or None, races.words)

    def _show_laps(self) -> None:
        """While it runs: what is ready, in the order of running."""
        laps = self.races.laps
        ready = [lap for lap in laps if lap.image is not None]
        best = max((lap.psnr for lap in laps if lap.kind == "classical" and lap.psnr is not None), default=None)
        # Noise widens the window: what has less of it comes second.
        clean = ready[min(1, len(ready) - 1)].image if ready else None
        modality = self.session.noisy[0].modality if self.session.noisy else "OT"
        window = auto_window(clean, None, modality) if clean is not None else None
        flip = bool(self.session.noisy) and self.session.noisy[0].inverted
        pictures = [
            Picture(lap.name, lap.image, _words(lap.psnr, best if lap.kind == "recipe" else None)) for lap in ready
        ]
        self.grid.show_pictures(pictures, window, flip)
        self.words.setText("")
        rows = [
            workflow.RaceRow(lap.name, lap.kind, None, lap.psnr, reason=lap.reason) for lap in laps if lap.progress == 1
        ]
        self._list(rows, best, numbered=False)

    def _show_result(self) -> None:
        result = self.races.result
        assert result is not None
        best = result.classical
        base = best.psnr if best is not None else None
        pictures = [Picture("Noisy input", result.noisy, _words(_psnr(result, "input"), None))]
        if best is not None:
            pictures.append(Picture(best.name, best.image, (*_words(best.psnr, None), "best classical")))
        pictures += [
            Picture(one.name, one.image, _words(one.psnr, base))
            for one in result.rows
            if one.kind in ("pretrained", "recipe") and one.image is not None
        ]
        if result.reference is not None:
            pictures.append(Picture("Reference", result.reference))
        self.grid.show_pictures(pictures, result.window, result.inverted)
        self._list(result.ranked, base, numbered=True)
        end = " The race was stopped early." if result.stopped else ""
        self.words.setText(f"{result.words}{end} PSNR with {result.psnr_range}, mean over the slices.")

    def _list(self, rows: Sequence[workflow.RaceRow], base: float | None, numbered: bool) -> None:
        state = (tuple((one.name, one.psnr, one.reason) for one in rows), base, numbered)
        if state == self._shown:
            return
        self._shown = state
        while self.table.count():
            item = self.table.takeAt(0)
            widget = item.widget() if item is not None else None
            if widget is not None:
                widget.hide()
                widget.deleteLater()
        right = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for place, head in enumerate(HEADS):
            made = label(head, "th")
            self.table.addWidget(made, 0, place, right if 2 <= place <= 5 else Qt.AlignmentFlag.AlignLeft)
        for line, one in enumerate(rows, 1):
            about = one.reason or one.note
            name = label(one.name, "med")
            words = ElidedLabel(about, "warn" if one.reason else "ter", Qt.TextElideMode.ElideRight)
            cells: list[QWidget] = [
                label(str(line) if numbered and one.psnr is not None else "", "ter"),
                holder(row(name, (words, 1), gap=12)),
                label(f"{one.psnr:.2f} dB" if one.psnr is not None else "", "cap1"),
                _gain(one, base),
                label(f"{one.ssim:.3f}" if one.ssim is not None else "", "cap1"),
                label(duration_words(one.seconds) if one.seconds >= 1 else "", "cap"),
            ]
            for place, cell in enumerate(cells):
                if place == 1:
                    self.table.addWidget(cell, line, place)
                else:
                    self.table.addWidget(cell, line, place, right if place > 1 else Qt.AlignmentFlag.AlignLeft)
            self.table.setRowMinimumHeight(line, theme.scaled(24))
            recipe = one.recipe
            if recipe is not None and one.psnr is not None:
                use = button("Use this recipe", "link", clicked=partial(self._use, recipe))
                use.setAccessibleName(f"Use the recipe {one.name}")
                self.table.addWidget(use, line, 6, right)


def _psnr(result: workflow.RaceResult, kind: str) -> float | None:
    return next((one.psnr for one in result.rows if one.kind == kind), None)


def _words(psnr: float | None, base: float | None) -> tuple[str, ...]:
    if psnr is None:
        return ()
    words = (f"{psnr:.2f} dB",)  # without “PSNR”, which the list tells: small pictures have no room for it
    return words if base is None else (*words, f"{signed(psnr - base)} over classical")


def _gain(one: workflow.RaceRow, base: float | None) -> QWidget:
    if one.psnr is None or base is None or one.kind in ("input", "classical"):
        return label("")
    gain = one.psnr - base
    return label(f"{signed(gain)} dB", "ok" if gain > 0 else "ter")


def open_race(window: QWidget, session: Session, races: Races, others: Sequence[Recipe] = ()) -> RaceDialog:
    """Show the dialog. A recipe that is chosen there becomes the session's (undoable)."""

    def use(recipe: Recipe) -> None:
        preset = next((one for one in [*recipes.shipped(), *others] if one.id == recipe.id), None)
        if recipe != session.recipe:
            session.undo.beginMacro(f"Recipe {recipe.title}")
            if preset is not None:
                session.set_preset(preset)
            session.set_recipe(recipe)  # as it raced, which may be edited
            session.undo.endMacro()
        session.toast.emit("ok", "Recipe taken", recipe.title)

    dialog = RaceDialog(window, session, races, others)
    dialog.chosen.connect(use)
    dialog.show_over(dialog.start if dialog.start.isEnabled() else dialog.close_button)
    return dialog
