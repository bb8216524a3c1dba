"""Deliver's left side: the model, its exports, what max |Δ| means, and the report."""

from __future__ import annotations

import re
from pathlib import Path

from PySide6.QtCore import QUrl, Signal, Slot
from PySide6.QtGui import QDesktopServices
from PySide6.QtWidgets import QFileDialog, QFrame, QVBoxLayout

from aegui.errors import UserError
from aegui.events import Event, Progress
from aegui.gui import exports
from aegui.gui.dialogs import write_to
from aegui.gui.job import Job
from aegui.gui.session import Session
from aegui.gui.widgets.basic import (
    STRETCH,
    ElidedLabel,
    Note,
    button,
    card,
    column,
    holder,
    icon_label,
    label,
    row,
    scroll,
)
from aegui.gui.widgets.export_card import ExportCard
from aegui.gui.widgets.model_chooser import ModelChooser
from aegui.models import card_of
from aegui.models.names import has_adapter


class ExportPanel(QFrame):
    """report_asked: the user wants a report."""

    report_asked = Signal()

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._job: Job | None = None
        self._running: ExportCard | None = None
        self._done: dict[tuple[str, str], exports.Exported] = {}
        self.setProperty("panel", "left")
        self.setFixedWidth(416)
        self.chooser = ModelChooser(session)
        self.scores = label("", "ter")
        self.cards = {export.kind: ExportCard(export) for export in exports.EXPORTS}
        for one in self.cards.values():
            one.export_asked.connect(self.ask)
            one.show_asked.connect(self._show_file)
            one.cancel_asked.connect(self._cancel)
        self.note = Note(
            "info",
            "max |Δ| is the largest difference between the exported file and the model itself, "
            "on generated slices of three sizes, one of them odd.",
        )
        self.report = button("Make report…", size="s", clicked=self.report_asked.emit)
        report = card(
            row(
                icon_label("file-text", 20),
                (
                    column(label("Report", "h3"), ElidedLabel("Scores, exports and flags (HTML)", "ter"), gap=2),
                    1,
                ),
                self.report,
                gap=12,
            ),
            padding=12,
        )
        model = row(label("Model", "cap", buddy=self.chooser), (self.chooser, 1), gap=12)
        head = row(label("Export the model", "h2"), STRETCH, self.scores)
        listed = column(model, 4, head, *self.cards.values(), self.note, STRETCH, report, margins=(24, 16, 14, 16))
        body = holder(listed)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(scroll(body))
        session.model_changed.connect(self.refresh)
        session.result_changed.connect(self.refresh)
        self.refresh()

    @Slot()
    def refresh(self) -> None:
        """Show what is known of the session's model."""
        ref = str(self._session.model_ref)
        for kind, one in self.cards.items():
            if one is self._running:
                continue
            if kind == "adapter":
                one.setVisible(has_adapter(ref))
            result = self._done.get((ref, kind))
            if result is not None and result.path.exists():
                one.show_done(result)
            else:
                one.show_none()
        self.scores.setText(self._score_words())

    def _score_words(self) -> str:
        result = self._session.result
        if result is not None and str(result.bundle) == str(self._session.model_ref):
            return f"epoch {result.best_epoch}"
        known = card_of(self._session.model_ref)
        return f"{known.parameters / 1000:.0f} k weights" if known is not None and known.parameters else ""

    def words(self) -> list[str]:
        """The verified exports of the shown model, one line each."""
        done = [one for one in self.cards.values() if one.result is not None]
        return [f"{one.export.title}: {one.result.words()}" for one in done if one.result is not None]

    def ask(self, kind: str) -> None:
        """Ask where to, then export."""
        export = self.cards[kind].export
        model = card_of(self._session.model_ref)
        stem = re.sub(r"[^\w.-]+", "-", model.id if model else Path(self._session.model_ref).stem) or "model"
        folder = self._session.settings.output_folder or str(Path.home())
        start = str(Path(folder) / f"{stem}{export.suffix}")
        name, _ = QFileDialog.getSaveFileName(
            self, f"Export as {export.title}", start, f"{export.title} (*{export.suffix})"
        )
        if name:
            write_to(self.window(), Path(name), (export.suffix,), lambda file: self.export(kind, file))

    def export(self, kind: str, path: Path) -> None:
        """Write and check one export in the background."""
        ref = self._session.attempt(self._session.ensure_model)
        if ref is None:
            return
        one = self.cards[kind]
        try:
            job = self._session.lanes.create(lambda: exports.run(ref, kind, path), f"Exporting {one.export.title}")
        except UserError as error:
            one.show_failed(str(error))
            return
        self._job, self._running = job, one
        self._key = (str(ref), kind)
        one.show_running(f"Writing {path.name}")
        job.event.connect(self._on_event)
        job.done.connect(self._on_done)
        job.failed.connect(self._on_failed)
        job.cancelled.connect(self._on_cancelled)
        job.start()

    @Slot(object)
    def _on_event(self, event: Event) -> None:
        if isinstance(event, Progress) and self._running is not None:
            self._running.show_running(f"{event.what}…")

    @Slot(object)
    def _on_done(self, result: exports.Exported | None) -> None:
        one, self._running = self._running, None
        if one is not None and result is not None:
            self._done[self._key] = result
            self._session.toast.emit("ok", f"{one.export.title} saved and checked", result.words())
        self.refresh()

    @Slot(object)
    def _on_failed(self, error: Exception) -> None:
        one, self._running = self._running, None
        if isinstance(error, UserError) and one is not None:
            one.show_failed(str(error))
        else:
            if one is not None:
                one.show_failed("Failed; see the message")
            self._session.report(error)

    @Slot()
    def _on_cancelled(self) -> None:
        self._running = None
        self.refresh()

    @Slot(str)
    def _cancel(self, _kind: str) -> None:
        if self._job is not None and self._running is not None:
            self._running.show_running("Cancelling…")
            self._job.abandon()

    @Slot(str)
    def _show_file(self, kind: str) -> None:
        result = self.cards[kind].result
        if result is not None:
            QDesktopServices.openUrl(QUrl.fromLocalFile(str(result.path.parent)))
