"""The models to start from: which there are, which fit, and what each makes of the user's own slice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Qt, Signal, Slot
from PySide6.QtWidgets import QFileDialog, QWidget

from aegui import models
from aegui.errors import UserError
from aegui.gui import previews
from aegui.gui.job import Job
from aegui.gui.session import Session
from aegui.gui.widgets.gallery import Entry, Gallery, speed_words
from aegui.gui.widgets.model_chooser import unfit
from aegui.gui.widgets.pickers import MODELS
from aegui.models import Card, card_of


class StartingModels(QObject):
    """Keeps a gallery up to date with the session. shown: its entries are new."""

    shown = Signal()

    def __init__(self, session: Session, gallery: Gallery, parent: QWidget) -> None:
        super().__init__(parent)
        self.session = session
        self.gallery = gallery
        self.own: dict[str, Card] = {}  # the user's model files, by path
        self._page = parent
        self._tried: tuple[Any, ...] = ()
        gallery.chosen.connect(session.set_model)
        gallery.file_wanted.connect(self._on_file_wanted)
        for signal in (session.model_changed, session.scans_changed, session.roles_changed):
            signal.connect(self.show_models)

    @Slot()
    def show_models(self) -> None:
        """What fits the scans first, the rest with its reason, then the user's files."""
        session = self.session
        wanted = tuple(dict.fromkeys(series.modality for series in session.noisy if series.treat == "denoise"))
        entries = []
        for card in models.cards():
            reasons = [unfit(card, modality) for modality in wanted]
            reason = next(iter(reasons), "") if reasons and all(reasons) else ""
            entries.append(Entry(card.id, card, reason))
        ref = session.model_ref
        if isinstance(ref, Path) and (found := card_of(ref)) is not None:
            self.own[str(ref)] = found  # anew: a run that goes on writes another model to the same place
        entries += [Entry(Path(path), card, own=True) for path, card in self.own.items()]
        self.gallery.set_entries(entries, wanted)
        self.gallery.set_current(ref)
        self.preview()
        self.shown.emit()

    @Slot()
    def _on_file_wanted(self) -> None:
        name, _ = QFileDialog.getOpenFileName(
            self._page, "Load a model file", self.session.settings.last_folder, MODELS
        )
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
        dialog = ImportDialog(read, self._page)
        dialog.accepted_model.connect(self._on_model_accepted)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()

    @Slot(object)
    def _on_model_accepted(self, read: Any) -> None:
        self.own[str(read.path)] = read.card
        self.session.set_model(read.path)

    def preview(self) -> None:
        """Clean one of the user's slices with every model that fits, unless that was done."""
        series = next((s for s in self.session.noisy if s.treat == "denoise"), None)
        if self._tried and self._tried[0] != (series.uid if series else ""):
            self._tried = ()
            self.gallery.show_slice(None, (1.0, 0.5))  # what is shown is of other scans
            if (job := self.session.lanes.job("preview")) is not None:
                job.abandon()
        if not self._page.isVisible() or self.session.lanes.busy() or self.session.lanes.busy("preview"):
            return
        refs = tuple(
            entry.ref for entry in self.gallery.entries if not entry.reason and (entry.card.weights or entry.own)
        )
        written = tuple(ref.stat().st_mtime_ns for ref in refs if isinstance(ref, Path) and ref.is_file())
        wanted = (series.uid if series else "", refs, written, self.session.device)
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

    def give_way(self) -> None:
        """To a training; the next time the page is shown they are tried anew."""
        if (job := self.session.lanes.job("preview")) is not None:
            job.abandon()
            self._tried = ()

    @Slot(object)
    def _on_preview(self, event: Any) -> None:
        job = self.sender()
        if isinstance(job, Job) and job.stopping:  # what was on its way when other scans came
            return
        match event:
            case previews.SliceShown(noisy=noisy, window=window, inverted=inverted):
                self.gallery.show_slice(noisy, window, inverted)
            case previews.Cleaned(ref=ref, image=image, seconds=seconds, problem=problem, unlike=unlike):
                self.gallery.show_clean(ref, image, problem or f"{speed_words(seconds)} here", unlike)

    @Slot(object)
    def _on_preview_failed(self, error: Exception) -> None:
        # A slice that cannot be read is reported on Scans; here only the pictures are missing.
        if not isinstance(error, UserError):
            self.session.report(error)
