"""Deliver: export the model, and denoise whole folders with it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QSignalBlocker, Qt, QUrl, Slot
from PySide6.QtGui import QAction, QDesktopServices, QDragEnterEvent, QDropEvent, QKeySequence
from PySide6.QtWidgets import QFileDialog, QWidget

from aegui.errors import UserError
from aegui.gui import outlook, reports
from aegui.gui.batch import Batch, Options
from aegui.gui.insisting import ask_to_denoise
from aegui.gui.pages.base import Page, RailState
from aegui.gui.project import SUFFIX
from aegui.gui.session import Session
from aegui.gui.thumbs import Thumbnails
from aegui.gui.toasts import announce
from aegui.gui.widgets import queue
from aegui.gui.widgets.basic import STRETCH, Note, button, card, column, holder, label, row
from aegui.gui.widgets.export_panel import ExportPanel
from aegui.gui.widgets.left_out import LeftOut
from aegui.gui.widgets.model_chooser import title_of
from aegui.gui.widgets.output_options import OutputOptions
from aegui.gui.widgets.output_outlook import OutputOutlook
from aegui.gui.widgets.queue import Entry
from aegui.gui.widgets.queue_bar import QueueBar, QueueProgress
from aegui.gui.widgets.queue_view import QueueView
from aegui.gui.widgets.states import dropped_paths
from aegui.models import card_of

if TYPE_CHECKING:
    from aegui.workflow import Report

LOW = 640  # height of a page of a small window


class DeliverPage(Page):
    """Left: exports. Right: the queue."""

    key = "deliver"
    title = "Deliver"
    icon = "package-check"
    help = (
        "Left, save the model for other programs; each file is loaded again and compared with the model. "
        "Right, denoise whole folders: every series is written as a new one, originals are never changed, "
        "and one bad series never stops the others. Look opens a flagged series in Review. "
        "More options decides what derived DICOM series are called, how they are encoded, whether the removed noise "
        "is kept as a series of its own, and whether they are de-identified."
    )

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(session, parent)
        self._suggested = ""  # the output folder that nobody chose
        self._other_model = self._other_scans = False  # what was chosen while the queue ran
        self.batch = Batch(session, self)
        self.thumbs = Thumbnails(self.batch.model, self)
        self.exports = ExportPanel(session)
        self.options = OutputOptions()
        self.outlook = OutputOutlook(session, self.batch, self.options)
        self.caution, self.example = self.outlook.caution, self.outlook.example
        self.view = QueueView(self.batch.model)
        self.bar = QueueBar(self.batch)
        self.problem = Note("err", "")
        self.problem.hide()
        self.left_out = LeftOut()
        self.progress = QueueProgress(self.batch)
        self.empty = self._empty()
        self.open_folder = button("Open output folder", "ghost", "folder-open", clicked=self._open_output)
        self.head_actions = [self.open_folder]
        self.primary_action = self.bar.run
        self.setAcceptDrops(True)
        self._build()
        self._connect()
        self._show_options()
        self._on_scans()
        self._on_model()

    def _build(self) -> None:
        table = card((self.view, 1), (self.empty, 1), self.left_out, padding=4, gap=0)
        above = (self.bar, self.options, self.problem, self.outlook, self.progress)
        right = column(*above, (table, 1), margins=(16, 16, 24, 16), gap=10)
        self.setLayout(row(self.exports, (right, 1), gap=0))
        remove = QAction("Remove from queue", self.view)
        remove.setShortcut(QKeySequence(QKeySequence.StandardKey.Delete))
        remove.triggered.connect(lambda: self.batch.remove(self.view.selected()))
        self.view.addAction(remove)
        self.view.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)

    def _empty(self) -> QWidget:
        words = label("Drop a folder of scans here, or add one.", "sec")
        pick = button("Add folder…", icon="folder-plus", clicked=self._add_folder)
        return holder(column(STRETCH, row(STRETCH, words, STRETCH), row(STRETCH, pick, STRETCH), STRETCH, gap=12))

    def _connect(self) -> None:
        session, batch = self.session, self.batch
        self.bar.add.clicked.connect(self._add_folder)
        self.bar.run.clicked.connect(self.start)
        self.view.acted.connect(self._act)
        self.view.seen.connect(self.thumbs.load)
        self.options.changed.connect(self._on_edited)
        self.exports.report_asked.connect(self._ask_report)
        batch.changed.connect(self._refresh)
        batch.advanced.connect(self.progress.refresh)
        batch.series_done.connect(self._announce)
        batch.failed.connect(self._on_failed)
        batch.ended.connect(self._on_ended)
        session.scans_changed.connect(self._on_scans)
        session.roles_changed.connect(self._on_scans)
        session.model_changed.connect(self._on_model)
        session.review_changed.connect(self.changed)
        session.output_changed.connect(self._show_options)
        session.delivery_changed.connect(self._show_options)
        session.lanes.ended.connect(self._on_lane_free)

    # ---- page
    @property
    def subtitle(self) -> str:
        name = title_of(self.session.model_ref, self.session) if self.session.model_ref else ""
        verdict = ""
        if self.session.accepted is not None:
            verdict = "accepted in Review" if self.session.accepted else "rejected in Review"
        return " · ".join(part for part in (name, verdict) if part)

    def rail_state(self) -> RailState:
        model = self.batch.model
        done = model.count("done", "flagged")
        if self.batch.running:
            return RailState("run", f"{done} of {done + model.count('waiting', 'running')}")
        if model.count("failed"):
            return RailState("warn", f"{model.count('failed')} failed")
        if done and not model.count("waiting"):
            return RailState("done", f"{done} series")
        return RailState("ready", "Ready" if model.entries else "Add scans")

    def enter(self) -> None:
        self.session.attempt(self.session.ensure_model)
        if not self.options.folder.text() or self.options.folder.text() == self._suggested:
            self._suggest_folder()
        self._refresh()

    def toggle_pause(self) -> None:
        self.batch.toggle_pause()

    def release(self) -> None:
        """End this page's own threads."""
        self.thumbs.release()

    # ---- what changed
    @Slot()
    def _on_scans(self) -> None:
        self._other_scans = self.batch.running
        if not self.batch.running:
            self.batch.set_series(s for s in self.session.series if self.session.role(s.uid) != "clean")
        self._on_queue()

    def _on_queue(self) -> None:
        """Other series than before."""
        self.options.set_forms(entry.series.form for entry in self.batch.model.entries if entry.status != "skipped")
        self.left_out.show_skipped(self.batch.skipped)
        self._on_options()

    @Slot()
    def _on_edited(self) -> None:
        self.session.set_output(self.options.known())
        self.session.set_delivery(self.options.delivery())
        self._on_options()

    def _on_options(self) -> None:
        self.options.mark(None)
        self.problem.hide()
        self.outlook.show_caution()
        self._refresh()

    @Slot()
    def _show_options(self) -> None:
        rules, delivery = self.session.output, self.session.delivery
        if (rules, delivery) == (self.options.known(), self.options.delivery()):
            return
        with QSignalBlocker(self.options):  # half of it would be taken for what the user wants
            self.options.set_rules(rules)
            self.options.set_delivery(delivery)
        self._on_options()

    @Slot()
    def _on_model(self) -> None:
        self._other_model = self.batch.running  # what it works on was denoised by the model it began with
        self.batch.set_card(card_of(self.session.model_ref))
        self._on_units()

    def _on_units(self) -> None:
        model = card_of(self.session.model_ref)
        units = {entry.series.unit for entry in self.batch.model.entries}
        self.options.set_noise_level(model is not None and model.noise_level, units.pop() if len(units) == 1 else "")
        self._refresh()

    @Slot(object)
    def _on_lane_free(self, _job: object) -> None:
        if not self.batch.running:
            if self._other_model:
                self._on_model()
            if self._other_scans:
                self._on_scans()
        self.batch.go_on()
        self._refresh()

    def _suggest_folder(self) -> None:
        self._suggested = outlook.folder(self.session)
        self.options.folder.setText(self._suggested)

    # ---- what the user asks
    def start(self) -> None:
        """Denoise everything that waits."""
        self.problem.hide()
        self.options.mark(None)
        if self.session.attempt(self.session.ensure_model) is None:
            return
        try:
            output, delivery, rules = self.options.read()
        except UserError as error:
            self._say(error)
            return
        options = Options(
            model=self.session.model_ref,
            output=output,
            delivery=delivery,
            rules=rules,
            device=self.session.device,
        )
        if self.batch.start(options) and str(output) != self._suggested:
            self.session.change_settings(output_folder=str(output))

    def _say(self, error: UserError) -> None:
        self.problem.show_text("err", error.hint, error.message)
        self.problem.show()

    @Slot(list, str)
    def _act(self, entries: list[Entry], action: str) -> None:
        match action:
            case queue.RETRY:
                for entry in entries:
                    self.thumbs.forget(entry.series.uid)
                self.batch.retry(entries)
                if not self.batch.running:
                    self.start()
            case queue.INCLUDE:
                self._include(entries)
            case queue.EXCLUDE:
                if any(self.batch.planned(entry) for entry in entries):
                    self.session.toast.emit("info", "The queue is running", "Stop it to leave this series out.")
                else:
                    self.batch.include(entries, False)
            case queue.LOOK:
                entry = entries[0]
                self.session.look = (entry.series, entry.flagged[0] if entry.flagged else entry.series.slices // 2)
                self.session.request_page("review")

    def _include(self, entries: list[Entry]) -> None:
        """Ask first where the picture is none that models are made for."""
        odd = [entry.series for entry in entries if entry.series.treat == "view"]
        if odd:
            ask_to_denoise(self.window(), odd, lambda: self.batch.include(entries))
        else:
            self.batch.include(entries)

    def _add_folder(self) -> None:
        start = self.session.settings.last_folder or str(Path.home())
        chosen = QFileDialog.getExistingDirectory(self, "Add a folder of scans", start)
        if chosen:
            self.add_paths([Path(chosen)])

    def add_paths(self, found: list[Path]) -> None:
        """Scan folders or files and queue what they hold."""

        def work() -> Any:
            from aegui import workflow

            return workflow.scan(found)

        title = f"Scanning {found[0].name}"
        job = self.session.attempt(lambda: self.session.lanes.create(work, title, lane="scan"))
        if job is not None:
            project = self.session.projects
            job.done.connect(lambda result: self._on_scanned(result, project))
            job.failed.connect(self._on_failed)
            job.start()

    def _on_scanned(self, result: Any, project: int) -> None:
        if project != self.session.projects:
            return
        before = len(self.batch.model.entries)
        self.batch.add_series(result.series, result.skipped)
        self._on_queue()
        added = len(self.batch.model.entries) - before
        if not result.series:
            self._say(
                UserError("No scans were found there.", "Choose a folder that holds DICOM, NIfTI or image files.")
            )
        elif not added:
            self.session.toast.emit("info", "These series are in the queue already", "")
        self._on_units()

    def _open_output(self) -> None:
        folder = Path(self.options.folder.text().strip() or ".").expanduser()
        if folder.is_dir():
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(folder)))
        else:
            self.session.toast.emit(
                "info", "The output folder does not exist yet", "It is made when a series is written."
            )

    @Slot()
    def _ask_report(self) -> None:
        folder = Path(self.options.folder.text().strip() or Path.home())
        reports.ask_where(self, folder / "report.html", self.write_report)

    def write_report(self, path: Path) -> None:
        """Model, exports and queue as one HTML file."""
        facts, output = reports.session_facts(self.session), Path(self.options.folder.text().strip())
        made = reports.deliver_report(facts, self.exports.words(), self.batch.model.entries, output)
        reports.write(self.session, lambda: made, path)

    # ---- what the queue says
    def show_report(self, report: Report) -> None:
        """Show a batch that was done elsewhere, as if it had been this queue's."""
        self.options.folder.setText(str(report.path.parent))
        self.batch.show_results(report.series)

    @Slot(object)
    def _on_failed(self, error: Exception) -> None:
        if isinstance(error, UserError):
            self._say(error)
        else:
            self.session.report(error)

    @Slot(object)
    def _on_ended(self, report: Any) -> None:
        if report is None or self.batch.stopped:
            return
        model = self.batch.model
        done, flagged, failed = model.count("done", "flagged"), model.count("flagged"), model.count("failed")
        parts = [f"{flagged} to look at"] if flagged else []
        parts += [f"{failed} failed"] if failed else []
        self.session.toast.emit("warn" if failed else "ok", f"{done} series denoised", ", ".join(parts))

    @Slot(object)
    def _announce(self, entry: Entry) -> None:
        done = self.batch.model.count("done", "flagged", "failed")
        total = done + self.batch.model.count("waiting", "running")
        announce(self, f"{entry.name}: {queue.STATES[entry.status][2]}. {done} of {total}.")

    @Slot()
    def _refresh(self) -> None:
        batch, model = self.batch, self.batch.model
        running = batch.running
        self.view.set_running(running and not batch.paused)
        self.view.setVisible(bool(model.entries))
        self.empty.setVisible(not model.entries)
        self.outlook.show_example()
        self.bar.refresh()
        # What is being written must not change under the writer; where there is little room it gives way to the queue.
        self.options.setEnabled(not running)
        self.options.setVisible(not running or self.height() >= LOW)
        self.exports.chooser.setEnabled(not running)
        self.progress.refresh()
        self.changed.emit()

    # Qt overrides

    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        if dropped_paths(event):
            event.acceptProposedAction()

    def dropEvent(self, event: QDropEvent) -> None:
        event.acceptProposedAction()
        found = dropped_paths(event)
        if any(path.suffix == SUFFIX for path in found):
            self.session.open_wanted.emit(found)
        else:
            self.add_paths(found)
