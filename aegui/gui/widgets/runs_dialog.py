"""“Compare runs”: curves of earlier runs in one plot, and what their recipes do differently."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from PySide6.QtCore import Qt, QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import (
    QCheckBox,
    QFileDialog,
    QFrame,
    QGridLayout,
    QStackedWidget,
    QWidget,
)

from aegui import paths, workflow
from aegui.events import Done, Event
from aegui.gui import theme
from aegui.gui.runs import train_job
from aegui.gui.session import Session
from aegui.gui.widgets.basic import STRETCH, ElidedLabel, button, card, column, holder, label, row, scroll
from aegui.gui.widgets.model_chooser import title_of
from aegui.gui.widgets.painted import LineKey, Segmented
from aegui.gui.widgets.plots import SEVERAL, Plot, Style
from aegui.gui.widgets.recipe_foot import duration_words
from aegui.gui.widgets.sheet import Sheet
from aegui.gui.widgets.states import EmptyState, clear
from aegui.recipes import Recipe
from aegui.workflow import RunInfo

MOST = len(SEVERAL)  # curves that can be told apart
MARGIN = 1.12  # room for names at the ends of lines


class Kind(NamedTuple):
    """A curve: its column in metrics.csv."""

    title: str
    column: str
    log: bool
    hint: str


KINDS = (
    Kind("PSNR", "psnr", False, "dB, mean over the validation slices of each run"),
    Kind("SSIM", "ssim", False, "mean over the validation slices of each run"),
    Kind("Loss", "val_loss", True, "of validation; comparable only between runs with the same loss terms"),
)


class RunRow(QFrame):
    """One run: a tick for its curve, and what there is to say. Clicked anywhere, it is the run the buttons act on."""

    chosen = Signal(object)
    ticked = Signal()

    def __init__(self, run: RunInfo) -> None:
        super().__init__()
        self.run = run
        self.key = LineKey("text3")
        self.box = QCheckBox(run.title)
        self.box.setAccessibleDescription(f"{_when(run)}. {run.reason}".strip())
        self.box.toggled.connect(self._on_toggled)
        self.score = label(f"{run.scores['psnr']:.2f} dB" if "psnr" in run.scores else "", "cap1")
        self.score.setToolTip(f"PSNR with {run.psnr_range}" if run.psnr_range else "PSNR")
        model = title_of(run.model) if run.model else "model not told"
        start = "from scratch · " if run.init == "random" else ""
        facts = ElidedLabel(f"{_when(run)} · {start}{model}", "ter", Qt.TextElideMode.ElideRight)
        self._head = row(self.box, STRETCH, self.key, self.score, gap=8)
        lines: list[Any] = [self._head, facts]
        if run.reason:
            lines.append(label(run.reason, "warn", wrap=True))
        facts.setContentsMargins(26, 0, 0, 0)
        self.setLayout(column(*lines, margins=(8, 8, 8, 8), gap=2))
        self.setProperty("card", "flat")
        self.key.hide()

    def _on_toggled(self, _on: bool) -> None:
        self.chosen.emit(self.run)
        self.ticked.emit()

    def show_style(self, style: Style | None) -> None:
        """The look of its curve, if it is drawn."""
        fresh = LineKey(style.role, style.dash) if style is not None else LineKey("text3")
        self._head.replaceWidget(self.key, fresh)
        self.key.deleteLater()
        self.key = fresh
        fresh.setVisible(style is not None)

    def set_selected(self, on: bool) -> None:
        theme.set_property(self, card="selected" if on else "flat")

    def mouseReleaseEvent(self, event: Any) -> None:
        self.chosen.emit(self.run)
        super().mouseReleaseEvent(event)


class RunsDialog(Sheet):
    """recipe_wanted: load this recipe. scratch_wanted: run this recipe and model once more from random weights."""

    recipe_wanted = Signal(object)
    scratch_wanted = Signal(object)

    def __init__(self, window: QWidget, session: Session) -> None:
        super().__init__(window, session, "runs", "Compare runs", "history", (1240, 760))
        self.rows: list[RunRow] = []
        self.current: RunInfo | None = None
        self.reading = False
        self._asked = False
        self._list = column(gap=4)
        self._list.addStretch(1)
        self.kind = Segmented([kind.title for kind in KINDS], names=[f"Show {kind.title}" for kind in KINDS])
        self.kind.changed.connect(self._draw)
        self.caption = label("", "ter")
        self.plot = Plot("Validation of several runs", left=52)
        self.table = QGridLayout()
        self.table.setHorizontalSpacing(16)
        self.table.setVerticalSpacing(4)
        self.table_title = label("", "h3")
        self.add = button("Add folder…", "default", "folder-plus", clicked=self._on_add)
        self.again = button(kind="icon", icon="refresh-cw", tip="Read the folders again", clicked=self.read)
        self.open_folder = button("Open run folder", "ghost", "folder-open", clicked=self._on_open)
        self.load = button("Load its recipe", "default", "file-down", clicked=self._on_load)
        self.scratch = button("Train from scratch for comparison", "default", "play", clicked=self._on_scratch)
        self.close_button = button("Close", clicked=self.reject)
        self.stack = QStackedWidget()
        self._build()
        session.lanes.ended.connect(self._state)
        session.lanes.ended.connect(self._on_lane_free)
        self._state()
        self.read()

    def _build(self) -> None:
        first = button("Go to Recipe", "primary", "sliders-horizontal", clicked=self._on_recipe)
        other = button("Add folder…", "default", "folder-plus", clicked=self._on_add)
        self.none = EmptyState(
            "history",
            "No runs yet",
            "Every run keeps its recipe and curves. Train once, or add a folder that holds runs.",
            [first, other],
        )
        left = card(
            row(label("Runs", "h3"), STRETCH, self.again, self.add), (scroll(holder(self._list)), 1), padding=12
        )
        left.setFixedWidth(theme.scaled(344))
        head = row(self.kind, self.caption, STRETCH, gap=12)
        upper = column(head, (self.plot, 1), gap=8)
        lower = column(self.table_title, (scroll(holder(column(self.table, STRETCH, margins=(0, 0, 8, 0)))), 1), gap=6)
        right = holder(column((holder(upper), 3), (holder(lower), 2), gap=12))
        self.work = holder(row(left, (right, 1), gap=16))
        self.stack.addWidget(self.none)
        self.stack.addWidget(self.work)
        self.body.addWidget(self.stack, 1)
        for made in (self.open_folder, self.load, self.scratch):
            self.foot.addWidget(made)
        self.foot.addStretch(1)
        self.foot.addWidget(self.close_button)
        self.foot.addSpacing(16)

    # ---- reading
    def folders(self) -> list[Path]:
        """Where runs may be: the program's own place, this project's, and those that were added."""
        found = [paths.data_home() / "runs", *map(Path, self.session.settings.run_folders)]
        if self.session.run_folder is not None:
            found.append(self.session.run_folder)
        return list(dict.fromkeys(found))

    @Slot()
    def read(self) -> None:
        """Read the folders again, beside everything else."""
        self._asked = self.session.lanes.busy("runs")  # by now it may read other folders than are wanted
        if self._asked:
            return
        folders = self.folders()

        def work() -> Iterator[Event]:
            yield Done(workflow.runs(folders))

        job = self.session.lanes.create(work, "Reading runs", lane="runs")
        job.done.connect(self._on_read)
        job.failed.connect(self.session.report)
        job.start()

    @Slot(object)
    def _on_lane_free(self, _job: object) -> None:
        if self._asked and not self.session.lanes.busy("runs"):
            self.read()

    @Slot(object)
    def _on_read(self, found: Sequence[RunInfo]) -> None:
        ticked = {made.run.path for made in self.rows if made.box.isChecked()}
        keep = self.current.path if self.current else None
        clear(self._list)
        self.rows = []
        # At first the latest ones that have something to show.
        usual = [run.path for run in found if run.curves.get("psnr")][:3]
        for run in found:
            made = RunRow(run)
            drawable = bool(run.curves.get("epoch"))
            made.box.setEnabled(drawable)
            made.box.setChecked(drawable and run.path in (ticked or usual))
            made.chosen.connect(self._on_chosen)
            made.ticked.connect(self._on_ticked)
            self._list.addWidget(made)
            self.rows.append(made)
        self._list.addStretch(1)
        self.stack.setCurrentWidget(self.work if found else self.none)
        for one in (self.open_folder, self.load, self.scratch):
            one.setVisible(bool(found))
        self._on_chosen(next((run for run in found if run.path == keep), found[0] if found else None))
        self._on_ticked()

    def _on_add(self) -> None:
        start = self.session.settings.last_folder
        name = QFileDialog.getExistingDirectory(self, "Folder of a run, or of several", start)
        if name:
            self.add_folder(Path(name))

    def add_folder(self, folder: Path) -> None:
        """Look into this folder too, now and later."""
        if not workflow.runs(folder):
            self.session.toast.emit("warn", "No runs there", f"{folder.name} holds no run, and is none.")
            return
        known = dict.fromkeys([*self.session.settings.run_folders, str(folder)])
        self.session.change_settings(run_folders=tuple(known))
        self.read()

    # ---- what is shown
    def picked(self) -> list[RunInfo]:
        """The ticked runs, in the order of the list."""
        return [made.run for made in self.rows if made.box.isChecked()]

    @Slot()
    def _on_ticked(self) -> None:
        picked = self.picked()
        full = len(picked) >= MOST
        styles = dict(zip((run.path for run in picked), SEVERAL, strict=False))
        for made in self.rows:
            made.show_style(styles.get(made.run.path))
            off = full and not made.box.isChecked()
            made.box.setEnabled(bool(made.run.curves.get("epoch")) and not off)
            made.box.setToolTip(f"At most {MOST} curves; untick one first" if off else "")
        self._draw()
        self._differences()

    @Slot()
    def _draw(self, _index: int = 0) -> None:
        kind = KINDS[self.kind.current]
        self.caption.setText(kind.hint)
        self.plot.clear_all()
        self.plot.set_log(kind.log)
        picked = self.picked()
        longest = max((run.curves["epoch"][-1] for run in picked), default=1.0)
        self.plot.set_x(0, longest * MARGIN)
        names = _names(picked)
        for run, style in zip(picked, SEVERAL, strict=False):
            values = run.curves.get(kind.column, [])
            if not any(math.isfinite(value) for value in values):
                continue
            line = self.plot.line(names[run.path], style, names[run.path])
            line.set(run.curves["epoch"], values)
        self.plot.fit_y()
        part_labels(self.plot)
        self.plot.describe()

    def _differences(self) -> None:
        clear_grid(self.table)
        picked = self.picked()
        rows = workflow.run_differences(picked) if len(picked) > 1 else []
        if len(picked) < 2:
            self.table_title.setText("Tick two runs to see what their recipes do differently.")
            return
        self.table_title.setText("What differs" if rows else "These runs have the same recipe, model and start.")
        if not rows:
            return
        names = _names(picked)
        self.table.addWidget(label("Setting", "th"), 0, 0)
        self.table.setRowMinimumHeight(0, theme.scaled(20))
        for place, (run, style) in enumerate(zip(picked, SEVERAL, strict=False), 1):
            head = ElidedLabel(names[run.path], "th", Qt.TextElideMode.ElideRight)
            self.table.addWidget(holder(row(LineKey(style.role, style.dash), (head, 1), gap=6)), 0, place)
            self.table.setColumnStretch(place, 2)
        self.table.setColumnStretch(0, 3)
        for line, difference in enumerate(rows, 1):
            title = ElidedLabel(difference.title, "cap", Qt.TextElideMode.ElideMiddle)
            title.setAccessibleDescription(difference.name)
            self.table.addWidget(title, line, 0)
            self.table.setRowMinimumHeight(line, theme.scaled(22))
            for place, value in enumerate(difference.values, 1):
                self.table.addWidget(ElidedLabel(value, "cap1", Qt.TextElideMode.ElideRight), line, place)

    # ---- what is done
    @Slot(object)
    def _on_chosen(self, run: RunInfo | None) -> None:
        self.current = run
        for made in self.rows:
            made.set_selected(run is not None and made.run.path == run.path)
        self._state()

    @Slot()
    def _state(self, _job: object = None) -> None:
        run = self.current
        recipe = run.recipe if run is not None else None
        self.open_folder.setEnabled(run is not None)
        self.load.setEnabled(recipe is not None)
        self.load.setToolTip("" if recipe else "Its recipe cannot be read" if run else "Choose a run")
        busy = self.session.lanes.job()
        why = ""
        if recipe is None:
            why = "Its recipe cannot be read" if run else "Choose a run"
        elif run is not None and run.init == "random":
            why = "This run was from scratch"
        elif not self.session.noisy:
            why = "Open the scans first that it was trained on"
        elif busy is not None and not busy.over:
            why = f"“{busy.title}” is still running"
        self.scratch.setEnabled(not why)
        self.scratch.setToolTip(why or "The same recipe from random weights, on the scans that are open now")

    def _on_open(self) -> None:
        if self.current is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(self.current.path)))

    def _on_load(self) -> None:
        if self.current is not None and self.current.recipe is not None:
            self.recipe_wanted.emit(self.current.recipe)
            self.accept()

    def _on_scratch(self) -> None:
        if self.current is not None and self.current.recipe is not None:
            self.scratch_wanted.emit(self.current)
            self.accept()

    def _on_recipe(self) -> None:
        self.session.request_page("recipe")
        self.reject()


def part_labels(plot: Plot) -> None:
    """Names at line ends that would lie over each other move apart, up or down, within the plot."""
    box = plot.getPlotItem().getViewBox()
    wide, high = box.viewPixelSize()
    low, top_end = box.viewRange()[1]
    taken: list[tuple[float, float, float]] = []  # left, right, top in px from the top
    texts = [line.label for line in plot.lines.values() if line.label is not None and line.label.isVisible()]
    for text in sorted(texts, key=lambda one: -one.pos().y()):
        size = text.boundingRect()
        step = size.height() - 4
        left = text.pos().x() / wide - text.anchor.x() * size.width()
        wanted = (top_end - text.pos().y()) / high - text.anchor.y() * size.height()
        beside = [t for a, b, t in taken if left <= b and left + size.width() >= a]
        places = [wanted] + [other + sign * step for sign in (1, -1) for other in beside]
        free = [
            place
            for place in places
            if -4 <= place <= (top_end - low) / high - step and all(abs(place - t) >= step - 1e-6 for t in beside)
        ]
        top = min(free, key=lambda place: abs(place - wanted), default=wanted)
        taken.append((left, left + size.width(), top))
        text.setPos(text.pos().x(), text.pos().y() - (top - wanted) * high)


def clear_grid(grid: QGridLayout) -> None:
    """Remove everything from a grid."""
    while grid.count():
        item = grid.takeAt(0)
        widget = item.widget() if item is not None else None
        if widget is not None:
            widget.hide()
            widget.deleteLater()


def _when(run: RunInfo) -> str:
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.started)) if run.started else "at an unknown time"
    return f"{day} · {duration_words(run.seconds)}" if run.seconds else day


def _names(chosen: Sequence[RunInfo]) -> dict[Path, str]:
    """Titles, with what tells those apart that share one: the start, else the time."""
    found = {}
    for run in chosen:
        same = [other for other in chosen if other.title == run.title]
        name = run.title
        if len(same) > 1 and run.init == "random":
            name = f"{name}, from scratch"
        if len([other for other in same if other.init == run.init]) > 1:
            name = f"{name}, {time.strftime('%H:%M:%S', time.localtime(run.started))}"
        found[run.path] = name
    return found


def open_runs(window: QWidget, session: Session, begin: Callable[[workflow.TrainJob], object]) -> RunsDialog:
    """Show the dialog. begin: starts a run from scratch that was asked for there."""

    def take(recipe: Recipe) -> None:
        session.set_recipe(recipe, "Recipe of a run")
        session.request_page("recipe")

    def scratch(run: RunInfo) -> None:
        job = train_job(session, run.recipe)
        begin(workflow.scratch_job(replace(job, model=run.model or job.model)))

    dialog = RunsDialog(window, session)
    dialog.recipe_wanted.connect(take)
    dialog.scratch_wanted.connect(scratch)
    dialog.show_over(dialog.close_button)
    return dialog
