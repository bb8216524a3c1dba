"""Step 1: load scans, look at them, say what each is for."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Slot
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFileDialog, QLineEdit, QStackedWidget, QToolButton, QWidget

from aegui import workflow
from aegui.gui import project as projects
from aegui.gui import theme
from aegui.gui.insisting import ask_to_denoise
from aegui.gui.pages.base import Page, RailState
from aegui.gui.scanning import Scanning, Wish
from aegui.gui.session import Session
from aegui.gui.skipped import list_skipped
from aegui.gui.widgets.basic import STRETCH, ElidedLabel, button, column, frame, holder, icon_label, label, row
from aegui.gui.widgets.first_run import FirstRun, Sample
from aegui.gui.widgets.painted import Spinner
from aegui.gui.widgets.roles_panel import RolesPanel
from aegui.gui.widgets.scan_viewer import ScanViewer
from aegui.gui.widgets.series_tree import SeriesTree
from aegui.gui.widgets.states import DropZone, ProgressRow
from aegui.imaging.series import Series

FILES = (
    "Scans and images (DICOMDIR *.dcm *.ima *.nii *.nii.gz *.nrrd *.nhdr *.mha *.mhd "
    "*.png *.jpg *.jpeg *.tif *.tiff *.npy *.zip)"
)
NARROW = 1376 - 104
END = Qt.TextElideMode.ElideRight


class _Busy(QWidget):
    """While the first scan runs."""

    def __init__(self) -> None:
        super().__init__()
        self.words = label("Looking for files", "h2")
        self.progress = ProgressRow("Scan")
        self.progress.setFixedWidth(360)
        self.stop = button("Stop and keep what was found", "default", "square")
        self.cancel = button("Cancel", "ghost", "x")
        centred = (
            row(STRETCH, Spinner(28), STRETCH),
            row(STRETCH, self.words, STRETCH),
            row(STRETCH, self.progress, STRETCH),
            row(STRETCH, self.stop, self.cancel, STRETCH),
        )
        self.setLayout(column(STRETCH, *centred, STRETCH, gap=14))


class ScansPage(Page):
    """Tree, viewer, roles; before that the first-run page."""

    key = "scans"
    title = "Scans"
    icon = "layers"
    help = (
        "Drop a folder, or open one. Every file is sorted into studies and series; files that are no images are "
        "counted and listed as such.\n\n"
        "Select series on the left and give them a role on the right: noisy input, clean target, hold-out "
        "(kept for Review, never trained on) or not used. Repeats of one scan and scans at two doses are proposed as "
        "pairs to learn from; they are used only after you say so. Series that are view only can be denoised all the "
        "same: select one, or right-click it.\n\n"
        "Names and dates of birth are not shown. Files stay on this computer and are never changed."
    )

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self.scanning = Scanning(session, self)
        self.first = FirstRun()
        self.busy = _Busy()
        self.tree = SeriesTree()
        self.viewer = ScanViewer()
        self.side = RolesPanel(session)
        self._stale = True
        self.views = QStackedWidget()
        for view in (self.first, self.busy, self._loaded()):
            self.views.addWidget(view)
        self.setLayout(column((self.views, 1)))
        self.unused = button("Hide unused", "ghost", "eye-off")
        self.unused.setCheckable(True)
        self.go_on = button("Continue to Recipe", "primary", "arrow-right", clicked=lambda: self._continue("recipe"))
        self.denoise = button("Denoise now", "default", "wand-sparkles", clicked=lambda: self._continue("deliver"))
        self.denoise.setToolTip("Go to Deliver with the chosen model, without training")
        self.head_actions = [self.unused, self.denoise, self.go_on]
        self.primary_action = self.go_on
        self._connect()
        self._show_scans()

    def _loaded(self) -> QWidget:
        browse = button("Browse…", size="s", clicked=self.ask_folder)
        words = column(
            ElidedLabel("Drop a folder or files", "med", END), ElidedLabel("DICOM, NIfTI, PNG", "ter", END), gap=0
        )
        self.drop = DropZone(row(icon_label("folder-plus", 18), (words, 1), browse, margins=(10, 12, 10, 12), gap=8))
        self.drop.setFixedHeight(64)
        self.filter = QLineEdit()
        self.filter.setAccessibleName("Filter series")
        self.filter.setClearButtonEnabled(True)
        self._search = self.filter.addAction(theme.icon("search", "text3"), QLineEdit.ActionPosition.LeadingPosition)
        self.more = ProgressRow("Scan")
        stop = button(icon="square", kind="icon", size="s", tip="Stop and keep what was found")
        stop.clicked.connect(self.scanning.stop)
        cancel = button(icon="x", kind="icon", size="s", tip="Cancel scanning", clicked=self.scanning.cancel)
        for inner in self.filter.findChildren(QToolButton):
            inner.setAccessibleName("Clear the filter" if inner.defaultAction() is not self._search else "Search")
        self._more = holder(row((self.more, 1), stop, cancel, gap=4))
        self._more.hide()
        top = column(self.drop, self.filter, self._more, margins=(16, 16, 16, 8), gap=12)
        left = frame(column(top, (self.tree, 1), gap=0), panel="left")
        left.setFixedWidth(304)
        self.side.setFixedWidth(320)
        return holder(row(left, (self.viewer, 1), self.side, gap=0))

    def _connect(self) -> None:
        session = self.session
        self.first.open_wanted.connect(self.ask_folder)
        self.first.adapt_wanted.connect(self.ask_folder)
        self.first.images_wanted.connect(self.ask_files)
        self.first.denoise_wanted.connect(self.denoise_now)
        self.first.sample_wanted.connect(self.open_sample)
        self.first.dropped.connect(session.open_wanted)
        self.drop.dropped.connect(session.open_wanted)
        self.busy.cancel.clicked.connect(self.scanning.cancel)
        self.busy.stop.clicked.connect(self.scanning.stop)
        self.scanning.started.connect(self._scan_started)
        self.scanning.progressed.connect(self._scan_progressed)
        self.scanning.ended.connect(self._scan_ended)
        self.filter.textChanged.connect(self.tree.set_filter)
        self.tree.current_changed.connect(self._show_series)
        self.tree.selection_changed.connect(self._show_roles)
        self.side.role_chosen.connect(self._set_role)
        self.side.insist_wanted.connect(self._insist)
        self.tree.insist_wanted.connect(self._insist)
        self.side.show_wanted.connect(self.tree.select)
        self.side.labels_wanted.connect(self._ask_labels)
        self.side.skipped_wanted.connect(self._list_skipped)
        self.viewer.failed.connect(session.report)
        self.unused.toggled.connect(self._hide_unused)
        session.renewed.connect(self._show_all)
        session.scans_changed.connect(self._show_scans)
        session.roles_changed.connect(self._roles_changed)
        session.insisted_changed.connect(self._roles_changed)
        theme.changed().connect(self._recolour)

    # ---- what the shell shows
    @property
    def subtitle(self) -> str:
        series = self.session.series
        if not series:
            return "Scanning" if self.scanning.running else "Nothing loaded yet"
        studies = len({one.study_uid for one in series})
        used = sum(self.session.role(one.uid) != "unused" for one in series)
        return (
            f"{studies} {'study' if studies == 1 else 'studies'}, {len(series)} series, {used} in use. "
            "Names and dates of birth are hidden."
        )

    def rail_state(self) -> RailState:
        session = self.session
        if self.scanning.running:
            return RailState("run", "Scanning")
        if not session.series:
            return RailState("ready", "Start here")
        if not session.with_role("noisy", "label", "holdout"):
            return RailState("warn", "Choose roles")
        return RailState("done", f"{len(session.series)} series")

    def leave(self) -> None:
        """Nothing of this page needs to go on reading while another is shown."""
        self.viewer.release()
        self._stale = True

    def enter(self) -> None:
        if self._stale and self.session.series:
            self._show_series(self.session.current)
        self._stale = False

    def release(self) -> None:
        """Before the window closes: end the reading threads."""
        self.viewer.release()
        self.tree.release()
        self.side.pairs.release()

    # ---- opening
    def _start(self) -> str:
        return self.session.settings.last_folder or str(Path.home())

    @Slot()
    def ask_folder(self) -> None:
        """Ctrl+O."""
        folder = QFileDialog.getExistingDirectory(self, "Open a folder of scans", self._start())
        if folder:
            self.session.open_wanted.emit([Path(folder)])

    @Slot()
    def ask_files(self) -> None:
        """Single images or volumes."""
        names, _ = QFileDialog.getOpenFileNames(self, "Open images", self._start(), f"{FILES};;All files (*)")
        if names:
            self.session.open_wanted.emit([Path(name) for name in names])

    @Slot()
    def denoise_now(self) -> None:
        """A folder, a shipped model, no training."""
        folder = QFileDialog.getExistingDirectory(self, "Choose the folder to denoise", self._start())
        if folder:
            self.open_paths([Path(folder)], then="deliver")

    @Slot(list)
    def open_paths(
        self,
        chosen: Sequence[Path],
        then: str = "",
        project: projects.Project | None = None,
        file: Path | None = None,
    ) -> None:
        """Scan files and folders; what is loaded already stays. then: the page to go to."""
        if then == "deliver":
            self.session.denoise_directly = True
        self.scanning.open(Wish(tuple(chosen), then=then, project=project, file=file))

    @Slot(object)
    def open_sample(self, sample: Sample) -> None:
        """Make sample data if it is not there, and open it."""
        self.scanning.open(Wish((), sample=sample.parts))

    @Slot()
    def _scan_started(self) -> None:
        self._more.setVisible(bool(self.session.series))
        self.busy.words.setText("Looking for files")
        self.busy.progress.show_progress(0, None, " ")
        if not self.session.series:
            self.views.setCurrentIndex(1)
        self.changed.emit()

    @Slot(int, object, str)
    def _scan_progressed(self, done: int, total: int | None, what: str) -> None:
        words = f"{done:,} of {total:,} files" if total else f"{done:,} files"
        self.busy.words.setText(what)
        self.busy.progress.show_progress(done, total, words)
        self.more.show_progress(done, total, words)

    @Slot(object)
    def _scan_ended(self, _wish: Wish | None) -> None:
        self._more.hide()
        self.views.setCurrentIndex(2 if self.session.series else 0)
        self.changed.emit()

    # ---- showing
    @Slot()
    def _show_scans(self) -> None:
        session = self.session
        loaded = bool(session.series)
        self.views.setCurrentIndex(2 if loaded else 1 if self.scanning.running else 0)
        for action in self.head_actions:
            action.setVisible(loaded)
        self.filter.setPlaceholderText(f"Filter {len(session.series)} series")
        self.tree.set_roles(session.roles, session.insisted)
        self.tree.set_series(session.series, session.current)
        self.side.show_warnings(session.series, session.skipped)
        if loaded and self.isVisible():
            self._show_series(session.current)
        elif not loaded:
            self.viewer.show_series(None)
        self._show_roles()
        self.changed.emit()

    @Slot(str)
    def _show_series(self, uid: str) -> None:
        self.session.current = uid
        self._stale = False
        self.viewer.show_series(self.session.find(uid))

    def _selected(self) -> list[Series]:
        return self.tree.selected()

    @Slot()
    def _show_roles(self) -> None:
        self.side.show_roles(self._selected())

    @Slot()
    def _roles_changed(self) -> None:
        self.tree.set_roles(self.session.roles, self.session.insisted)
        self._show_roles()
        self.changed.emit()

    @Slot(str)
    def _set_role(self, role: str) -> None:
        uids = [one.uid for one in self._selected() if one.treat == "denoise" or role == "unused"]
        self.session.set_roles(uids, role)  # type: ignore[arg-type]
        if role == "label" and not self.session.labels:
            found = workflow.folder_labels(self.session.with_role("label"))
            if found:
                self.session.set_labels(found)

    @Slot()
    def _show_all(self) -> None:
        self.filter.clear()
        self.unused.setChecked(False)

    @Slot(bool)
    def _hide_unused(self, hide: bool) -> None:
        self.unused.setText(" Show unused" if hide else " Hide unused")
        theme.set_icon(self.unused, "eye" if hide else "eye-off")
        session = self.session
        self.tree.hide_where(lambda series: hide and session.role(series.uid) == "unused")

    @Slot(bool)
    def _insist(self, on: bool) -> None:
        """Denoise what is view only all the same: asked once, with what speaks against it."""
        chosen = [one for one in self._selected() if one.treat == "view"]
        uids = [one.uid for one in chosen]
        if not on:
            self.session.insist(uids, on=False)
        elif chosen:
            ask_to_denoise(self.window(), chosen, lambda: self.session.insist(uids))

    @Slot()
    def _ask_labels(self) -> None:
        name, _ = QFileDialog.getOpenFileName(self, "Load a label file", self._start(), "Labels (*.csv)")
        if name:
            labels = self.session.attempt(lambda: workflow.read_labels(Path(name), self.session.series))
            if labels is not None:
                self.session.label_file = Path(name)
                self.session.set_labels(labels)

    @Slot()
    def _list_skipped(self) -> None:
        list_skipped(self.window(), "Files in no series", self.session.skipped)

    def _continue(self, page: str) -> None:
        self.session.denoise_directly = page == "deliver"
        self.session.request_page(page)

    @Slot()
    def _recolour(self) -> None:
        self._search.setIcon(theme.icon("search", "text3"))

    def resizeEvent(self, event: QResizeEvent) -> None:
        self.side.setFixedWidth(304 if self.width() < NARROW else 320)
        super().resizeEvent(event)
